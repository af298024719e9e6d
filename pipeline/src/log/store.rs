//! Where the tables lie: a directory or a bucket.
//!
//! The one conditional write the log needs is create-if-absent; [`Store::open`] makes sure that the
//! store has it.

mod local;
mod measure;
mod s3;

use super::LogError;
use futures::TryStreamExt as _;
use local::DurableLocal;
pub use measure::Timing;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use s3::S3;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// Which store, and how it is reached.
#[derive(Clone)]
pub struct StoreConfig {
    /// A `file://` URL of a directory, or `s3://<bucket>/<prefix>`.
    pub url: Url,
    /// How the bucket is reached, by the names of the usual variables: `AWS_ACCESS_KEY_ID`,
    /// `AWS_REGION`, `AWS_ENDPOINT_URL` …; unknown ones are passed over.
    pub access: Vec<(String, String)>,
}

impl From<Url> for StoreConfig {
    fn from(url: Url) -> Self {
        Self { url, access: Vec::new() }
    }
}

/// Its access holds secrets.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoreConfig").field(&self.url.as_str()).finish()
    }
}

/// A store for tables, checked and durable: what a write has answered survives a loss of power.
#[derive(Clone, Debug)]
pub struct Store {
    /// The URL below which everything lies, with a slash at the end.
    pub root: Url,
    /// The store; its paths are the URL's, so `root`'s own path is a prefix of all of them.
    pub object_store: Arc<dyn ObjectStore>,
    local: Option<Arc<DurableLocal>>,
}

impl Store {
    /// Opens the store, a directory that is made where it is missing or a bucket that exists, and
    /// checks that it can be listed, read, written and deleted from, and that two writers cannot both
    /// create one object.
    ///
    /// # Errors
    /// [`LogError::Store`] when the URL has another scheme, or when the store fails the check; the
    /// message says what to grant or to change.
    pub async fn open(config: &StoreConfig) -> Result<Self, LogError> {
        let root = with_slash(&config.url);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| cannot_open(&root, error);
        let (object_store, local): (Arc<dyn ObjectStore>, _) = if root.scheme() == "s3" {
            (Arc::new(S3::new(config).map_err(|error| failed(error.into()))?), None)
        } else {
            let local = DurableLocal::open(directory(&root)?).map_err(|error| failed(error.into()))?;
            let local = Arc::new(local);
            (Arc::<DurableLocal>::clone(&local), Some(local))
        };
        let store = Self { root, object_store, local };
        store.probe().await?;
        Ok(store)
    }

    /// Opens a store for reading: nothing is made, checked or written.
    ///
    /// # Errors
    /// [`LogError::Store`] when the URL has another scheme or names no directory.
    pub fn open_read_only(config: &StoreConfig) -> Result<Self, LogError> {
        let root = with_slash(&config.url);
        if root.scheme() == "s3" {
            let bucket = S3::new(config).map_err(|error| cannot_open(&root, error.into()))?;
            return Ok(Self { root, object_store: Arc::new(bucket), local: None });
        }
        if !directory(&root)?.is_dir() {
            return Err(cannot_open(&root, "there is no such directory".into()));
        }
        Ok(Self { root, object_store: Arc::new(LocalFileSystem::new()), local: None })
    }

    /// The same store behind a wrapper, for tests that count or break its operations.
    #[cfg(test)]
    pub(crate) fn wrap(&self, wrapper: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { object_store: wrapper(Arc::clone(&self.object_store)), ..self.clone() }
    }

    /// The URL of a directory below the root, with a slash at the end.
    pub(crate) fn url(&self, name: &str) -> Url {
        let mut url = self.root.clone();
        url.set_path(&format!("{}{name}/", self.root.path()));
        url
    }

    /// Whether other machines may use it, too.
    pub(crate) fn is_bucket(&self) -> bool {
        self.root.scheme() == "s3"
    }

    /// Makes sure that all entries of a directory below the root are durable, whoever wrote them.
    ///
    /// A process may have died between an entry and its fsync; what is read after a restart can
    /// be trusted only after this. Object stores have nothing to do here.
    pub(crate) async fn settle(&self, dir: &str) -> Result<(), LogError> {
        let Some(local) = &self.local else { return Ok(()) };
        local
            .settle(dir.to_owned())
            .await
            .map_err(|error| LogError::store(format!("directory `{dir}` cannot be made durable"), error))
    }

    /// Takes away what broken-off writes left below a directory before the given time, in
    /// milliseconds; object stores have a rule for that.
    pub(crate) async fn sweep(&self, dir: &str, before_ms: i64) -> Result<(), LogError> {
        let Some(local) = &self.local else { return Ok(()) };
        local
            .sweep(dir.to_owned(), before_ms)
            .await
            .map_err(|error| LogError::store(format!("directory `{dir}` cannot be swept"), error))
    }

    /// How long each of `count` puts of so many bytes takes, one after the other: for benchmarks.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails.
    pub async fn time_puts(&self, bytes: usize, count: usize) -> Result<Vec<std::time::Duration>, LogError> {
        let failed = |error| LogError::store(format!("store `{}` cannot be measured", self.root), error);
        let body = bytes::Bytes::from(vec![b'x'; bytes]);
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let path = format!("{}bench/{}", self.root.path(), uuid::Uuid::now_v7());
            let path = Path::from_url_path(path)
                .map_err(|error| failed(object_store::Error::InvalidPath { source: error }))?;
            let begun = tokio::time::Instant::now();
            let put = self.object_store.put_opts(&path, body.clone().into(), PutMode::Create.into());
            put.await.map_err(failed)?;
            times.push(begun.elapsed());
            self.object_store.delete(&path).await.map_err(failed)?;
        }
        Ok(times)
    }

    /// Asks for everything the log will ask for, once.
    async fn probe(&self) -> Result<(), LogError> {
        let failed = |error: object_store::Error| cannot_open(&self.root, error.into());
        let path = |name: &str| {
            Path::from_url_path(format!("{}{name}", self.root.path()))
                .map_err(|error| failed(object_store::Error::InvalidPath { source: error }))
        };
        let probe = path(&format!("probe-{}", uuid::Uuid::now_v7()))?;
        let create = || self.object_store.put_opts(&probe, "probe".into(), PutMode::Create.into());
        match create().await {
            // Nobody else has the name: an answer was lost, and the request made again.
            Ok(_)
            | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        let second = create().await;
        let listed = self.lists(&path("")?, &path("probe-")?, &probe).await;
        let read = self.object_store.get(&probe).await;
        self.object_store.delete(&probe).await.map_err(failed)?;
        let lies =
            |what: &str| Err(LogError::store(format!("store `{}` cannot hold the log", self.root), what));
        match second {
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
            Err(error) => return Err(failed(error)),
            Ok(_) => {
                return lies(
                    "it let a second writer create an object that was there already, \
                     so two commits could overwrite each other; use a store with conditional writes \
                     (`If-None-Match`)",
                );
            }
        }
        if !listed.map_err(failed)? {
            return lies("a list did not show an object that had just been written; use a consistent store");
        }
        read.map_err(failed)?;
        Ok(())
    }

    /// Whether a list of a bucket shows an object behind `before`; that of a directory does.
    async fn lists(&self, root: &Path, before: &Path, object: &Path) -> object_store::Result<bool> {
        if self.local.is_some() {
            return Ok(true);
        }
        let mut listed = self.object_store.list_with_offset(Some(root), before);
        while let Some(found) = listed.try_next().await? {
            if found.location == *object {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn cannot_open(root: &Url, error: Box<dyn std::error::Error + Send + Sync>) -> LogError {
    LogError::store(format!("store `{root}` cannot be used"), error)
}

fn with_slash(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

/// The directory that a `file://` URL names.
fn directory(root: &Url) -> Result<PathBuf, LogError> {
    if root.scheme() != "file" {
        return Err(cannot_open(root, "only `file://` and `s3://` URLs are supported".into()));
    }
    root.to_file_path().map_err(|()| cannot_open(root, "it names no path".into()))
}

#[cfg(test)]
mod tests;
