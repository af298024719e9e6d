//! Reading a partition of another node: what is committed of it.

use super::published::Published;
use super::reader::Passed;
use super::stored::EventRows;
use super::table::{DataFile, Hole, TableKind};
use super::{Log, LogError, Offset, PartitionId, Stored, adopt};
use crate::event::Event;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// A reader that waits asks with every so many looks at the tables whether its partition has ended: it costs
/// a listing of the store.
const LOOKS: u64 = 30;

/// A partition that another node appends to, or appended to until it ended.
///
/// Only what is committed to all tables is known of it: whole requests.
#[derive(Clone)]
pub struct Foreign {
    partition: PartitionId,
    published: Arc<Published>,
}

impl Log {
    /// Another node's partition, as far as it is committed. Of this node's own it has that much, too.
    pub fn foreign(&self, partition: &PartitionId) -> Foreign {
        Foreign::new(partition.clone(), Arc::clone(&self.published))
    }

    /// The partitions that have events in the tables, and this node's own, by the day of their first event.
    pub fn partitions(&self) -> Vec<PartitionId> {
        let mut first = BTreeMap::from([(self.partition.clone(), i32::MAX)]);
        for file in self.published.table(TableKind::Events).snapshot().files.iter() {
            let day = first.entry(file.partition.clone()).or_insert(i32::MAX);
            *day = file.received_date.min(*day);
        }
        let mut partitions: Vec<_> = first.into_iter().collect();
        partitions.sort_by_key(|(_, day)| *day);
        partitions.into_iter().map(|(partition, _)| partition).collect()
    }
}

impl Foreign {
    pub(super) fn new(partition: PartitionId, published: Arc<Published>) -> Self {
        Self { partition, published }
    }

    /// The partition.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// The first offset that is not committed, as of the last look, which is at most seconds ago.
    pub fn end(&self) -> Offset {
        self.published.others().whole().get(&self.partition).map_or(0, |last| last + 1)
    }

    /// A reader from `from` on.
    pub fn reader(&self, from: Offset) -> ForeignReader {
        ForeignReader {
            of: self.clone(),
            refreshed: self.published.follow(),
            next: from,
            end: 0,
            looks: 0,
            ready: VecDeque::new(),
            file: None,
            passed: Vec::new(),
        }
    }
}

/// Reads the committed events of a partition in offset order.
///
/// No gap and no repeat, across commits of its node and compaction; events that were removed for good are
/// passed over, and [`ForeignReader::passed`] tells.
pub struct ForeignReader {
    of: Foreign,
    refreshed: watch::Receiver<()>,
    /// Every event below it was handed out or is in `ready`.
    next: Offset,
    /// [`Foreign::end`] when it was looked at last.
    end: Offset,
    looks: u64,
    ready: VecDeque<Stored<Event<'static>>>,
    file: Option<(EventRows, DataFile)>,
    passed: Vec<Passed>,
}

impl ForeignReader {
    /// The next events, at most `max` (0 counts as 1), and the position to go on from; `None` when the
    /// partition has ended and everything was read. Waits while there is nothing new. The events may be
    /// none where only other records are committed up to that position.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when a file cannot be understood; [`LogError::Store`] when a read failed. The
    /// position stays, so the call may be repeated.
    pub async fn next(
        &mut self,
        max: usize,
    ) -> Result<Option<(Vec<Stored<Event<'static>>>, Offset)>, LogError> {
        if self.ready.is_empty() && !self.refill().await? {
            return Ok(None);
        }
        let events: Vec<_> = self.ready.drain(..max.max(1).min(self.ready.len())).collect();
        let position = match (self.ready.front(), events.last()) {
            (Some(_), Some(last)) => last.offset + 1,
            _ => self.next,
        };
        Ok(Some((events, position)))
    }

    /// What the reader did not find since this was called last.
    pub fn passed(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    /// Moves on; `false` at the end of a partition that has ended.
    async fn refill(&mut self) -> Result<bool, LogError> {
        let begun = self.next;
        while self.ready.is_empty() && self.next == begun {
            // As with a reader of this node's own partition: after an error the file is opened anew.
            if let Some((rows, file)) = self.file.take() {
                self.read(rows, file).await?;
                continue;
            }
            self.refreshed.borrow_and_update();
            self.end = self.of.end();
            if self.next < self.end {
                self.open_file().await?;
            } else if self.has_ended().await? {
                return Ok(false);
            } else {
                // It cannot fail: this reader keeps the sender alive.
                let _ = self.refreshed.changed().await;
            }
        }
        Ok(true)
    }

    /// Takes the next rows of a file, up to the end: what lies behind it may be half of a request.
    async fn read(&mut self, mut rows: EventRows, file: DataFile) -> Result<(), LogError> {
        let Some(mut events) = rows.next(self.next).await? else {
            self.next = self.next.max((file.offsets.1 + 1).min(self.end));
            return Ok(());
        };
        let whole = events.partition_point(|event| event.offset < self.end);
        if whole < events.len() {
            events.truncate(whole);
            self.next = self.end;
        } else {
            self.file = Some((rows, file));
            self.next = events.last().map_or(self.next, |last| last.offset + 1);
        }
        self.ready.extend(events);
        Ok(())
    }

    /// Opens the file that holds `next` or what comes after it; without one there is no event up to the end.
    async fn open_file(&mut self) -> Result<(), LogError> {
        let events = self.of.published.table(TableKind::Events).snapshot();
        let file = events
            .files
            .iter()
            .filter(|file| file.partition == self.of.partition && file.offsets.1 >= self.next)
            .min_by_key(|file| file.offsets.0)
            .filter(|file| file.offsets.0 < self.end);
        let upto = file.map_or(self.end, |file| file.offsets.0);
        let lacks = |hole: &&Hole| hole.last >= self.next && hole.first < upto;
        let holes = events.holes_of(&self.of.partition).filter(lacks);
        let passed: Vec<_> = holes.map(|hole| Passed::new(self.next, hole.clone())).collect();
        match file {
            Some(file) if passed.is_empty() => {
                self.file = Some((EventRows::open(&events, file, self.next).await?, file.clone()));
            }
            _ => {
                self.passed.extend(passed);
                self.next = upto;
            }
        }
        Ok(())
    }

    async fn has_ended(&mut self) -> Result<bool, LogError> {
        self.looks += 1;
        if self.looks % LOOKS != 1 {
            return Ok(false);
        }
        let store = self.of.published.table(TableKind::Events).store();
        let ended = adopt::ended_at(store, &self.of.partition).await?;
        Ok(ended.is_some_and(|end| self.next >= end))
    }
}

#[cfg(test)]
mod tests;
