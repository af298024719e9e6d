//! Delivery and conditions from memory.

use crate::deliveries::{
    DeadLetter, DeadLetters, DeadLettersOf, DeadOnes, Deliveries, DeliveriesError, Estimate, Preview,
    PreviewedEvent, PreviewedRequest, Status, Step, StepState, WaitsFor,
};
use crate::imports::{Imported, Imports, ImportsError, Piece, Repaired};
use crate::logged::Admission;
use crate::reads::Place;
use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::condition::{Compiler, Condition, ConditionError};
use pipeline::connection::ReplaySpec;
use pipeline::event::Event;
use pipeline::log::Stored;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Takes the condition `true`, and points at the fifth character of any other.
pub(super) struct Conditions;

impl Compiler for Conditions {
    fn compile(&self, text: &str) -> Result<Arc<dyn Condition>, ConditionError> {
        struct True;
        impl Condition for True {
            fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String> {
                Ok(vec![true; events.len()])
            }
        }
        match text {
            "true" => Ok(Arc::new(True)),
            _ => Err(ConditionError { message: "no column is called `revenu`".into(), at: Some(4) }),
        }
    }
}

/// Answers the same to everyone, and remembers what was asked.
#[derive(Default)]
pub(super) struct FakeDeliveries {
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) fails: Mutex<Option<DeliveriesError>>,
}

impl FakeDeliveries {
    /// What was asked since the last time.
    pub(super) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn answer<T: Send + 'static>(
        &self,
        asked: String,
        answer: T,
    ) -> BoxFuture<'static, Result<T, DeliveriesError>> {
        self.asked.lock().unwrap().push(asked);
        let failure = self.fails.lock().unwrap().take();
        async move { failure.map_or(Ok(answer), Err) }.boxed()
    }
}

impl Deliveries for FakeDeliveries {
    fn status(&self, _: &str) -> Option<Status> {
        let waits_for = WaitsFor { what: "breaker".into(), text: "The vendor fails.".into(), until: None };
        Some(Status { lag_events: 12, lag_s: 1.5, retrying: 2, waits_for: Some(waits_for) })
    }

    fn test(&self, _: String, sample: bool) -> BoxFuture<'static, Result<Vec<Step>, DeliveriesError>> {
        let step = |name: &str, state| Step {
            name: name.into(),
            state,
            found: "project 4711".into(),
            remedy: String::new(),
            ms: 3,
        };
        let last = if sample { StepState::Failed } else { StepState::Skipped };
        let steps = vec![step("authenticated", StepState::Passed), step("sample_event", last)];
        self.answer(format!("test {sample}"), steps)
    }

    fn preview(&self, _: String, count: usize) -> BoxFuture<'static, Result<Preview, DeliveriesError>> {
        let event = PreviewedEvent {
            message_id: "m1".into(),
            partition: "aa".into(),
            offset: 7,
            outcome: "sent".into(),
            reason: None,
        };
        let request = PreviewedRequest {
            method: "POST".into(),
            url: "https://api.segment.io/v1/batch".into(),
            headers: BTreeMap::from([("authorization".to_owned(), "…".to_owned())]),
            body: "{}".into(),
            message_ids: vec!["m1".into()],
        };
        self.answer(format!("preview {count}"), Preview { events: vec![event], requests: vec![request] })
    }

    fn dead_letters(&self, of: DeadLettersOf) -> BoxFuture<'static, Result<DeadLetters, DeliveriesError>> {
        let letter = DeadLetter {
            message_id: Some("m8".into()),
            partition: "aa".into(),
            offset: 8,
            replay: None,
            class: "validation".into(),
            status: Some(400),
            vendor_code: None,
            reason: Some("no such event".into()),
            attempts: 1,
            at: "2026-01-15T12:00:00.000000Z".into(),
        };
        let page = DeadLetters { dead_letters: vec![letter], next: Some(5), kept: 7, dropped: 2 };
        self.answer(format!("dead {:?} {:?} {}", of.class, of.after, of.limit), page)
    }

    fn retry_dead(&self, _: String, which: DeadOnes) -> BoxFuture<'static, Result<u64, DeliveriesError>> {
        self.answer(format!("retry {which:?}"), 3)
    }

    fn estimate(&self, _: String, spec: ReplaySpec) -> BoxFuture<'static, Result<Estimate, DeliveriesError>> {
        let estimate = Estimate { scanned: 100, matched: 40, too_old: 3, exact: false, seconds: Some(4) };
        self.answer(format!("estimate {spec:?}"), estimate)
    }

    fn remaining(&self, _: &str) -> Option<u64> {
        Some(7)
    }

    fn changed(&self) {
        self.asked.lock().unwrap().push("changed".into());
    }
}

/// Admits what names a user, and remembers what was asked.
pub(super) struct FakeImports(pub(super) Arc<super::Fake>);

impl Imports for FakeImports {
    fn import(&self, piece: Piece) -> BoxFuture<'static, Result<Imported, ImportsError>> {
        self.0.asked.lock().unwrap().push(format!("{piece:?}"));
        async move { Ok(Imported::default()) }.boxed()
    }

    fn admit(&self, repaired: Repaired) -> BoxFuture<'static, Result<Admission, ImportsError>> {
        self.0.asked.lock().unwrap().push(repaired.event.clone());
        let broken = ImportsError::Broken {
            code: "no_user_anon_id",
            field: Some("userId".into()),
            message: "it names nobody".into(),
        };
        let place =
            Place { received_at: "2026-01-15T12:00:00.000000Z".into(), partition: "aa".into(), offset: 21 };
        let admission = Admission { message_id: "rejected-aa-8".into(), place: Some(place) };
        async move { if repaired.event.contains("userId") { Ok(admission) } else { Err(broken) } }.boxed()
    }

    fn check(&self, repaired: &Repaired) -> Result<(), ImportsError> {
        self.0.asked.lock().unwrap().push(format!("check {}", repaired.event));
        Ok(())
    }
}
