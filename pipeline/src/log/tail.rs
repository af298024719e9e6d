//! The newest groups of the WAL in memory, so that readers seldom touch the disk.

use super::{LogError, Offset};
use crate::Micros;
use crate::log::frame::Frame;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Committed groups stay in memory while they take no more than this, for readers close behind.
const COMMITTED_BYTES_MAX: u64 = 16 << 20;

/// Frames that became durable together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) first: Offset,
    /// The first offset behind it.
    pub(crate) end: Offset,
    pub(crate) last_received_at: Micros,
    pub(crate) payload: Bytes,
}

impl Group {
    /// The frames in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Result<Frame<'_>, LogError>> {
        let mut rest: &[u8] = &self.payload;
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| {
                Frame::decode(&mut rest).map_err(|error| {
                    rest = &[];
                    LogError::Damaged(format!("offsets {} to {}: {error}", self.first, self.end))
                })
            })
        })
    }
}

/// The durable end of the log, with as many groups before it as fit in memory.
pub(crate) struct Tail {
    inner: Mutex<Inner>,
    end: watch::Sender<Offset>,
    bytes_max: u64,
}

struct Inner {
    groups: VecDeque<Arc<Group>>,
    bytes: u64,
    committed: Offset,
    /// Payload bytes that wait for a commit, in memory or not.
    uncommitted_bytes: u64,
}

/// How much waits for a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) bytes: u64,
    /// When the oldest record in memory that waits was received; `None` when nothing waits.
    pub(crate) since: Option<Micros>,
}

impl Tail {
    /// A tail whose log ends at `end` and is committed up to `committed`, both exclusive.
    pub(crate) fn new(committed: Offset, end: Offset, bytes_max: u64) -> Self {
        let inner = Inner { groups: VecDeque::new(), bytes: 0, committed, uncommitted_bytes: 0 };
        Self { inner: Mutex::new(inner), end: watch::Sender::new(end), bytes_max }
    }

    /// Adds a durable group.
    pub(crate) fn push(&self, group: Group) {
        let end = group.end;
        {
            let mut inner = self.lock();
            inner.bytes += group.payload.len() as u64;
            inner.uncommitted_bytes += group.payload.len() as u64;
            inner.groups.push_back(Arc::new(group));
            inner.evict(self.bytes_max);
        }
        self.end.send_replace(end);
    }

    /// Everything below `committed` is in the tables; `bytes` of payload went there.
    pub(crate) fn committed(&self, committed: Offset, bytes: u64) {
        let mut inner = self.lock();
        inner.committed = committed;
        inner.uncommitted_bytes = inner.uncommitted_bytes.saturating_sub(bytes);
        inner.evict(self.bytes_max);
    }

    /// The groups from the one that holds `from` on, or `None` when that one is not in memory.
    pub(crate) fn groups_from(&self, from: Offset) -> Option<Vec<Arc<Group>>> {
        let inner = self.lock();
        let oldest = inner.groups.front().map_or(self.end(), |group| group.first);
        if from < oldest {
            return None;
        }
        let start = inner.groups.partition_point(|group| group.end <= from);
        Some(inner.groups.range(start..).map(Arc::clone).collect())
    }

    /// The first offset behind the log.
    pub(crate) fn end(&self) -> Offset {
        *self.end.borrow()
    }

    /// Tells of every move of the end.
    pub(crate) fn follow(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let inner = self.lock();
        let oldest = inner.groups.iter().find(|group| group.end > inner.committed);
        Waiting { bytes: inner.uncommitted_bytes, since: oldest.map(|group| group.last_received_at) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn evict(&mut self, bytes_max: u64) {
        while let Some(oldest) = self.groups.front() {
            let max = if oldest.end <= self.committed { COMMITTED_BYTES_MAX } else { bytes_max };
            if self.bytes <= max {
                break;
            }
            self.bytes -= oldest.payload.len() as u64;
            self.groups.pop_front();
        }
    }
}
