//! Requests to vendors that know no repeats: written down before they leave, and told apart afterwards
//! from those of which nothing is known.

use super::Lane;
use super::dispatch::Group;
use super::window::{Part, Slot};
use crate::engine::flow::Next;
use crate::engine::sink::{Failure, Idempotency, Scope};
use crate::engine::state::trigger;
use futures::channel::oneshot;
use pipeline::Micros;
use pipeline::connection::WhenAmbiguous;
use pipeline::delivery::{Class, Outcome, Record, Trigger};
use pipeline::event::Event;
use pipeline::log::{Offset, Stored};
use std::time::Duration;

/// Lets a request leave; dropping it recalls the request.
pub(super) type Leave = oneshot::Sender<()>;

impl Lane {
    /// Whether the vendor knows no repeats.
    pub(super) fn repeats_count(&self) -> bool {
        self.config.sink.manners().idempotency == Idempotency::None
    }

    /// Writes down that a request is about to leave. The answer comes once that is durable, or never
    /// when the request is recalled.
    pub(super) fn intend(&mut self, number: u64, parts: &[Part]) -> oneshot::Receiver<()> {
        let attempt = |part: &Part| self.window.get(part.offset).map_or(1, |slot| slot.attempt + 1);
        let mut attempts: Vec<(u32, Offset)> =
            parts.iter().map(|part| (attempt(part), part.offset)).collect();
        attempts.sort_unstable();
        for same in attempts.chunk_by(|one, other| one.0 == other.0) {
            let offsets = same.iter().map(|(_, offset)| *offset).collect();
            let record = self.record(Outcome::Intent, offsets);
            self.outbox.push(Record { attempt: same[0].0, request: Some(number), ..record });
        }
        let (leave, durable) = oneshot::channel();
        self.intended.insert(number, leave);
        durable
    }

    /// Lets requests leave whose intents have become durable, all of them up to the last in `records`.
    pub(super) fn let_leave(&mut self, records: &[Record]) {
        let is_out = |number: u64, outbox: &[Record]| {
            !outbox.iter().any(|record| record.outcome == Outcome::Intent && record.request == Some(number))
        };
        let numbers = records.iter().filter(|record| record.outcome == Outcome::Intent);
        for number in numbers.filter_map(|record| record.request) {
            if is_out(number, &self.outbox)
                && let Some(leave) = self.intended.remove(&number)
            {
                // Nobody waits where the lane is about to end.
                let _ = leave.send(());
            }
        }
    }

    /// Recalls the requests that have not left; their events wait as if nothing had been.
    pub(super) fn recall(&mut self) {
        self.intended.clear();
    }

    /// Writes down that a request came to nothing: the vendor took none of these events.
    pub(super) fn came_to_nothing(&mut self, offsets: Vec<Offset>, describe: impl FnOnce(&mut Record)) {
        if !offsets.is_empty() && self.repeats_count() {
            let mut record = self.record(Outcome::Intent, offsets);
            describe(&mut record);
            record.attempt = 0;
            self.outbox.push(record);
        }
    }

    /// Whether a failure leaves it unclear if an event has happened, where a repeat would count.
    pub(super) fn is_ambiguous(&self, failure: &Failure) -> bool {
        self.repeats_count() && matches!(failure.class, Class::Timeout | Class::NetworkReset)
    }

    /// When an event is sent again of which nobody knows whether the vendor took it; `None` where a
    /// person has to decide. While the destination is down that uses up no time: the gates tell when.
    pub(super) fn next_resend(
        &mut self,
        attempt: u32,
        sendable_us: u64,
        failure: &Failure,
        is_down: bool,
    ) -> Option<Next> {
        if self.config.ambiguous == WhenAmbiguous::Hold {
            return None;
        }
        let tried = if is_down { 0 } else { sendable_us };
        Some(match self.schedule.next(attempt, tried, failure, &mut self.random) {
            Next::At(_) if is_down => Next::At(Duration::ZERO),
            next => next,
        })
    }

    /// What becomes of an event of which nobody knows whether the vendor took it with this attempt.
    pub(super) fn ambiguous(
        offset: Offset,
        attempt: u32,
        trigger: Trigger,
        failure: Failure,
        next: Option<Next>,
        now: Micros,
    ) -> Group {
        let (outcome, failure, next_at) = match next {
            None => (Outcome::Ambiguous, held(failure), None),
            Some(Next::At(delay)) => {
                (Outcome::Ambiguous, failure, Some(now.saturating_add(super::micros(delay))))
            }
            Some(Next::GiveUp(why)) => (Outcome::Dead, failure.given_up(why, attempt), None),
        };
        Group { outcome, attempt, trigger, failure: Some(failure), next_at, offsets: vec![offset] }
    }

    /// Decides about an event that an earlier life of the process sent without hearing of it; false where
    /// there is nothing to decide.
    pub(super) fn decide_unclear(&mut self, event: &Stored<Event<'static>>, now: Micros) -> bool {
        let offset = event.offset;
        let Some(intent) = self.unclear.remove(&offset) else { return false };
        let item = self.state.parking.get(offset).copied();
        let keys = item.map_or_else(|| self.keys(&event.record), |item| item.keys);
        let trigger = item.map_or(trigger(self.state.lane()), |item| item.trigger);
        let sendable_us = item.map_or(0, |item| item.sendable_us);
        self.name(offset, &event.record.message_id);
        if item.is_none() {
            // Until it is parked, nothing else holds back the events behind it.
            let message_id = event.record.message_id.clone().into_owned();
            self.window.push(offset, Slot::decided(keys, trigger, message_id, now));
        }
        let next = self.next_resend(intent.attempt, sendable_us, &stopped(), false);
        let group = Self::ambiguous(offset, intent.attempt, trigger, stopped(), next, now);
        self.decide(group.outcome, group.offsets, |record| {
            record.keys = if group.next_at.is_some() { vec![keys] } else { Vec::new() };
            (record.attempt, record.trigger, record.next_at) = (group.attempt, group.trigger, group.next_at);
            if let Some(failure) = &group.failure {
                super::snippet::describe(record, failure);
            }
        });
        true
    }
}

/// The failure of a request that was under way when the process ended.
fn stopped() -> Failure {
    Failure {
        class: Class::NetworkReset,
        scope: Scope::Item,
        retry_after: None,
        status: None,
        vendor_code: None,
        detail: "the server stopped before an answer came, so the destination may have taken it".to_owned(),
        remedy: String::new(),
    }
}

/// The same failure for somebody who has to decide.
fn held(failure: Failure) -> Failure {
    let remedy = "Look whether it is there; send it again only if it is not.".to_owned();
    Failure { remedy, ..failure }
}
