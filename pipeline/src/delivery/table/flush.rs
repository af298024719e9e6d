//! Moves the journal's new records into the table, a commit at a time.

use super::Deliveries;
use super::needed::Needed;
use super::rows::Rows;
use crate::delivery::LaneId;
use crate::delivery::journal::JournalReader;
use crate::delivery::lane_store::{LaneStore, LaneSummary};
use crate::failpoint;
use crate::log::{LogError, PartitionId, blocking};
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A record waits no longer than this for its commit.
const AGE: Duration = Duration::from_secs(2);

/// A commit is made as soon as so many records wait for it; it takes about that many.
pub(super) const RECORDS: u64 = 20_000;

/// A commit is made of no more bytes of rows than about this.
const BYTES: usize = 32 << 20;

/// How often it is looked at what waits.
const TICK: Duration = Duration::from_millis(100);

/// Delay before the first retry of a commit that failed; it doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How far the journal was flushed, and what is still needed of it.
pub(super) struct Flusher {
    pub(super) flushed: u64,
    pub(super) needed: Needed,
}

impl Deliveries {
    /// Flushes what is old enough or much, until it is stopped. What failed is tried again.
    pub(super) async fn flush_when_due(&self) {
        let mut stopped = self.stop.subscribe();
        let (mut retry, mut next) = (RETRY.0, Instant::now() + AGE);
        let mut failed = false;
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = tokio::time::sleep(TICK) => {}
            }
            let waiting = self.journal.last().saturating_sub(self.status().flushed);
            metrics::gauge!("flowstate_deliveries_unflushed_records").set(waiting as f64);
            if Instant::now() < next && (failed || waiting < RECORDS) {
                continue;
            }
            match self.flush().await {
                Ok(()) => (failed, retry, next) = (false, RETRY.0, Instant::now() + AGE),
                Err(error) => {
                    tracing::warn!(
                        %error,
                        retry_s = retry.as_secs(),
                        "deliveries could not be flushed; they stay in the journal"
                    );
                    (failed, next) = (true, Instant::now() + retry);
                    retry = (retry * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Flushes everything, a commit at a time, and releases what is not needed any more.
    pub(super) async fn flush_all(&self) -> Result<(), LogError> {
        let mut flusher = self.flusher.lock().await;
        let mut reader = self.journal.reader(flusher.flushed + 1);
        loop {
            let part;
            (reader, part) = read(reader, self.journal.id().clone(), u64::MAX).await?;
            let Some(part) = part else { break };
            self.table.append(self.journal.id(), part.batches, part.last).await?;
            failpoint::hit("after_deliveries_before_release");
            flusher.flushed = part.last;
            flusher.needed.note(part.last + 1, part.lanes);
        }
        if flusher.needed.is_any() {
            let below = flusher.needed.below(&positions(&*self.lanes).await?);
            self.journal.release(below).await?;
        }
        Ok(())
    }
}

/// Records that follow each other: their rows, the last one's number, and each lane's own last one.
pub(super) struct Part {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) last: u64,
    pub(super) lanes: HashMap<LaneId, u64>,
}

/// The next part, as large as a commit may be, or until it holds the record `until`; `None` at the end.
pub(super) async fn read(
    mut reader: JournalReader,
    journal: PartitionId,
    until: u64,
) -> Result<(JournalReader, Option<Part>), LogError> {
    blocking(move || {
        let mut rows = Rows::new(journal);
        let (mut lanes, mut records, mut last) = (HashMap::new(), 0, None);
        while records < RECORDS && rows.bytes() < BYTES && last.is_none_or(|last| last < until) {
            let Some(group) = reader.next_group()? else { break };
            for (sequence, record) in group {
                rows.push(sequence, &record);
                lanes.insert(record.lane, sequence);
                last = Some(sequence);
                records += 1;
            }
        }
        let part = last.map(|last| Part { batches: rows.finish(), last, lanes });
        Ok((reader, part))
    })
    .await
}

/// Where all lanes stand.
pub(super) async fn positions(lanes: &dyn LaneStore) -> Result<Vec<LaneSummary>, LogError> {
    lanes.lanes().await.map_err(|error| LogError::store("the lanes' checkpoints cannot be read", error))
}
