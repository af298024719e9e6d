//! A newest commit that is damaged is set aside, when nothing can be lost by it.

use super::WalCover;
use crate::Clock;
use crate::log::table::Location;
use crate::log::table::append::name_parts;
use crate::log::table::replay::{self, DamagedCommit, State};
use crate::log::{LogError, PartitionId};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use std::collections::HashSet;

/// Moves the commit out of the log.
///
/// # Errors
/// [`LogError::Damaged`] when it may have held rows that `wal` does not hold, or when files of the
/// state before it are missing: it may have been a compaction whose inputs were taken away since.
pub(super) async fn set_aside(
    location: &Location,
    state: &State,
    damaged: &DamagedCommit,
    wal: Option<&WalCover>,
    clock: &Clock,
) -> Result<(), LogError> {
    let DamagedCommit { path, reason } = damaged;
    let Some(wal) = wal else { return Err(replay::damage(location, path, reason)) };
    for file in unknown_files(location, state).await? {
        if !is_covered(&file, state, wal) {
            let reason = format!(
                "{reason}; file `{file}` may have been part of it, \
                 and the write-ahead log does not hold its rows"
            );
            return Err(replay::damage(location, path, &reason));
        }
    }
    for file in state.files.iter() {
        let path = Path::from(file.path.as_str());
        match location.objects.head(&path).await {
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => {
                return Err(replay::damage(location, &path, "it is missing"));
            }
            Err(error) => return Err(replay::unreadable(location, error)),
        }
    }
    let name = path.filename().unwrap_or("commit");
    let aside = Path::from(format!("_quarantine/{name}.{}", clock.now()));
    location.objects.rename(path, &aside).await.map_err(|error| replay::unreadable(location, error))?;
    tracing::warn!(
        table = location.kind.name(), %path, %aside, reason,
        "the newest commit was damaged; it is set aside and will be replayed from the write-ahead log"
    );
    Ok(())
}

/// Whether the rows of a file are in the table already, or in the WAL.
fn is_covered(path: &Path, state: &State, wal: &WalCover) -> bool {
    let Some((partition, first, last, _)) = path.filename().and_then(name_parts) else { return false };
    let partition = PartitionId(partition.into());
    let is_committed = state.committed.get(&partition).is_some_and(|committed| last <= *committed);
    is_committed || (partition == wal.partition && first >= wal.first)
}

/// Data files in the store that the table does not know: those of the damaged commit are among
/// them, because a commit is written after its files.
async fn unknown_files(location: &Location, state: &State) -> Result<Vec<Path>, LogError> {
    let tombstones = state.tombstones.iter().map(|tombstone| tombstone.path.as_str());
    let known: HashSet<&str> = state.files.iter().map(|file| file.path.as_str()).chain(tombstones).collect();
    location
        .objects
        .list(None)
        .map_ok(|object| object.location)
        .try_filter(|path| {
            let path = path.as_ref();
            let is_data = !path.starts_with('_') && path.ends_with(".parquet");
            std::future::ready(is_data && !known.contains(path))
        })
        .try_collect()
        .await
        .map_err(|error| replay::unreadable(location, error))
}
