//! Which message ids were stored within the window.
//!
//! The newest ids lie in a memtable, all others in immutable runs on disk, each sorted by hash and
//! covering one range of offsets, so that the runs are ordered in time. A run's filter rules out
//! most look-ups in memory; only the full key, read from disk, confirms one.
//!
//! The index is derived from the log. What is missing or damaged in it is dropped, and the log
//! replays the ids from [`Dedup::covered`] on. It leaves to the log which offsets are durable, what
//! time it is, and that only one process opens the directory.

mod background;
mod format;
mod memtable;
mod merge;
mod page;
mod recover;
mod run;
mod runs;
#[cfg(test)]
mod tests;
mod writer;

use super::{LogError, Offset};
use crate::Micros;
use background::{Background, FROZEN_MAX, Frozen};
use memtable::{Memtable, Size};
use runs::Runs;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The hash of a message id within its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdHash(pub u64);

impl IdHash {
    /// The hash of `message_id` in `source`.
    pub fn of(source: &str, message_id: &str) -> Self {
        let seed = xxhash_rust::xxh3::xxh3_64(source.as_bytes());
        Self(xxhash_rust::xxh3::xxh3_64_with_seed(message_id.as_bytes(), seed))
    }
}

/// How the index is kept.
#[derive(Clone, Debug)]
pub struct DedupConfig {
    /// The directory of the runs: one for each partition, with nothing else in it.
    pub dir: PathBuf,
    /// How long an id is remembered, counted from when its event was received.
    pub window: Duration,
    /// What memtables and filters may take in memory. Half of it is for filters; at 2.4 bytes an id
    /// 128 MiB hold the filters of 28 million ids, and look-ups in what is older read the disk.
    ///
    /// The ids inserted between two calls of [`Dedup::durable`] may come on top.
    pub memory_bytes_max: usize,
    shape: Shape,
}

impl DedupConfig {
    /// An index in `dir`.
    pub fn new(dir: PathBuf, window: Duration, memory_bytes_max: usize) -> Self {
        Self { dir, window, memory_bytes_max, shape: Shape::default() }
    }
}

/// The sizes that only tests change.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Ids in a memtable.
    memtable_ids: usize,
    /// Ids in a segment of a run, on average.
    segment_ids: u64,
    /// Ids in a block.
    block_ids: usize,
    /// Runs of one tier that are merged.
    fanout: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { memtable_ids: 200_000, segment_ids: 2_048, block_ids: 64, fanout: 8 }
    }
}

/// Where and when an id was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The offset of its event.
    pub offset: Offset,
    /// When that was received.
    pub received_at: Micros,
}

/// What the index holds and what look-ups have cost since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Ids in memtables and runs; expired ones count until they are merged away.
    pub ids: u64,
    /// Runs on disk.
    pub runs: u64,
    /// Look-ups in one run that its filter did not rule out.
    pub filter_hits: u64,
    /// Reads from disk that look-ups made.
    pub disk_reads: u64,
    /// Bytes of memory, at most what the configuration allows.
    pub memory_bytes: usize,
}

/// The index, owned by the thread that appends.
///
/// - Exact: [`Dedup::find`] finds an id if and only if it was inserted and lies in the window.
/// - Durable: what [`Dedup::covered`] says survives a crash, and nothing that was not durable in the
///   log does.
/// - Bounded: memory stays within the configuration; when runs are not written as fast as ids come,
///   [`Dedup::durable`] waits.
///
/// Offsets and times of inserted ids grow together. Dropping it without [`Dedup::close`] is a crash.
pub struct Dedup {
    window: Micros,
    size: Size,
    active: Memtable,
    frozen: VecDeque<Arc<Frozen>>,
    /// Where the memtable begins, and what it holds so far.
    start: Offset,
    durable: Offset,
    inserted: Offset,
    latest: Micros,
    runs: Arc<Runs>,
    background: Background,
}

impl Dedup {
    /// Opens the index of a log that is durable below `end`.
    ///
    /// Then the log replays: it inserts the ids of all events from [`Dedup::covered`] to `end` (those
    /// outside of the window it may leave out), calling [`Dedup::durable`] every few thousand, and
    /// at last with `end`. After damage that can be the whole window.
    ///
    /// # Errors
    /// [`LogError::Store`] when the directory cannot be made, read or cleaned. Damage is no error.
    pub fn open(config: DedupConfig, end: Offset) -> Result<Self, LogError> {
        let DedupConfig { dir, window, memory_bytes_max, shape } = config;
        let window = Micros::try_from(window.as_micros()).unwrap_or(Micros::MAX);
        // One memtable takes ids, some wait for their runs, one share is for what comes on top.
        let size = Size::of(shape.memtable_ids, memory_bytes_max / 2 / (FROZEN_MAX + 2));
        let counters = Arc::new(Counters::default());
        let list = recover::recover(&dir, end, &counters)?;
        let latest = list.iter().map(|run| run.file.footer.received.1).max().unwrap_or(Micros::MIN);
        let runs = Arc::new(Runs::new(dir, shape, size, memory_bytes_max / 2, counters, list));
        let background = Background::start(Arc::clone(&runs), window)?;
        let (active, frozen, start) = (Memtable::new(size), VecDeque::new(), runs.covered());
        let (durable, inserted) = (start, start);
        Ok(Self { window, size, active, frozen, start, durable, inserted, latest, runs, background })
    }

    /// Every id with an offset below this is durable in the index, or was outside of the window.
    pub fn covered(&self) -> Offset {
        self.runs.covered()
    }

    /// Where the id was stored last, if that was within the window: `received_at >= now - window`.
    ///
    /// Time does not go back: `now` counts as no earlier than what was received last.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when the answer stands in a damaged part. Nothing more can be promised
    /// until the process starts anew, which drops that part.
    pub fn find(&self, hash: IdHash, source: &str, id: &str, now: Micros) -> Result<Option<Seen>, LogError> {
        let key = Key { source, id };
        let cutoff = now.max(self.latest).saturating_sub(self.window);
        let tables =
            std::iter::once(&self.active).chain(self.frozen.iter().rev().map(|frozen| &frozen.table));
        for table in tables {
            if let Some(seen) = table.find(hash.0, key) {
                return Ok((seen.received_at >= cutoff).then_some(seen));
            }
        }
        self.runs.find(hash.0, key, cutoff)
    }

    /// Notes that the event with this id has `offset` and was received at `received_at`.
    ///
    /// Does nothing for an offset that is covered, and so may be repeated.
    pub fn insert(&mut self, hash: IdHash, source: &str, id: &str, offset: Offset, received_at: Micros) {
        if offset < self.start {
            return;
        }
        self.active.insert(hash.0, Key { source, id }, Seen { offset, received_at });
        self.inserted = self.inserted.max(offset + 1);
        self.latest = self.latest.max(received_at);
    }

    /// Notes that the log is durable below `end`, and that all ids below it were inserted.
    ///
    /// Call it after each fsync, before ids of the next group are inserted. A full memtable is
    /// handed over to be written here and nowhere else; waits when too many wait for that.
    ///
    /// # Errors
    /// [`LogError::Store`] when runs cannot be written and there is no more room. No id is lost, and
    /// the next call tries again.
    pub fn durable(&mut self, end: Offset) -> Result<(), LogError> {
        self.durable = self.durable.max(end);
        self.thaw();
        if self.active.is_full() { self.spill() } else { Ok(()) }
    }

    /// Lets go of the memtables whose runs are durable.
    fn thaw(&mut self) {
        let covered = self.covered();
        while self.frozen.pop_front_if(|frozen| frozen.offsets.end <= covered).is_some() {}
    }

    /// Hands what is in memory over to be written, however little; [`Dedup::covered`] moves when
    /// it is durable.
    ///
    /// # Errors
    /// As [`Dedup::durable`].
    pub fn spill(&mut self) -> Result<(), LogError> {
        let whole = self.inserted <= self.durable;
        if self.durable <= self.start || !whole {
            return Ok(());
        }
        let table = std::mem::replace(&mut self.active, Memtable::new(self.size));
        let frozen = Arc::new(Frozen { table, offsets: self.start..self.durable });
        if let Err(error) = self.background.push(&frozen) {
            self.active = Arc::into_inner(frozen).expect("it was not handed over").table;
            return Err(error);
        }
        self.frozen.push_back(frozen);
        self.start = self.durable;
        Ok(())
    }

    /// Waits until all spills and merges that are due are done.
    ///
    /// # Errors
    /// [`LogError::Store`] when a run cannot be written.
    pub fn settle(&mut self) -> Result<(), LogError> {
        self.background.settled()?;
        self.thaw();
        Ok(())
    }

    /// Inserts `count` events of `source` with made-up ids, one every microsecond after what was
    /// received last, and waits until they are in runs: for benchmarks.
    ///
    /// # Errors
    /// [`LogError::Store`] when a run cannot be written.
    pub fn fill(&mut self, source: &str, count: u64) -> Result<(), LogError> {
        use std::fmt::Write;
        let mut id = String::new();
        for _ in 0..count {
            let (offset, received_at) = (self.durable, self.latest.max(0) + 1);
            id.clear();
            write!(id, "fill-{offset:031x}").expect("a string takes what is written to it");
            self.insert(IdHash::of(source, &id), source, &id, offset, received_at);
            self.durable(offset + 1)?;
        }
        self.spill()?;
        self.settle()
    }

    /// What it holds and what look-ups have cost.
    pub fn stats(&self) -> Stats {
        let list = self.runs.list();
        let waiting = self.frozen.iter().filter(|frozen| frozen.offsets.end > self.covered());
        let tables = || std::iter::once(&self.active).chain(waiting.clone().map(|frozen| &frozen.table));
        Stats {
            ids: list.iter().map(|run| run.file.footer.ids).sum::<u64>()
                + tables().map(|table| table.ids() as u64).sum::<u64>(),
            runs: list.len() as u64,
            filter_hits: self.runs.counters.filter_hits.load(Relaxed),
            disk_reads: self.runs.counters.disk_reads.load(Relaxed),
            memory_bytes: self.runs.bytes() + tables().map(Memtable::bytes).sum::<usize>(),
        }
    }

    /// A handle for look-ups from other threads.
    pub fn lookup(&self) -> Lookup {
        Lookup(Arc::clone(&self.runs))
    }

    /// Makes all that is durable in the log durable here, and stops.
    ///
    /// # Errors
    /// [`LogError::Store`] when a run cannot be written; the next start replays what is missing.
    pub fn close(mut self) -> Result<(), LogError> {
        self.spill()?;
        self.background.spilled()
    }
}

/// Finds where an id lies, from any thread; only what is in runs already.
#[derive(Clone)]
pub struct Lookup(Arc<Runs>);

impl Lookup {
    /// Where the id was stored last, if that is covered and still in the index; no window applies.
    ///
    /// # Errors
    /// As [`Dedup::find`].
    pub fn find(&self, hash: IdHash, source: &str, id: &str) -> Result<Option<Seen>, LogError> {
        self.0.find(hash.0, Key { source, id }, Micros::MIN)
    }
}

/// What look-ups have cost.
#[derive(Default)]
struct Counters {
    filter_hits: AtomicU64,
    disk_reads: AtomicU64,
}

/// The full key of an id: the source, a byte that no text contains, and the id.
#[derive(Clone, Copy)]
struct Key<'a> {
    source: &'a str,
    id: &'a str,
}

const SEPARATOR: u8 = 0xFF;

impl Key<'_> {
    fn is(&self, bytes: &[u8]) -> bool {
        let (source, id) = (self.source.as_bytes(), self.id.as_bytes());
        bytes.len() == source.len() + 1 + id.len()
            && bytes.ends_with(id)
            && bytes[source.len()] == SEPARATOR
            && bytes.starts_with(source)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.source.as_bytes());
        out.push(SEPARATOR);
        out.extend_from_slice(self.id.as_bytes());
    }
}

/// An id as runs hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    hash: u64,
    received_at: Micros,
    offset: Offset,
    key: &'a [u8],
}
