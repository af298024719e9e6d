//! Reading events in offset order, wherever they lie: in memory, in the WAL or in Parquet files.

use super::published::Published;
use super::stored::{self, EventRows};
use super::table::{DataFile, Hole, TableKind};
use super::tail::{Group, Tail};
use super::wal::WalReader;
use super::{LogError, Offset, PartitionId, Stored, blocking};
use crate::event::{Event, Record};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// How much of the WAL is read at once.
const WAL_BYTES: u64 = 4 << 20;

/// Events that a reader did not find, as they were removed for good before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// From where on the reader lacks them. What the hole has below it had been read before.
    pub from: Offset,
    /// What is gone.
    pub hole: Hole,
}

/// Reads events in offset order, wherever they lie: in memory, in the WAL or in Parquet files.
///
/// No gap and no repeat, across restarts, commits and compaction; events that were removed for good are
/// passed over, and [`Reader::passed`] tells. It takes part in no decision
/// about what is kept: a reader that is far behind finds everything in the tables.
pub struct Reader {
    pub(super) partition: PartitionId,
    pub(super) tail: Arc<Tail>,
    pub(super) wal: WalReader,
    pub(super) published: Arc<Published>,
    moved: watch::Receiver<Offset>,
    /// Every event below it was handed out or is in `ready`.
    next: Offset,
    ready: VecDeque<Stored<Event<'static>>>,
    file: Option<(EventRows, DataFile)>,
    passed: Vec<Passed>,
}

impl Passed {
    /// What a reader at `from` lacks of a hole. Whether anybody misses it, who reads knows.
    pub(super) fn new(from: Offset, hole: Hole) -> Self {
        Self { from: from.max(hole.first), hole }
    }
}

impl Reader {
    pub(super) fn new(
        partition: PartitionId,
        tail: Arc<Tail>,
        wal: WalReader,
        published: Arc<Published>,
        from: Offset,
    ) -> Self {
        let moved = tail.follow();
        let (ready, file, passed) = Default::default();
        Self { partition, tail, wal, published, moved, next: from, ready, file, passed }
    }

    /// The next events, at most `max` (0 counts as 1), and the position to go on from. Waits while there is nothing
    /// new. The events may be none where the log holds only other records up to that position.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when records are missing; [`LogError::Store`] when a read failed. The
    /// position stays, so the call may be repeated.
    pub async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        if self.ready.is_empty() {
            self.refill().await?;
        }
        let events: Vec<_> = self.ready.drain(..max.max(1).min(self.ready.len())).collect();
        let position = match (self.ready.front(), events.last()) {
            (Some(_), Some(last)) => last.offset + 1,
            _ => self.next,
        };
        Ok((events, position))
    }

    /// What the reader did not find since this was called last.
    pub fn passed(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    async fn refill(&mut self) -> Result<(), LogError> {
        loop {
            // The file is put back only while it has more: after an error Parquet's stream says that
            // it is at its end.
            if let Some((mut rows, file)) = self.file.take() {
                match rows.next(self.next).await? {
                    None => self.next = self.next.max(file.offsets.1 + 1),
                    Some(events) => {
                        self.file = Some((rows, file));
                        if let Some(last) = events.last() {
                            self.next = last.offset + 1;
                            self.ready.extend(events);
                            return Ok(());
                        }
                    }
                }
                continue;
            }
            if self.pass_hole() {
                return Ok(());
            }
            self.moved.borrow_and_update();
            if let Some(groups) = self.tail.groups_from(self.next) {
                if groups.is_empty() {
                    if self.tail.is_closed() {
                        return Err(LogError::store("there is nothing more to read", "the log was closed"));
                    }
                    // It cannot fail: this reader keeps the sender alive.
                    let _ = self.moved.changed().await;
                    continue;
                }
                return self.take(&groups);
            }
            match self.groups_of_wal().await? {
                Some(groups) => return self.take(&groups),
                None => self.open_file().await?,
            }
        }
    }

    /// Goes on behind events that were removed for good, and says whether it did. The WAL may still have
    /// them, and nothing may come behind them yet.
    fn pass_hole(&mut self) -> bool {
        let Some(hole) = self.published.hole_at(&self.partition, self.next) else { return false };
        let from = std::mem::replace(&mut self.next, hole.last + 1);
        self.passed.push(Passed::new(from, hole));
        true
    }

    /// The groups of the WAL from `next` on; `None` when it does not hold them any more.
    async fn groups_of_wal(&mut self) -> Result<Option<Vec<Arc<Group>>>, LogError> {
        let (wal, next) = (self.wal.clone(), self.next);
        blocking(move || super::groups_of_wal(&wal, next, WAL_BYTES)).await
    }

    /// Opens the file that holds `next` or what comes after it; without one, everything up to what
    /// is committed is no event.
    async fn open_file(&mut self) -> Result<(), LogError> {
        let (tables, bounds, _pin) = self.published.pin();
        let events = &tables[TableKind::Events.index()];
        let file = events
            .files
            .iter()
            .filter(|file| file.partition == self.partition && file.offsets.1 >= self.next)
            .min_by_key(|file| file.offsets.0);
        match file {
            Some(file) => {
                let rows = EventRows::open(events, file, self.next).await?;
                self.file = Some((rows, file.clone()));
                Ok(())
            }
            None if self.next < bounds[TableKind::Events.index()] => {
                self.next = bounds[TableKind::Events.index()];
                Ok(())
            }
            None => Err(LogError::Damaged(format!(
                "offset {} is neither in the WAL nor in the tables",
                self.next
            ))),
        }
    }

    fn take(&mut self, groups: &[Arc<Group>]) -> Result<(), LogError> {
        let mut sources = stored::Sources::default();
        for group in groups {
            for frame in group.frames() {
                let frame = frame?;
                let source = sources.get(frame.source);
                let mut events = Vec::new();
                for record in frame.records() {
                    let (offset, received_at, record) =
                        record.map_err(|error| LogError::Damaged(error.to_string()))?;
                    let Record::Event(mut event) = record else { continue };
                    if offset < self.next {
                        continue;
                    }
                    event.flags.insert(event.timestamp(received_at).1);
                    events.push(Stored {
                        partition: self.partition.clone(),
                        offset,
                        received_at,
                        source: Arc::clone(&source),
                        test: frame.test,
                        record: event.into_owned(),
                    });
                }
                self.ready.extend(events);
                self.next = self.next.max(frame.end());
            }
            if self.ready.len() >= 4_096 {
                break;
            }
        }
        Ok(())
    }
}
