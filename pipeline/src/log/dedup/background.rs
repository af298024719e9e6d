//! The two threads that write runs: one spills memtables, one merges, so that a spill never waits
//! for a long merge.

use super::memtable::Memtable;
use super::merge::{Merged, merge};
use super::runs::Runs;
use super::writer;
use super::{Micros, Offset};
use crate::log::{LogError, priority};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Memtables that may wait for their run; the appender waits for room when it has one more.
pub(super) const FROZEN_MAX: usize = 2;

/// A memtable that takes no more, with the offsets whose ids it holds, all of them durable.
pub(super) struct Frozen {
    pub(super) table: Memtable,
    pub(super) offsets: Range<Offset>,
}

/// The threads and their work.
pub(super) struct Background {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    runs: Arc<Runs>,
    work: Mutex<Work>,
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Work {
    frozen: VecDeque<Arc<Frozen>>,
    /// Why the first of `frozen` could not be written; taken by whoever asks next.
    failed: Option<LogError>,
    merge_due: bool,
    merging: bool,
    /// A thread has ended, whatever the reason.
    ended: bool,
}

impl Background {
    /// # Errors
    /// When the machine gives no threads.
    pub(super) fn start(runs: Arc<Runs>, window: Micros) -> Result<Self, LogError> {
        let work = Mutex::new(Work { merge_due: true, ..Work::default() });
        let shared = Arc::new(Shared { runs, work, changed: Condvar::new(), stop: false.into() });
        let mut background = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        let merging = Arc::clone(&shared);
        background.spawn("dedup-spill", move || shared.spill())?;
        // The appender may wait for a spill, never for a merge.
        background.spawn("dedup-merge", move || {
            priority::lower();
            merging.merge(window);
        })?;
        Ok(background)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LogError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        self.threads.push(thread.map_err(|e| LogError::store(format!("starting the thread `{name}`"), e))?);
        Ok(())
    }

    /// Has `frozen` written; waits for room.
    ///
    /// # Errors
    /// Why the one that holds up the others cannot be written. It is tried again; so may the caller.
    pub(super) fn push(&self, frozen: &Arc<Frozen>) -> Result<(), LogError> {
        let mut work = self.shared.wait(|work| work.frozen.len() < FROZEN_MAX)?;
        work.frozen.push_back(Arc::clone(frozen));
        // It was logged; this is the next try.
        work.failed = None;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until all that was pushed is durable.
    ///
    /// # Errors
    /// As [`Background::push`].
    pub(super) fn spilled(&self) -> Result<(), LogError> {
        self.shared.wait(|work| work.frozen.is_empty()).map(drop)
    }

    /// Waits until there is nothing left to write or to merge.
    ///
    /// # Errors
    /// As [`Background::push`].
    pub(super) fn settled(&self) -> Result<(), LogError> {
        self.shared.wait(|work| work.frozen.is_empty() && !work.merge_due && !work.merging).map(drop)
    }
}

impl Drop for Background {
    /// Stops at once; what is not written yet is not.
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        drop(self.shared.lock());
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the deduplication index panicked");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// Waits until `ready`; a failed spill or an ended thread is an error instead.
    fn wait(&self, ready: impl Fn(&Work) -> bool) -> Result<MutexGuard<'_, Work>, LogError> {
        let mut work = self.lock();
        loop {
            if work.ended {
                return Err(LogError::store("writing the deduplication index", "its thread has ended"));
            }
            if ready(&work) {
                return Ok(work);
            }
            if let Some(error) = work.failed.take() {
                self.changed.notify_all();
                return Err(error);
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for `next` to give something; `None` when it is time to stop.
    fn next<T>(&self, next: impl Fn(&mut Work) -> Option<T>) -> Option<T> {
        let mut work = self.lock();
        loop {
            if self.stopped() {
                return None;
            }
            if let Some(task) = next(&mut work) {
                return Some(task);
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn spill(&self) {
        let _ended = Ended(self);
        while let Some(frozen) =
            self.next(|work| work.frozen.front().filter(|_| work.failed.is_none()).map(Arc::clone))
        {
            let written = write(&self.runs, &frozen);
            let mut work = self.lock();
            match written {
                Ok(()) => {
                    work.frozen.pop_front();
                    work.merge_due = true;
                }
                Err(error) => {
                    tracing::warn!(%error, "a run of the deduplication index could not be written");
                    work.failed = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    fn merge(&self, window: Micros) {
        let _ended = Ended(self);
        let due = |work: &mut Work| {
            work.merging = std::mem::take(&mut work.merge_due);
            work.merging.then_some(())
        };
        while let Some(()) = self.next(due) {
            let merged = merge(&self.runs, window, || self.stopped());
            let mut work = self.lock();
            work.merging = false;
            match merged {
                Ok(Merged::Some) => work.merge_due = true,
                Ok(Merged::Nothing | Merged::Stopped) => {}
                // The next spill tries it again.
                Err(error) => tracing::warn!(%error, "runs of the deduplication index could not be merged"),
            }
            self.changed.notify_all();
        }
    }
}

/// Says that its thread has ended, also when that panicked.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

fn write(runs: &Runs, frozen: &Frozen) -> Result<(), LogError> {
    let ids = frozen.table.ids() as u64;
    let path = writer::write(&runs.dir, frozen.offsets.clone(), ids, runs.shape, |writer| {
        frozen.table.sorted().try_for_each(|entry| writer.push(entry))
    })?;
    runs.replace(runs.open(&path)?)
}
