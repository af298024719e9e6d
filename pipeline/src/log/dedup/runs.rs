//! The runs on disk: one chain from offset 0 to the end of what is covered.

use super::memtable::Size;
use super::run::{Run, RunFile};
use super::{Counters, Key, Micros, Offset, Seen, Shape};
use crate::log::LogError;
use arc_swap::ArcSwap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The runs, oldest first, each beginning where the one before ends.
pub(super) type List = Vec<Arc<Run>>;

/// The list of runs that look-ups see, and the pages that are held in memory for it.
pub(super) struct Runs {
    pub(super) dir: PathBuf,
    pub(super) shape: Shape,
    /// When a memtable is full.
    pub(super) size: Size,
    pub(super) counters: Arc<Counters>,
    /// What the runs may take in memory.
    bytes_max: usize,
    list: ArcSwap<List>,
    changing: Mutex<()>,
}

impl Runs {
    pub(super) fn new(
        dir: PathBuf,
        shape: Shape,
        size: Size,
        bytes_max: usize,
        counters: Arc<Counters>,
        list: List,
    ) -> Self {
        let changing = Mutex::new(());
        let runs =
            Self { dir, shape, size, counters, bytes_max, list: ArcSwap::from_pointee(list), changing };
        runs.fit();
        runs
    }

    pub(super) fn list(&self) -> Arc<List> {
        self.list.load_full()
    }

    /// Every id with an offset below this is in a run, or outside of the window.
    pub(super) fn covered(&self) -> Offset {
        self.list.load().last().map_or(0, |run| run.file.footer.offsets.end)
    }

    /// The latest place of the id, if that was received at `cutoff` or later.
    pub(super) fn find(&self, hash: u64, key: Key<'_>, cutoff: Micros) -> Result<Option<Seen>, LogError> {
        // Offsets and times grow together, so what the newest run says is the latest, and behind
        // a run that is too old all are.
        for run in self.list.load().iter().rev() {
            let footer = &run.file.footer;
            if footer.received.1 < cutoff && footer.ids > 0 {
                return Ok(None);
            }
            if let Some(seen) = run.find(hash, key)? {
                return Ok((seen.received_at >= cutoff).then_some(seen));
            }
        }
        Ok(None)
    }

    /// The memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.list.load().iter().map(|run| run.fixed_bytes() + run.pages_bytes()).sum()
    }

    /// Puts `run` in the place of all runs whose offsets it covers, and deletes these.
    ///
    /// # Errors
    /// When the old files cannot be deleted; look-ups have changed over all the same.
    pub(super) fn replace(&self, run: Run) -> Result<(), LogError> {
        let Range { start, end } = run.file.footer.offsets.clone();
        let path = run.file.path.clone();
        let mut gone = Vec::new();
        {
            let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut list = List::clone(&self.list.load());
            let first = list.partition_point(|old| old.file.footer.offsets.start < start);
            let behind = list.partition_point(|old| old.file.footer.offsets.end <= end).max(first);
            gone.extend(list[first..behind].iter().map(|old| old.file.path.clone()));
            list.splice(first..behind, [Arc::new(run)]);
            self.list.store(Arc::new(list));
        }
        self.fit();
        for old in gone {
            std::fs::remove_file(RunFile::mark(&old)).ok();
            // An empty run may replace one run of the same offsets, and so of the same name.
            if old != path {
                std::fs::remove_file(&old)
                    .map_err(|e| LogError::store(format!("deleting `{}`", old.display()), e))?;
            }
        }
        Ok(())
    }

    /// Opens the run at `path` with the pages that there is room for now.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when it does not read as it was written.
    pub(super) fn open(&self, path: &Path) -> Result<Run, LogError> {
        let run = Run::open(path, Arc::clone(&self.counters))?;
        let free = self.bytes_max.saturating_sub(self.bytes() + run.fixed_bytes());
        run.resident(free)
    }

    /// Gives the newest runs their pages in memory and takes the oldest runs' as far as it must.
    fn fit(&self) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // First down, so that at no time there is more than allowed, then up.
        self.each_newest_first(|run, bytes| run.reduced(bytes));
        self.each_newest_first(|run, bytes| match run.resident(bytes) {
            Ok(run) => run,
            // It has been reported; look-ups that need that page report it again.
            Err(_) => run.clone(),
        });
    }

    fn each_newest_first(&self, change: impl Fn(&Run, usize) -> Run) {
        let mut list = List::clone(&self.list.load());
        let fixed: usize = list.iter().map(|run| run.fixed_bytes()).sum();
        let mut left = self.bytes_max.saturating_sub(fixed);
        for run in list.iter_mut().rev() {
            let changed = change(run, left);
            left = left.saturating_sub(changed.pages_bytes());
            *run = Arc::new(changed);
        }
        self.list.store(Arc::new(list));
    }
}
