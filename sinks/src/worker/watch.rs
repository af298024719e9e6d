//! What a worker shows of itself: metrics, and one log line when its state changes.

use crate::Outcome;
use metrics::{Counter, Gauge, counter, gauge};
use pipeline::Micros;
use pipeline::clock::SECOND;
use std::time::Duration;

/// The metrics of one destination and the trouble it is in, if any.
pub(super) struct Watch {
    destination: String,
    delivered: Counter,
    refused: Counter,
    excluded: Counter,
    lag_seconds: Gauge,
    lag_records: Gauge,
    trouble: Option<&'static str>,
}

impl Watch {
    pub(super) fn new(destination: &str) -> Self {
        let events = |outcome: &'static str| counter!("flowstate_delivery_events_total", "destination" => destination.to_owned(), "outcome" => outcome);
        Self {
            destination: destination.to_owned(),
            delivered: events("delivered"),
            refused: events("refused"),
            excluded: events("excluded"),
            lag_seconds: gauge!("flowstate_delivery_lag_seconds", "destination" => destination.to_owned()),
            lag_records: gauge!("flowstate_delivery_lag_records", "destination" => destination.to_owned()),
            trouble: None,
        }
    }

    /// So many events are not meant for the destination.
    pub(super) fn excluded(&self, events: usize) {
        self.excluded.increment(events as u64);
    }

    /// A batch was decided.
    pub(super) fn decided(&mut self, outcome: &Outcome, events: usize) {
        match outcome {
            Outcome::Refused { .. } => self.refused.increment(events as u64),
            _ => self.delivered.increment(events as u64),
        }
        if self.trouble.take().is_some() {
            tracing::info!(destination = self.destination, "`{}` takes events again", self.destination);
        }
    }

    /// An attempt failed and will be repeated. Says so once, until the reason changes.
    pub(super) fn retried(&mut self, outcome: &Outcome, wait: Duration) {
        let (name, class) = (&self.destination, outcome.as_str());
        counter!("flowstate_delivery_retries_total", "destination" => name.clone(), "reason" => class)
            .increment(1);
        if self.trouble.replace(class) == Some(class) {
            return;
        }
        let retry_after_s = wait.as_secs_f64();
        match outcome {
            Outcome::Unauthorized { status } => tracing::warn!(
                destination = name,
                status,
                "`{name}` does not accept our credential; its events wait until that is put right"
            ),
            Outcome::RateLimited { .. } => {
                tracing::warn!(destination = name, retry_after_s, "`{name}` asked us to wait");
            }
            Outcome::TimedOut => {
                tracing::warn!(destination = name, retry_after_s, "`{name}` did not answer in time");
            }
            Outcome::Unavailable { reason, .. } => {
                tracing::warn!(destination = name, retry_after_s, reason, "`{name}` is unavailable");
            }
            Outcome::Delivered | Outcome::Refused { .. } => {}
        }
    }

    /// The oldest event not decided yet was received then; `None` when all are decided.
    pub(super) fn oldest(&self, received_at: Option<Micros>, now: Micros) {
        let lag = received_at.map_or(0, |received_at| now.saturating_sub(received_at).max(0));
        self.lag_seconds.set(lag as f64 / SECOND as f64);
    }

    /// So many records of the log, receipts included, are still to be decided.
    pub(super) fn behind(&self, records: u64) {
        self.lag_records.set(records as f64);
    }
}
