//! What the console asks of delivery, answered by the service.

use console::{
    DeadLetter, DeadLetters, DeadLettersOf, DeadOnes, Deliveries, DeliveriesError, Estimate, Preview,
    PreviewedEvent, PreviewedRequest, Status, Step, StepState, WaitsFor,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::connection::ReplaySpec;
use pipeline::delivery::lane_store::{Dead, DeadFilter};
use pipeline::event::format_timestamp;
use pipeline::{Clock, Micros};
use sinks::engine::{self, Gate, LaneStatus};
use sinks::service::{self, Service, ServiceError};
use std::sync::Arc;

/// The console's deliveries over the service.
pub(crate) struct Answers {
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Clock,
}

impl Deliveries for Answers {
    fn status(&self, connection: &str) -> Option<Status> {
        let status = self.service.status(connection)?;
        let now = self.clock.now();
        Some(Status {
            lag_events: status.lane.behind,
            lag_s: status.oldest.map_or(0.0, |at| (now - at).max(0) as f64 / 1e6),
            retrying: status.lane.parked as u64,
            waits_for: waits_for(&status.lane),
        })
    }

    fn test(
        &self,
        connection: String,
        sample: bool,
    ) -> BoxFuture<'static, Result<Vec<Step>, DeliveriesError>> {
        let service = Arc::clone(&self.service);
        async move {
            let check = service.test(&connection, sample).await.map_err(error)?;
            Ok(check.steps.into_iter().map(step).collect())
        }
        .boxed()
    }

    fn preview(
        &self,
        connection: String,
        count: usize,
    ) -> BoxFuture<'static, Result<Preview, DeliveriesError>> {
        let service = Arc::clone(&self.service);
        async move { Ok(preview(service.preview(&connection, count).await.map_err(error)?)) }.boxed()
    }

    fn dead_letters(&self, of: DeadLettersOf) -> BoxFuture<'static, Result<DeadLetters, DeliveriesError>> {
        let service = Arc::clone(&self.service);
        let filter = DeadFilter { class: of.class, limit: of.limit, after_key: of.after, before: None };
        async move {
            let page = service.dead(&of.connection, &filter).await.map_err(error)?;
            Ok(DeadLetters {
                dead_letters: page.dead.into_iter().map(dead_letter).collect(),
                next: page.next_key,
                kept: page.kept,
                dropped: page.dropped,
            })
        }
        .boxed()
    }

    fn retry_dead(
        &self,
        connection: String,
        which: DeadOnes,
    ) -> BoxFuture<'static, Result<u64, DeliveriesError>> {
        let service = Arc::clone(&self.service);
        let which = match which {
            DeadOnes::All => service::DeadOnes::All,
            DeadOnes::At(at) => service::DeadOnes::At(at),
            DeadOnes::Class(class) => service::DeadOnes::Class(class),
            DeadOnes::Before(before) => service::DeadOnes::Before(before),
        };
        async move { service.revive(&connection, &which).await.map_err(error) }.boxed()
    }

    fn estimate(
        &self,
        connection: String,
        spec: ReplaySpec,
    ) -> BoxFuture<'static, Result<Estimate, DeliveriesError>> {
        let service = Arc::clone(&self.service);
        async move {
            let service::Estimate { scanned, matched, too_old, exact, seconds } =
                service.estimate(&connection, &spec).await.map_err(error)?;
            Ok(Estimate { scanned, matched, too_old, exact, seconds })
        }
        .boxed()
    }

    fn remaining(&self, replay: &str) -> Option<u64> {
        self.service.remaining(replay)
    }

    fn changed(&self) {
        self.service.changed();
    }
}

fn waits_for(lane: &LaneStatus) -> Option<WaitsFor> {
    let until = |at: Option<Micros>| at.map(format_timestamp);
    let waits = |what: &str, text: String, at: Option<Micros>| {
        Some(WaitsFor { what: what.to_owned(), text, until: until(at) })
    };
    match &lane.waits_for {
        engine::WaitsFor::Events if lane.parked > 0 && lane.in_flight == 0 => {
            let text = format!("{} events failed and are sent again later; all others go out.", lane.parked);
            waits("retries", text, lane.next_at)
        }
        engine::WaitsFor::Events => None,
        engine::WaitsFor::Log { until } => waits("log", "The log could not be read.".into(), Some(*until)),
        engine::WaitsFor::Retries => {
            waits("retries", "Too many events wait to be sent again.".into(), lane.next_at)
        }
        engine::WaitsFor::Gate { gate, until } => {
            let (what, text) = match gate {
                Gate::Breaker => ("breaker", "The vendor has been failing; a probe shows when it is back."),
                Gate::Rate => ("rate_limited", "The vendor's rate limit is used up. Nothing is lost."),
                Gate::Concurrency => ("concurrency", "As many requests are under way as the vendor takes."),
                Gate::Fair => ("fair_share", "Other destinations have their turn."),
            };
            waits(what, text.to_owned(), *until)
        }
        engine::WaitsFor::Credential => {
            waits("credential", "The access token is being renewed.".into(), None)
        }
        engine::WaitsFor::Hold(hold) => {
            waits(hold.class.as_str(), format!("{} {}", hold.detail, hold.remedy), None)
        }
        engine::WaitsFor::Resume => waits("paused", "It is paused.".into(), None),
        engine::WaitsFor::Requests => waits("requests", "Requests under way are waited for.".into(), None),
    }
}

fn step(step: engine::Step) -> Step {
    let state = match step.state {
        engine::StepState::Passed => StepState::Passed,
        engine::StepState::Failed => StepState::Failed,
        engine::StepState::Unprovable => StepState::Unprovable,
        engine::StepState::Skipped => StepState::Skipped,
    };
    Step { name: step.name.to_owned(), state, found: step.found, remedy: step.remedy, ms: step.ms }
}

fn preview(preview: service::Preview) -> Preview {
    let event = |event: service::PreviewedEvent| PreviewedEvent {
        message_id: event.message_id,
        partition: event.partition.to_string(),
        offset: event.offset,
        outcome: event.outcome.to_owned(),
        reason: event.reason,
    };
    let request = |request: service::PreviewedRequest| PreviewedRequest {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body,
        message_ids: request.message_ids,
    };
    Preview {
        events: preview.events.into_iter().map(event).collect(),
        requests: preview.requests.into_iter().map(request).collect(),
    }
}

fn dead_letter(dead: Dead) -> DeadLetter {
    DeadLetter {
        message_id: dead.message_id,
        partition: dead.lane.partition.to_string(),
        offset: dead.offset,
        replay: dead.lane.replay.map(|replay| replay.to_string()),
        class: dead.class.as_str().to_owned(),
        status: dead.status,
        vendor_code: dead.vendor_code,
        reason: dead.reason,
        attempts: dead.attempt,
        at: format_timestamp(dead.at),
    }
}

fn error(error: ServiceError) -> DeliveriesError {
    match error {
        ServiceError::Refused(message) => DeliveriesError::Refused(message),
        other => DeliveriesError::Failed(other.to_string()),
    }
}
