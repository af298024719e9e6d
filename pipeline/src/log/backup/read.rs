//! Reading a backup back.

use super::{Backups, Entry, FILES, Manifest, Progress, hash};
use crate::log::LogError;
use crate::log::store::{Store, StoreConfig};
use crate::log::table::{Table, TableKind, table_objects};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

const TABLES: [TableKind; 4] =
    [TableKind::Events, TableKind::Rejected, TableKind::Receipts, TableKind::Deliveries];

impl Backups {
    /// Makes sure that every file of a backup is there and of its size.
    ///
    /// # Errors
    /// [`LogError::Damaged`] naming the first that is not; [`LogError::Store`] when the place cannot be listed.
    pub async fn check(&self, manifest: &Manifest) -> Result<(), LogError> {
        let held = self.list(FILES).await?;
        for entry in &manifest.files {
            match held.get(&entry.sha256) {
                Some(object) if object.bytes == entry.bytes => {}
                Some(object) => {
                    let (found, expected) = (object.bytes, entry.bytes);
                    return Err(damaged(entry, &format!("it has {found} bytes and not {expected}")));
                }
                None => return Err(damaged(entry, "it is missing")),
            }
        }
        Ok(())
    }

    /// A file's content.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when it is not what was backed up; [`LogError::Store`] when it cannot be read.
    pub async fn read(&self, entry: &Entry) -> Result<Bytes, LogError> {
        let content = self.get(&format!("{FILES}/{}", entry.sha256)).await?;
        let content = content.ok_or_else(|| damaged(entry, "it is missing"))?;
        if hash(content.clone()).await? != entry.sha256 {
            return Err(damaged(entry, "its checksum does not match"));
        }
        Ok(content)
    }

    /// Writes the tables of a backup to a store that has none.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when a file of the backup is; [`LogError::Store`] when one of the stores fails, or
    /// has tables already.
    pub async fn restore_tables(
        &self,
        manifest: &Manifest,
        store: &StoreConfig,
        progress: &dyn Progress,
    ) -> Result<(), LogError> {
        let store = Store::open(store).await?;
        for kind in TABLES {
            if Table::read(&store, kind).await?.is_some() {
                return Err(LogError::store(
                    format!("the tables cannot be restored to `{}`", store.root),
                    format!("there is a table `{}` already; name an empty place", kind.name()),
                ));
            }
        }
        for entry in &manifest.files {
            let Some(below) = entry.path.strip_prefix("tables/") else { continue };
            let table = TABLES.into_iter().find_map(|kind| {
                let path = below.strip_prefix(kind.name())?.strip_prefix('/')?;
                Some((kind, Path::parse(path).ok()?))
            });
            let (kind, path) = table.ok_or_else(|| damaged(entry, "it belongs to no table"))?;
            let content = self.read(entry).await?;
            let put = table_objects(&store, kind)?.put(&path, PutPayload::from(content)).await;
            put.map_err(|error| LogError::store(format!("`{}` cannot be written", entry.path), error))?;
            progress.done(entry.bytes);
        }
        Ok(())
    }
}

fn damaged(entry: &Entry, what: &str) -> LogError {
    let Entry { path, sha256, .. } = entry;
    LogError::Damaged(format!("`{path}` of the backup, which lies in `{FILES}/{sha256}`: {what}"))
}
