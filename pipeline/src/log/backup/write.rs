//! Taking a backup.

use super::prune::FRESH;
use super::{Backups, Entry, FILES, FORMAT, MANIFESTS, Manifest, NAME_DIGITS, Progress, hash};
use crate::log::store::{Store, StoreConfig};
use crate::log::table::{Exported, TableKind, table_objects};
use crate::log::{LogError, Offset, PartitionId, claims};
use crate::{Clock, Micros};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How many files are copied at once.
const COPIES: usize = 4;

/// Takes one backup: add everything, then [`Writer::finish`]. Dropped before that, it leaves no backup.
pub struct Writer {
    backups: Backups,
    clock: Clock,
    taken_at: Micros,
    /// What the newest backup has: the checksum of each file, by name and size.
    before: HashMap<(String, u64), String>,
    /// The contents that are there and need not be written, and their sizes.
    held: HashMap<String, u64>,
    files: Vec<Entry>,
    taken: Taken,
    tables: Option<Tables>,
}

/// What is to be said of the tables.
struct Tables {
    ends: BTreeMap<String, Offset>,
    claims: BTreeMap<String, String>,
    events: u64,
}

/// What a backup came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub name: String,
    /// The events in its tables.
    pub events: u64,
    /// Its files.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// The files that were not there yet.
    pub new_files: u64,
    /// Their sizes.
    pub new_bytes: u64,
}

impl Writer {
    /// Begins a backup.
    ///
    /// # Errors
    /// [`LogError::Store`] when the place cannot be used.
    pub async fn begin(config: &StoreConfig, clock: &Clock) -> Result<Self, LogError> {
        let backups = Backups::open(config).await?;
        let taken_at = clock.now();
        let before = backups.newest().await?;
        let held = backups.reusable(&before, taken_at).await?;
        let (files, taken) = (Vec::new(), Taken::default());
        Ok(Self { backups, clock: clock.clone(), taken_at, before, held, files, taken, tables: None })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`LogError::Store`] when it cannot be written.
    pub async fn add(&mut self, path: &str, content: Bytes) -> Result<(), LogError> {
        let kept = self.keep(path.to_owned(), content).await?;
        self.note([kept]);
        Ok(())
    }

    /// Notes the positions of the tables of `store`, at these versions of the log's own ones, and adds the
    /// tables where `copy` says so. `false` when a file was cleaned away meanwhile: then ask the log for its
    /// versions again, and repeat.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when a table is; [`LogError::Store`] when one of the stores fails.
    pub async fn tables(
        &mut self,
        store: &StoreConfig,
        versions: [u64; 3],
        copy: bool,
        progress: &dyn Progress,
    ) -> Result<bool, LogError> {
        let store = Store::open_read_only(store)?;
        let mut exported = Vec::new();
        for kind in TableKind::ALL {
            let version = Some(versions[kind.index()]);
            exported.extend(Exported::read(&store, kind, version).await?);
        }
        if exported.len() < TableKind::ALL.len() {
            return Err(LogError::Damaged(format!("below `{}` tables are missing", store.root)));
        }
        // The newest: what else is in the backup shall not know more of deliveries than this.
        exported.extend(Exported::read(&store, TableKind::Deliveries, None).await?);
        let receipts = &exported[TableKind::Receipts.index()].snapshot.committed;
        let events = &exported[TableKind::Events.index()].snapshot.files;
        let mut tables = Tables {
            ends: receipts.iter().map(|(partition, last)| (partition.to_string(), last + 1)).collect(),
            claims: BTreeMap::new(),
            events: events.iter().map(|file| file.rows).sum(),
        };
        for partition in tables.ends.keys() {
            let by = claims::read(&store, &PartitionId(partition.as_str().into())).await?;
            tables.claims.extend(by.map(|by| (partition.clone(), by.to_string())));
        }
        let mut kept = Vec::new();
        if copy {
            let data = exported.iter().flat_map(|table| table.snapshot.files.iter());
            progress.expect(data.map(|file| file.bytes).sum());
            for table in &exported {
                match self.copy_table(&store, table, progress).await? {
                    Some(files) => kept.extend(files),
                    None => return Ok(false),
                }
            }
        }
        self.note(kept);
        self.tables = Some(tables);
        Ok(true)
    }

    /// Writes down what the backup is, which makes it one. Where old backups are being removed at the same
    /// place, that is waited for: ten minutes at most.
    ///
    /// # Errors
    /// [`LogError::Store`] when that cannot be written, or when a file was removed meanwhile that the backup
    /// shares with an older one: run it again.
    ///
    /// # Panics
    /// When [`Writer::tables`] has not said `true` before.
    pub async fn finish(self, store: &StoreConfig, partition: &PartitionId) -> Result<Taken, LogError> {
        let Self { backups, clock, taken_at, files, mut taken, tables, .. } = self;
        let tables = tables.expect("the tables were looked at");
        taken.events = tables.events;
        let manifest = Manifest {
            format: FORMAT,
            taken_at,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            partition: partition.to_string(),
            store: store.url.to_string(),
            has_tables: files.iter().any(|file| file.path.starts_with("tables/")),
            ends: tables.ends,
            claims: tables.claims,
            events: tables.events,
            files,
        };
        let failed = |error| LogError::store("the backup cannot be described", error);
        let text = Bytes::from(serde_json::to_vec_pretty(&manifest).map_err(failed)?);
        let sum = hash(text.clone()).await?;
        taken.name = format!("{taken_at:020}-{}", &sum[..NAME_DIGITS]);
        backups.complete(&taken.name, &manifest, text, &clock).await?;
        Ok(taken)
    }

    /// Copies the files of a table; `None` when one is not there any more.
    async fn copy_table(
        &self,
        store: &Store,
        table: &Exported,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<(Entry, bool)>>, LogError> {
        let kind = table.snapshot.kind;
        let objects = table_objects(store, kind)?;
        let copies = futures::stream::iter(table.files()).map(|(path, bytes)| {
            let objects = Arc::clone(&objects);
            async move {
                let kept = self.copy(&*objects, kind, &path, bytes).await?;
                progress.done(bytes.unwrap_or(0));
                Ok::<_, LogError>(kept)
            }
        });
        let kept: Vec<_> = copies.buffered(COPIES).try_collect().await?;
        Ok(kept.into_iter().collect())
    }

    async fn copy(
        &self,
        objects: &dyn ObjectStore,
        kind: TableKind,
        path: &Path,
        bytes: Option<u64>,
    ) -> Result<Option<(Entry, bool)>, LogError> {
        let name = format!("tables/{}/{path}", kind.name());
        // A data file is never changed, so one of that name and size is the same.
        if let Some(bytes) = bytes
            && let Some(sha256) = self.before.get(&(name.clone(), bytes))
            && self.held.get(sha256) == Some(&bytes)
        {
            return Ok(Some((Entry { path: name, bytes, sha256: sha256.clone() }, false)));
        }
        let read = match objects.get(path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(content) => self.keep(name, content).await.map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(LogError::store(format!("`{name}` cannot be read"), error)),
        }
    }

    /// Makes sure that a content is there; says whether it was not.
    async fn keep(&self, path: String, content: Bytes) -> Result<(Entry, bool), LogError> {
        let (bytes, sha256) = (content.len() as u64, hash(content.clone()).await?);
        let is_new = self.held.get(&sha256) != Some(&bytes);
        if is_new {
            self.backups.put(&format!("{FILES}/{sha256}"), content).await?;
        }
        Ok((Entry { path, bytes, sha256 }, is_new))
    }

    fn note(&mut self, kept: impl IntoIterator<Item = (Entry, bool)>) {
        for (entry, is_new) in kept {
            self.taken.files += 1;
            self.taken.bytes += entry.bytes;
            if is_new {
                self.taken.new_files += 1;
                self.taken.new_bytes += entry.bytes;
            }
            self.held.insert(entry.sha256.clone(), entry.bytes);
            self.files.push(entry);
        }
    }
}

impl Backups {
    /// What the newest backup has: the checksum of each file, by name and size. Nothing where there is none.
    async fn newest(&self) -> Result<HashMap<(String, u64), String>, LogError> {
        let Some(name) = self.names().await?.pop() else { return Ok(HashMap::new()) };
        match self.described(MANIFESTS, &name).await {
            Ok(manifest) => {
                let files = manifest.into_iter().flat_map(|manifest| manifest.files);
                Ok(files.map(|entry| ((entry.path, entry.bytes), entry.sha256)).collect())
            }
            // Everything is read and compared then.
            Err(LogError::Damaged(why)) => {
                tracing::warn!(why, "an earlier backup is damaged");
                Ok(HashMap::new())
            }
            Err(error) => Err(error),
        }
    }

    /// The contents that need not be written anew, and their sizes: those that the newest backup names, which
    /// `--keep` never removes, and those that were written lately. Any other may be removed before this backup
    /// is complete; to write it anew makes it young.
    async fn reusable(
        &self,
        newest: &HashMap<(String, u64), String>,
        now: Micros,
    ) -> Result<HashMap<String, u64>, LogError> {
        let named: HashSet<&str> = newest.values().map(String::as_str).collect();
        let mut held = self.list(FILES).await?;
        held.retain(|name, object| named.contains(name.as_str()) || object.modified_at >= now - FRESH);
        Ok(held.into_iter().map(|(name, object)| (name, object.bytes)).collect())
    }
}
