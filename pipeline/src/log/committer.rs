//! Moves the WAL's new records into the tables, a commit at a time.
//!
//! It has a thread and a runtime of its own at a lower priority: requests come first.

use super::appender::Appender;
use super::published::Published;
use super::rows::{Batches, Rows};
use super::table::{Table, TableKind};
use super::tail::{Group, Tail};
use super::wal::WalReader;
use super::{LogConfig, LogError, Offset, PartitionId, blocking};
use crate::failpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Delay before the first retry of a commit that failed; it doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often it is looked at what waits.
const TICK: Duration = Duration::from_millis(100);

pub(crate) enum Command {
    /// Commit everything that was durable when this was sent.
    Flush(oneshot::Sender<Result<(), String>>),
    /// The same, and tell the versions of the tables that hold it, and of this partition nothing more.
    Pin(oneshot::Sender<Result<[u64; 3], String>>),
    /// As a flush, and end.
    Close(oneshot::Sender<Result<(), String>>),
    /// End without a commit, as a crash does.
    #[cfg(test)]
    Abandon(oneshot::Sender<Result<(), String>>),
}

pub(crate) struct Committer {
    pub(crate) config: LogConfig,
    pub(crate) partition: PartitionId,
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) wal: WalReader,
    pub(crate) appender: Arc<Appender>,
    pub(crate) published: Arc<Published>,
    /// The first offset that is not committed.
    pub(crate) next: Offset,
    /// The WAL was asked to let go of everything below.
    pub(crate) released: Offset,
}

/// Records that go into one commit.
struct Part {
    groups: Vec<Arc<Group>>,
    bytes: u64,
    end: Offset,
}

impl Committer {
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut retry = RETRY.0;
        let mut not_before = Instant::now();
        loop {
            let command = tokio::select! {
                command = commands.recv() => Some(command),
                () = tokio::time::sleep(TICK) => None,
            };
            #[cfg(test)]
            if let Some(Some(Command::Abandon(done))) = command {
                let _ = done.send(Ok(()));
                return;
            }
            let outcome = match &command {
                Some(_) => self.commit_until(self.tail.end()).await,
                None if Instant::now() < not_before => continue,
                None => self.commit_due().await,
            };
            self.release();
            if let Err(error) = &outcome {
                metrics::counter!("flowstate_log_commit_errors_total").increment(1);
                self.published.set_commit_error(Some(error.to_string()));
            }
            match command {
                Some(Some(Command::Flush(done))) => {
                    let _ = done.send(outcome.map_err(|error| error.to_string()));
                }
                Some(Some(Command::Pin(done))) => {
                    // Receipts first: what they hold of other partitions, the others hold by then.
                    let mut versions = [0; 3];
                    for table in self.tables.iter().rev() {
                        versions[table.kind().index()] = table.snapshot().version;
                    }
                    let _ = done.send(outcome.map(|()| versions).map_err(|error| error.to_string()));
                }
                Some(Some(Command::Close(done))) => {
                    let _ = done.send(outcome.map_err(|error| error.to_string()));
                    return;
                }
                #[cfg(test)]
                Some(Some(Command::Abandon(_))) => unreachable!("it was met above"),
                Some(None) => return,
                None => match outcome {
                    Ok(()) => retry = RETRY.0,
                    Err(error) => {
                        tracing::warn!(%error, retry_s = retry.as_secs(), "a commit failed; events stay in the WAL");
                        not_before = Instant::now() + retry;
                        retry = (retry * 2).min(RETRY.1);
                    }
                },
            }
        }
    }

    /// Commits while there is a full commit's worth or something old enough.
    async fn commit_due(&mut self) -> Result<(), LogError> {
        loop {
            let waiting = self.tail.waiting();
            let old = waiting.since.is_some_and(|since| since.elapsed() >= self.config.commit_age);
            if !waiting.behind && !old && waiting.bytes < self.config.commit_bytes {
                return Ok(());
            }
            self.commit_next().await?;
        }
    }

    async fn commit_until(&mut self, end: Offset) -> Result<(), LogError> {
        while self.next < end {
            self.commit_next().await?;
        }
        Ok(())
    }

    async fn commit_next(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        let part = self.gather().await?;
        commit(&self.tables, &self.partition, part.groups, part.end).await?;
        failpoint::hit("after_commit_before_release");
        self.next = part.end;
        self.tail.committed(part.end, part.bytes);
        self.published.set_commit_error(None);
        self.release();
        metrics::histogram!("flowstate_log_commit_seconds").record(began.elapsed());
        metrics::gauge!("flowstate_log_committed_offset").set(part.end as f64);
        for table in &self.tables {
            let files = table.snapshot().files.len();
            metrics::gauge!("flowstate_log_files", "table" => table.kind().name()).set(files as f64);
        }
        Ok(())
    }

    /// Lets the WAL go of what is committed and nobody reads there. Asked again until it was heard:
    /// a full WAL takes no appends, and without them there is no further commit.
    fn release(&mut self) {
        let releasable = self.published.releasable(self.next);
        if releasable > self.released && self.appender.release(releasable) {
            self.released = releasable;
        }
    }

    /// The next records in order, up to the size of a commit; at least one group.
    async fn gather(&self) -> Result<Part, LogError> {
        let groups = match self.tail.groups_from(self.next) {
            Some(groups) => groups,
            None => {
                let (wal, next, bytes) = (self.wal.clone(), self.next, self.config.commit_bytes);
                blocking(move || super::groups_of_wal(&wal, next, bytes)).await?.unwrap_or_default()
            }
        };
        let mut part = Part { groups: Vec::new(), bytes: 0, end: self.next };
        for group in groups {
            if part.bytes > 0 && part.bytes + group.payload.len() as u64 > self.config.commit_bytes {
                break;
            }
            part.bytes += group.payload.len() as u64;
            part.end = group.end;
            part.groups.push(group);
        }
        if part.end == self.next {
            return Err(LogError::Damaged(format!("the WAL does not hold offset {}", self.next)));
        }
        Ok(part)
    }
}

/// Commits groups that end at `end` to all tables, each record once, whoever committed some of them
/// before.
pub(super) async fn commit(
    tables: &[Arc<Table>],
    partition: &PartitionId,
    groups: Vec<Arc<Group>>,
    end: Offset,
) -> Result<(), LogError> {
    let after = TableKind::ALL.map(|kind| tables[kind.index()].committed(partition));
    let rows = Rows::after(partition.clone(), after);
    let batches = blocking(move || build(rows, &groups)).await?;
    for kind in TableKind::ALL {
        tables[kind.index()].append(partition, batches.get(kind).to_vec(), end - 1).await?;
    }
    Ok(())
}

/// The rows of groups.
pub(super) fn build(mut rows: Rows, groups: &[Arc<Group>]) -> Result<Batches, LogError> {
    for group in groups {
        for frame in group.frames() {
            rows.push(&frame?).map_err(|error| LogError::Damaged(error.to_string()))?;
        }
    }
    Ok(rows.finish())
}
