//! Taking away what no reader needs any more: files that were compacted, entries of the Delta log
//! before a checkpoint, and files that never became part of the table.

use super::Table;
use crate::Micros;
use crate::clock::{DAY, HOUR};
use crate::log::LogError;
use deltalake_core::checkpoints::cleanup_expired_logs_for;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::path::Path;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// How long things stay that the table does not need, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Files that a compaction has replaced; longer than any query runs.
    pub files: Micros,
    /// Entries of the Delta log that a checkpoint covers; other engines look at older versions
    /// with them.
    pub log: Micros,
    /// Files of an append or a compaction that was broken off; longer than any of them takes.
    pub orphans: Micros,
}

impl Default for Retention {
    /// An hour, a day, a day.
    fn default() -> Self {
        Self { files: HOUR, log: DAY, orphans: DAY }
    }
}

/// What a cleaning took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Files that had been replaced.
    pub files: usize,
    /// Entries of the Delta log.
    pub log_entries: usize,
    /// Files that never became part of the table.
    pub orphans: usize,
}

impl Table {
    /// Takes away what was kept long enough. Meant to run on a timer, beside the appends.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails. What was not taken away is tried again next time.
    pub async fn clean(&self, retention: Retention) -> Result<Cleaned, LogError> {
        let _one = self.maintenance.lock().await;
        self.refresh().await?;
        Ok(Cleaned {
            files: self.clean_files(retention).await?,
            log_entries: self.clean_log(retention).await?,
            orphans: self.clean_orphans(retention).await?,
        })
    }

    async fn clean_files(&self, retention: Retention) -> Result<usize, LogError> {
        let before_ms = (self.clock.now() - retention.files) / 1_000;
        let (old, active) = {
            let state = self.state.lock().await;
            let old = state.tombstones.iter().filter(|tombstone| tombstone.deleted_at_ms <= before_ms);
            let old: HashSet<String> = old.map(|tombstone| tombstone.path.clone()).collect();
            (old, Arc::clone(&state.files))
        };
        let active: HashSet<&str> = active.iter().map(|file| file.path.as_str()).collect();
        let gone: Vec<Path> = old
            .iter()
            .filter(|path| !active.contains(path.as_str()))
            .map(|path| Path::from(path.as_str()))
            .collect();
        let count = self.delete(gone).await?;
        self.state.lock().await.tombstones.retain(|tombstone| !old.contains(&tombstone.path));
        Ok(count)
    }

    async fn clean_log(&self, retention: Retention) -> Result<usize, LogError> {
        let cutoff_ms = (self.clock.now() - retention.log) / 1_000;
        let checkpoint = self.checkpointed.load(SeqCst);
        cleanup_expired_logs_for(checkpoint, &*self.location.log, cutoff_ms, None).await.map_err(|error| {
            LogError::store(format!("the log of table `{}` cannot be cleaned", self.kind().name()), error)
        })
    }

    async fn clean_orphans(&self, retention: Retention) -> Result<usize, LogError> {
        let before_ms = (self.clock.now() - retention.orphans) / 1_000;
        let objects: Vec<_> = self
            .location
            .objects
            .list(None)
            .try_filter(|object| {
                let path = object.location.as_ref();
                let is_data = !path.starts_with('_') && path.ends_with(".parquet");
                std::future::ready(is_data && object.last_modified.timestamp_millis() <= before_ms)
            })
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(|error| self.unclean(error))?;
        self.location.store.sweep(self.kind().name(), before_ms).await?;
        // Looked up after the listing: what was committed meanwhile is known now.
        self.refresh().await?;
        let orphans: Vec<Path> = {
            let state = self.state.lock().await;
            let known: HashSet<&str> = state
                .files
                .iter()
                .map(|file| file.path.as_str())
                .chain(state.tombstones.iter().map(|tombstone| tombstone.path.as_str()))
                .collect();
            objects.into_iter().filter(|path| !known.contains(path.as_ref())).collect()
        };
        self.delete(orphans).await
    }

    /// Deletes files and counts those that were still there.
    async fn delete(&self, paths: Vec<Path>) -> Result<usize, LogError> {
        let paths = futures::stream::iter(paths).map(Ok).boxed();
        let mut deleted = self.location.objects.delete_stream(paths);
        let mut count = 0;
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) => count += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.unclean(error)),
            }
        }
        Ok(count)
    }

    fn unclean(&self, error: object_store::Error) -> LogError {
        LogError::store(format!("table `{}` cannot be cleaned", self.kind().name()), error)
    }
}
