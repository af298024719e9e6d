//! Opening a table, and making it.

mod set_aside;

use super::replay::{self, DamagedCommit, Replayed};
use super::{Location, Table, TableKind, TableSnapshot};
use crate::Clock;
use crate::log::store::Store;
use crate::log::{LogError, Offset, PartitionId};
use arc_swap::ArcSwap;
use deltalake_core::logstore::{StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

/// What the WAL still holds.
#[derive(Clone, Debug)]
pub struct WalCover {
    /// The partition of the WAL.
    pub partition: PartitionId,
    /// The first offset in it: this record and all after it can be replayed.
    pub first: Offset,
}

impl Table {
    /// Opens the table, and makes it where there is none.
    ///
    /// A newest commit that cannot be read is set aside, below `_quarantine`, when `wal` holds all
    /// rows that it may have held. So the caller always replays into this table what the WAL holds
    /// behind its cursor, whatever the cursors of the other tables are.
    ///
    /// # Errors
    /// [`LogError::Damaged`] naming the file when something committed cannot be read;
    /// [`LogError::Store`] when the store fails.
    pub async fn open_or_create(
        store: &Store,
        kind: TableKind,
        clock: Clock,
        wal: Option<&WalCover>,
    ) -> Result<Self, LogError> {
        let location = Location::new(store, kind)?;
        let replayed = match replay::replay(&location).await? {
            Some(replayed) => replayed,
            None => {
                let made = location.create().await;
                match (replay::replay(&location).await?, made) {
                    // Ours, or that of another node that was first.
                    (Some(replayed), _) => replayed,
                    (None, Err(error)) => return Err(error),
                    (None, Ok(())) => {
                        let what = format!("table `{}` was made and is not there", kind.name());
                        return Err(LogError::Damaged(what));
                    }
                }
            }
        };
        // A process may have died between the last commit and its fsync.
        store.settle(&format!("{}/_delta_log", kind.name())).await?;
        let Replayed { state, checkpoint, damaged } = replayed;
        if let Some(damaged) = &damaged {
            set_aside::set_aside(&location, &state, damaged, wal, &clock).await?;
        }
        let published = ArcSwap::from_pointee(location.snapshot(&state));
        Ok(Self {
            location,
            at_tip: AtomicI64::new(clock.now()),
            clock,
            state: tokio::sync::Mutex::new(state),
            published,
            maintenance: tokio::sync::Mutex::new(()),
            checkpointed: AtomicU64::new(checkpoint),
        })
    }

    /// Reads a table without becoming its owner; `None` when there is none.
    ///
    /// # Errors
    /// As [`Table::open_or_create`]; nothing is written, so no commit is set aside.
    pub async fn read(store: &Store, kind: TableKind) -> Result<Option<TableSnapshot>, LogError> {
        let location = Location::new(store, kind)?;
        let Some(Replayed { state, damaged, .. }) = replay::replay(&location).await? else {
            return Ok(None);
        };
        match damaged {
            Some(DamagedCommit { path, reason }) => Err(replay::damage(&location, &path, &reason)),
            None => Ok(Some(location.snapshot(&state))),
        }
    }
}

impl Location {
    pub(super) fn new(store: &Store, kind: TableKind) -> Result<Self, LogError> {
        let url = store.url(kind.name());
        let prefix = Path::from_url_path(url.path())
            .map_err(|error| LogError::store(format!("`{url}` is no place for a table"), error))?;
        let objects: Arc<dyn ObjectStore> =
            Arc::new(PrefixStore::new(Arc::clone(&store.object_store), prefix));
        let log = default_logstore(
            Arc::clone(&objects),
            Arc::clone(&store.object_store),
            &url,
            &StorageConfig::default(),
        );
        Ok(Self { kind, store: store.clone(), objects, log })
    }

    /// Makes the table. Reader protocol 1 and writer protocol 2, so that every engine can read it.
    async fn create(&self) -> Result<(), LogError> {
        let statistics: Vec<&str> = self.kind.statistics_columns().collect();
        CreateBuilder::new()
            .with_log_store(Arc::clone(&self.log))
            .with_table_name(self.kind.name())
            .with_columns(self.kind.delta_fields())
            .with_partition_columns([self.kind.date_column()])
            .with_save_mode(SaveMode::Ignore)
            .with_raise_if_key_not_exists(false)
            .with_configuration([
                (replay::FORMAT, Some(replay::FORMAT_VERSION)),
                ("delta.dataSkippingStatsColumns", Some(statistics.join(",").as_str())),
                // Checkpoints and cleaning are ours; other writers shall leave them alone.
                ("delta.checkpointInterval", Some("1000000")),
                ("delta.enableExpiredLogCleanup", Some("false")),
                ("delta.logRetentionDuration", Some("interval 1 day")),
                ("delta.deletedFileRetentionDuration", Some("interval 1 day")),
            ])
            .await
            .map_err(|error| {
                LogError::store(format!("table `{}` cannot be made", self.kind.name()), error)
            })?;
        Ok(())
    }
}
