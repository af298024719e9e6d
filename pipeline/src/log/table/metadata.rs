//! The table's metadata as it stands in its log.

use super::Table;
use crate::log::LogError;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Metadata;
use std::sync::Arc;

impl Table {
    /// The newest metadata, for a commit that changes some of it and keeps the rest.
    ///
    /// # Errors
    /// [`LogError::Store`] when the log cannot be read.
    pub(super) async fn metadata(&self) -> Result<Metadata, LogError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store(format!("the metadata of `{}` cannot be read", self.kind().name()), error)
        };
        let mut table = DeltaTable::new(Arc::clone(&self.location.log));
        let runtime = tokio::runtime::Handle::current();
        // The library does long work between its awaits.
        let work = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                table.load().await?;
                Ok::<_, deltalake_core::DeltaTableError>(table.snapshot()?.metadata().clone())
            })
        });
        work.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))
    }
}
