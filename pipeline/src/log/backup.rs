//! Backups: copies of what a node keeps, in a directory or a bucket.
//!
//! The place of backups holds `files/<sha256>`, each content once, in however many backups and under whatever
//! names it stands, and one `backups/<time>-<checksum>.json` for each backup. That is written last: a backup
//! that was broken off has none, and the next run finds what it had copied. So a further backup costs what
//! is new.
//!
//! What a backup is of:
//!
//! - the tables at one version each. Of the node's own partition they agree with each other to the last
//!   request; of other nodes' partitions they have what was committed. Tables in a bucket may be left out:
//!   they are where they are.
//! - files beside the tables, which the binary names: the control store with its cursors, the records of
//!   imports, the master key.
//!
//! The WAL is not part of it, because everything in it is committed first; nor is the delivery journal, because
//! the `deliveries` table says the same. A restored node has a new partition ([`fork()`]): two nodes that go on
//! from one place must never use the same offsets.

mod fork;
mod prune;
mod read;
mod write;

pub use fork::{Forked, fork};
pub use prune::Pruned;
pub use write::{Taken, Writer};

use super::store::{Store, StoreConfig};
use super::{LogError, Offset, blocking};
use crate::Micros;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// The version of the format.
const FORMAT: u32 = 1;
const FILES: &str = "files";
const MANIFESTS: &str = "backups";
/// So much of a manifest's checksum stands in its name.
const NAME_DIGITS: usize = 16;

/// A place that holds backups.
#[derive(Clone, Debug)]
pub struct Backups {
    store: Store,
}

/// What a listing says of an object.
struct Object {
    bytes: u64,
    modified_at: Micros,
}

/// What a backup says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// When it was begun, in µs since 1970.
    pub taken_at: Micros,
    /// The version of the program that made it.
    pub program: String,
    /// The partition of the node.
    pub partition: String,
    /// Where the node's tables lie.
    pub store: String,
    /// Whether the tables are in it.
    pub has_tables: bool,
    /// For each partition the offset behind the last request that is in the tables.
    pub ends: BTreeMap<String, Offset>,
    /// Which partitions that have ended were whose to deliver, by the partition of that node.
    pub claims: BTreeMap<String, String>,
    /// How many events its tables hold.
    pub events: u64,
    /// Its files; those of a table stand together, its log last.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// Its name: `tables/<table>/…`, or what the binary calls it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// Hears how far a copy is.
pub trait Progress: Send + Sync {
    /// So many bytes more are to be looked at.
    fn expect(&self, bytes: u64);
    /// So many bytes more are where they belong.
    fn done(&self, bytes: u64);
}

impl Backups {
    /// Opens a place to write to; a directory is made where it is missing, a bucket must exist.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(config: &StoreConfig) -> Result<Self, LogError> {
        Ok(Self { store: Store::open(config).await? })
    }

    /// Opens a place to read from.
    ///
    /// # Errors
    /// As [`Store::open_read_only`].
    pub fn open_read_only(config: &StoreConfig) -> Result<Self, LogError> {
        Ok(Self { store: Store::open_read_only(config)? })
    }

    /// The names of all complete backups, oldest first.
    ///
    /// # Errors
    /// [`LogError::Store`] when the place cannot be listed.
    pub async fn names(&self) -> Result<Vec<String>, LogError> {
        let listed = self.list(MANIFESTS).await?;
        let mut names: Vec<_> =
            listed.into_keys().filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// A backup's manifest.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when it is not what was written, or of another format; [`LogError::Store`] when
    /// it cannot be read.
    pub async fn manifest(&self, name: &str) -> Result<Manifest, LogError> {
        let missing = || LogError::Damaged(format!("`{MANIFESTS}/{name}.json` of the backup: it is missing"));
        self.described(MANIFESTS, name).await?.ok_or_else(missing)
    }

    /// The manifest of that name in a directory; `None` where there is none.
    async fn described(&self, dir: &str, name: &str) -> Result<Option<Manifest>, LogError> {
        let path = format!("{dir}/{name}.json");
        let damaged = |what: String| LogError::Damaged(format!("`{path}` of the backup: {what}"));
        let Some(bytes) = self.get(&path).await? else { return Ok(None) };
        let sum = hash(bytes.clone()).await?;
        if !name.ends_with(&sum[..NAME_DIGITS]) {
            return Err(damaged("its content is not what its name says".into()));
        }
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(damaged(format!("its format is {}; this program knows {FORMAT}", manifest.format)));
        }
        Ok(Some(manifest))
    }

    /// All objects below a directory, by their last name.
    async fn list(&self, dir: &str) -> Result<HashMap<String, Object>, LogError> {
        let failed = |error| LogError::store(format!("`{}` cannot be listed", self.store.url(dir)), error);
        match self.store.object_store.list(Some(&self.path(dir)?)).try_collect::<Vec<_>>().await {
            Err(Error::NotFound { .. }) => Ok(HashMap::new()),
            listed => Ok(listed
                .map_err(failed)?
                .into_iter()
                .filter_map(|meta| {
                    let name = meta.location.filename()?.to_owned();
                    let modified_at = meta.last_modified.timestamp_micros();
                    Some((name, Object { bytes: meta.size, modified_at }))
                })
                .collect()),
        }
    }

    /// An object's content; `None` where there is none.
    async fn get(&self, path: &str) -> Result<Option<Bytes>, LogError> {
        let failed = |error| LogError::store(format!("`{path}` of the backup cannot be read"), error);
        match self.store.object_store.get(&self.path(path)?).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn put(&self, path: &str, content: Bytes) -> Result<(), LogError> {
        let put = self.store.object_store.put(&self.path(path)?, PutPayload::from(content)).await;
        put.map_err(|error| LogError::store(format!("`{path}` of the backup cannot be written"), error))?;
        Ok(())
    }

    /// Removes objects of a directory. One that is gone already is no error: others remove, too.
    async fn remove(&self, dir: &str, names: &[String]) -> Result<(), LogError> {
        let paths: Vec<Path> =
            names.iter().map(|name| self.path(&format!("{dir}/{name}"))).collect::<Result<_, _>>()?;
        let paths = futures::stream::iter(paths).map(Ok).boxed();
        let mut removed = self.store.object_store.delete_stream(paths);
        while let Some(one) = removed.next().await {
            match one {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    let what = format!("`{}` cannot be removed from", self.store.url(dir));
                    return Err(LogError::store(what, error));
                }
            }
        }
        Ok(())
    }

    fn path(&self, below: &str) -> Result<Path, LogError> {
        let root = &self.store.root;
        Path::from_url_path(format!("{}{below}", root.path()))
            .map_err(|error| LogError::store(format!("`{root}` is no place for backups"), error))
    }
}

/// The SHA-256 of a content, in hexadecimal digits.
async fn hash(content: Bytes) -> Result<String, LogError> {
    blocking(move || Ok(Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect())).await
}
