//! The files that make a table at one version, so that it can be copied elsewhere.

use super::replay::{self, DamagedCommit, Listing, Replayed};
use super::{Location, TableKind, TableSnapshot};
use crate::log::LogError;
use crate::log::store::Store;
use object_store::ObjectStore;
use object_store::path::Path;
use std::sync::Arc;

/// A table at one version.
pub(crate) struct Exported {
    /// Its files and positions.
    pub(crate) snapshot: TableSnapshot,
    /// The files of its Delta log that it takes to read that version, below the table's root.
    pub(crate) log: Vec<Path>,
}

impl Exported {
    /// Looks the table up at `version`, or as it is now; `None` where there is none.
    ///
    /// # Errors
    /// As [`super::Table::read`]. [`LogError::Damaged`] also where the version was cleaned away.
    pub(crate) async fn read(
        store: &Store,
        kind: TableKind,
        version: Option<u64>,
    ) -> Result<Option<Self>, LogError> {
        let location = Location::new(store, kind)?;
        let until = version.unwrap_or(u64::MAX);
        let Some(Replayed { state, checkpoint, damaged }) = replay::replay_until(&location, until).await?
        else {
            return Ok(None);
        };
        if let Some(DamagedCommit { path, reason }) = damaged {
            return Err(replay::damage(&location, &path, &reason));
        }
        if version.is_some_and(|version| version != state.version) {
            let (found, path) = (state.version, replay::commit_path(until));
            return Err(replay::damage(&location, &path, &format!("the table is only at version {found}")));
        }
        let listing = Listing::read(&location).await?;
        let parts = listing.checkpoints.get(&checkpoint).filter(|_| checkpoint > 0);
        let commits =
            listing.commits.range(checkpoint..=state.version).map(|&version| replay::commit_path(version));
        let log = parts.into_iter().flatten().cloned().chain(commits).collect();
        Ok(Some(Self { snapshot: location.snapshot(&state), log }))
    }

    /// All of its files, below the table's root, and the sizes of data files: those of its log last, so that
    /// they name only what is there.
    pub(crate) fn files(&self) -> impl Iterator<Item = (Path, Option<u64>)> {
        let data = self.snapshot.files.iter();
        let data = data.map(|file| (Path::from(file.path.as_str()), Some(file.bytes)));
        data.chain(self.log.iter().cloned().map(|path| (path, None)))
    }
}

/// The store as seen from a table's root.
pub(crate) fn table_objects(store: &Store, kind: TableKind) -> Result<Arc<dyn ObjectStore>, LogError> {
    Ok(Location::new(store, kind)?.objects)
}
