//! Checkpoints: the state of a table in one file, so that opening it reads few.

use super::Table;
use crate::log::LogError;
use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::create_checkpoint;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// A checkpoint is due after this many commits.
pub(super) const COMMITS: u64 = 20;

impl Table {
    /// Writes a checkpoint when it is due, about every 20 commits; says whether it did. Meant to
    /// run beside the appends, which it does not hold up.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails. Nothing is lost; opening the table takes longer.
    pub async fn checkpoint(&self) -> Result<bool, LogError> {
        let _one = self.maintenance.lock().await;
        let due = self.checkpointed.load(SeqCst) + COMMITS;
        if self.snapshot().version < due {
            return Ok(false);
        }
        let version = self.write_checkpoint().await?;
        self.checkpointed.store(version, SeqCst);
        Ok(true)
    }

    async fn write_checkpoint(&self) -> Result<u64, LogError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store(
                format!("a checkpoint of table `{}` cannot be written", self.kind().name()),
                error,
            )
        };
        let mut table = DeltaTable::new(Arc::clone(&self.location.log));
        let runtime = tokio::runtime::Handle::current();
        // The library does long work between its awaits.
        let work = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                table.load().await?;
                create_checkpoint(&table, None).await?;
                Ok::<_, deltalake_core::DeltaTableError>(table.version())
            })
        });
        let version =
            work.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
        version.ok_or_else(|| failed("the table has no version".into()))
    }
}
