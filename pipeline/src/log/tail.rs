//! The newest groups of the WAL in memory, so that readers seldom touch the disk.

use super::{LogError, Offset};
use crate::log::frame::Frame;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

/// Committed groups stay in memory while they take no more than this, for readers close behind.
const COMMITTED_BYTES_MAX: u64 = 16 << 20;

/// Frames that became durable together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) first: Offset,
    /// The first offset behind it.
    pub(crate) end: Offset,
    pub(crate) payload: Bytes,
    /// When it was added, by a clock that nobody sets.
    pub(crate) since: Instant,
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
    closed: AtomicBool,
    bytes_max: u64,
}

struct Inner {
    groups: VecDeque<Arc<Group>>,
    bytes: u64,
    committed: Offset,
    /// Payload bytes of groups that were added and wait for a commit, in memory or not.
    uncommitted_bytes: u64,
    /// Everything below was in the log before this process; its bytes were never counted.
    recovered: Offset,
}

/// How much waits for a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) bytes: u64,
    /// Since when the oldest group waits; `None` when nothing waits.
    pub(crate) since: Option<Instant>,
    /// Whether some of it is not in memory any more: commits are behind.
    pub(crate) behind: bool,
}

impl Tail {
    /// A tail whose log ends at `end` and is committed up to `committed`, both exclusive.
    pub(crate) fn new(committed: Offset, end: Offset, bytes_max: u64) -> Self {
        let groups = VecDeque::new();
        let inner = Inner { groups, bytes: 0, committed, uncommitted_bytes: 0, recovered: end };
        let (inner, end) = (Mutex::new(inner), watch::Sender::new(end));
        Self { inner, end, closed: AtomicBool::new(false), bytes_max }
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
        if committed > inner.recovered {
            inner.uncommitted_bytes = inner.uncommitted_bytes.saturating_sub(bytes);
        }
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

    /// Nothing more will be added: whoever waits for more is told.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.end.send_modify(|_| {});
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let inner = self.lock();
        let oldest = inner.groups.partition_point(|group| group.end <= inner.committed);
        let in_memory = inner.groups.front().map_or(self.end(), |group| group.first);
        Waiting {
            bytes: inner.uncommitted_bytes,
            since: inner.groups.get(oldest).map(|group| group.since),
            behind: inner.committed < in_memory,
        }
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
