//! Counts what lanes decide, on the way to the journal.

use async_trait::async_trait;
use metrics::counter;
use pipeline::delivery::journal::Journal;
use pipeline::delivery::journal::{JournalError, Records};
use pipeline::delivery::{Outcome, Record};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Writes records to the journal and counts those that are durable.
pub(super) struct Tally {
    journal: Arc<Journal>,
    connection: String,
    vendor: String,
    delivered: AtomicU64,
    dead: AtomicU64,
    left_out: AtomicU64,
}

impl Tally {
    pub(super) fn new(journal: Arc<Journal>, connection: &str, vendor: &str) -> Arc<Self> {
        Arc::new(Self {
            journal,
            connection: connection.to_owned(),
            vendor: vendor.to_owned(),
            delivered: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        })
    }

    /// Events delivered, given up, and left out.
    pub(super) fn counts(&self) -> [u64; 3] {
        [self.delivered.load(Relaxed), self.dead.load(Relaxed), self.left_out.load(Relaxed)]
    }
}

#[async_trait]
impl Records for Tally {
    async fn append(&self, records: Vec<Record>) -> Result<u64, JournalError> {
        let decided: Vec<_> =
            records.iter().map(|r| (r.outcome, r.class, r.next_at, r.offsets.len() as u64)).collect();
        let last = self.journal.append(records).await?;
        for (outcome, class, next_at, events) in decided {
            let count = match outcome {
                Outcome::Delivered => Some(&self.delivered),
                Outcome::Dead => Some(&self.dead),
                Outcome::Ambiguous if next_at.is_none() => Some(&self.dead),
                Outcome::Filtered | Outcome::Suppressed => Some(&self.left_out),
                _ => None,
            };
            if let Some(count) = count {
                count.fetch_add(events, Relaxed);
            }
            counter!(
                "flowstate_delivery_events_total",
                "connection" => self.connection.clone(),
                "vendor" => self.vendor.clone(),
                "outcome" => outcome.as_str(),
                "class" => class.map_or("", |class| class.as_str()),
            )
            .increment(events);
        }
        Ok(last)
    }
}
