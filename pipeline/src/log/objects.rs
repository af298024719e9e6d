//! The WAL's groups as objects in the store, so that they survive the loss of the machine.
//!
//! The objects of a partition are `wal/<partition>/<n>`, `n` consecutive and of twenty digits, so
//! that a listing sorts. Each is made by create-if-absent and never changed; what its bytes are
//! stands in `layout`. An object is a group of the WAL, or it ends the partition: `sealed` by who
//! took it over, or `local` by its own node, which keeps its records on its own disk from there on.

mod layout;
mod owner;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use layout::{HEADER, Header, Kind};
pub(crate) use owner::{Owner, PutError, Unstored};

use super::store::Store;
use super::{LogError, PartitionId};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};

/// The directory of all partitions' objects.
const DIRECTORY: &str = "wal";

/// The objects of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    store: Store,
    partition: PartitionId,
}

/// An object as a listing names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its number.
    pub(crate) n: u64,
    /// Its size.
    pub(crate) bytes: u64,
    /// When the store took it, in ms since 1970-01-01.
    pub(crate) written_at_ms: i64,
}

/// What became of a create-if-absent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The object is there with these bytes.
    Stands,
    /// Another object is there; its bytes.
    Other(Bytes),
}

impl Objects {
    pub(crate) fn of(store: &Store, partition: &PartitionId) -> Self {
        Self { store: store.clone(), partition: partition.clone() }
    }

    /// Partitions that have objects.
    pub(crate) async fn partitions(store: &Store) -> Result<Vec<PartitionId>, LogError> {
        let failed = |error| LogError::store(format!("`{}` cannot be listed", store.url(DIRECTORY)), error);
        let listed = store.object_store.list_with_delimiter(Some(&path(store, "")?)).await;
        let mut partitions = match listed {
            Ok(listed) => listed.common_prefixes,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        partitions.sort();
        Ok(partitions.iter().filter_map(Path::filename).map(|name| PartitionId(name.into())).collect())
    }

    /// The partition they are of.
    pub(crate) fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// All objects by number. What is listed is durable.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, LogError> {
        let prefix = path(&self.store, &self.partition.0)?;
        let listed: Vec<_> = match self.store.object_store.list(Some(&prefix)).try_collect::<Vec<_>>().await {
            Ok(listed) => listed,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.failed("listed", error)),
        };
        if !listed.is_empty() {
            // Where the store is a directory, whoever wrote them may have died before its fsync.
            self.store.settle(&format!("{DIRECTORY}/{}", self.partition)).await?;
        }
        let mut objects: Vec<_> = listed.iter().filter_map(Listed::of).collect();
        objects.sort_unstable_by_key(|object| object.n);
        Ok(objects)
    }

    /// What the object says of itself; `None` when it is not there (any more).
    pub(crate) async fn header(&self, n: u64) -> Result<Option<Header>, LogError> {
        match self.store.object_store.get_range(&self.path(n)?, 0..HEADER as u64).await {
            Ok(bytes) => self.decode(n, &bytes).map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            // Shorter than a header, which some stores call an invalid range.
            Err(error) => match self.get(n).await? {
                Some(bytes) if bytes.len() < HEADER => Err(self.damaged(n, "it ends within its header")),
                Some(_) => Err(self.failed("read", error)),
                None => Ok(None),
            },
        }
    }

    /// What the object says of itself, and its payload; `None` when it is not there (any more).
    pub(crate) async fn read(&self, n: u64) -> Result<Option<(Header, Bytes)>, LogError> {
        let Some(bytes) = self.get(n).await? else { return Ok(None) };
        let header = self.decode(n, &bytes)?;
        let payload = bytes.slice(HEADER..);
        header.check(&payload).map_err(|what| self.damaged(n, what))?;
        Ok(Some((header, payload)))
    }

    /// Creates an object, unless there is one of that number.
    ///
    /// # Errors
    /// When it is unknown what became of it: the same call, with the same bytes, finds out.
    pub(crate) async fn create(&self, header: &Header, payload: Bytes) -> Result<Created, LogError> {
        let path = self.path(header.n)?;
        let head = Bytes::from(header.encode());
        let body: PutPayload = [head.clone(), payload.clone()].into_iter().collect();
        match self.store.object_store.put_opts(&path, body, PutMode::Create.into()).await {
            Ok(_) => return Ok(Created::Stands),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(self.failed("written", error)),
        }
        // A try whose answer was lost, or another writer: what stands there tells.
        let unknown = || LogError::store("an object of the WAL is being written", "try again");
        let found = self.get(header.n).await?.ok_or_else(unknown)?;
        let same = found.len() == head.len() + payload.len()
            && found.starts_with(&head)
            && found[head.len()..] == payload[..];
        if !same {
            return Ok(Created::Other(found));
        }
        self.store.settle(&format!("{DIRECTORY}/{}", self.partition)).await?;
        Ok(Created::Stands)
    }

    /// Removes objects; those that are gone already are passed over.
    pub(crate) async fn remove(&self, numbers: &[u64]) -> Result<(), LogError> {
        let paths = numbers.iter().map(|&n| self.path(n)).collect::<Result<Vec<_>, _>>()?;
        let paths = futures::stream::iter(paths.into_iter().map(Ok));
        let removed = self.store.object_store.delete_stream(paths.boxed());
        let gone = |removed: Result<Path, Error>| async move {
            match removed {
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        removed.then(gone).try_collect::<()>().await.map_err(|error| self.failed("removed", error))
    }

    pub(crate) fn decode(&self, n: u64, bytes: &[u8]) -> Result<Header, LogError> {
        let header = Header::decode(bytes).map_err(|what| self.damaged(n, what))?;
        if header.n != n || header.partition != self.partition {
            return Err(self.damaged(n, "it is the object of another place"));
        }
        Ok(header)
    }

    pub(crate) fn damaged(&self, n: u64, what: &str) -> LogError {
        LogError::Damaged(format!("object `{DIRECTORY}/{}/{n:020}`: {what}", self.partition))
    }

    async fn get(&self, n: u64) -> Result<Option<Bytes>, LogError> {
        let found = match self.store.object_store.get(&self.path(n)?).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    fn path(&self, n: u64) -> Result<Path, LogError> {
        path(&self.store, &format!("{}/{n:020}", self.partition))
    }

    fn failed(&self, done: &str, error: Error) -> LogError {
        LogError::store(format!("the WAL's objects of partition {} cannot be {done}", self.partition), error)
    }
}

impl Listed {
    fn of(object: &object_store::ObjectMeta) -> Option<Self> {
        let name = object.location.filename()?;
        let n = name.parse().ok()?;
        let written_at_ms = object.last_modified.timestamp_millis();
        (format!("{n:020}") == name).then_some(Self { n, bytes: object.size, written_at_ms })
    }
}

fn path(store: &Store, below: &str) -> Result<Path, LogError> {
    let url = store.url(DIRECTORY);
    Path::from_url_path(format!("{}{below}", url.path()))
        .map_err(|error| LogError::store(format!("`{url}` is no place for objects"), error))
}
