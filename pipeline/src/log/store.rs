//! Where the tables lie: a directory, later a bucket.
//!
//! The one conditional write the log needs is create-if-absent; [`Store::open`] makes sure that the
//! store has it.

mod local;

use super::LogError;
use local::DurableLocal;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

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
    /// Opens the store at a `file://` URL of a directory, which is made where it is missing, and
    /// checks that two writers cannot both create one object.
    ///
    /// # Errors
    /// [`LogError::Store`] when the URL has another scheme, or when the store fails the check.
    pub async fn open(root: &Url) -> Result<Self, LogError> {
        let (root, dir) = directory(root)?;
        let local = DurableLocal::open(dir)
            .map_err(|error| LogError::store(format!("store `{root}` cannot be opened"), error))?;
        let local = Arc::new(local);
        let object_store: Arc<dyn ObjectStore> = Arc::<DurableLocal>::clone(&local);
        let store = Self { root, object_store, local: Some(local) };
        store.probe().await?;
        Ok(store)
    }

    /// Opens a store for reading: nothing is made, checked or written.
    ///
    /// # Errors
    /// [`LogError::Store`] when the URL has another scheme or names no directory.
    pub fn open_read_only(root: &Url) -> Result<Self, LogError> {
        let (root, dir) = directory(root)?;
        if !dir.is_dir() {
            let what = format!("store `{root}` cannot be opened");
            return Err(LogError::store(what, "there is no such directory"));
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

    async fn probe(&self) -> Result<(), LogError> {
        let failed = |error: object_store::Error| {
            LogError::store(format!("store `{}` cannot be written", self.root), error)
        };
        let name = format!("probe-{}", uuid::Uuid::now_v7());
        let path = Path::from_url_path(format!("{}{name}", self.root.path()))
            .map_err(|error| failed(object_store::Error::InvalidPath { source: error }))?;
        let create = || self.object_store.put_opts(&path, "probe".into(), PutMode::Create.into());
        create().await.map_err(failed)?;
        let second = create().await;
        self.object_store.delete(&path).await.map_err(failed)?;
        match second {
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(())
            }
            Err(error) => Err(failed(error)),
            Ok(_) => Err(LogError::store(
                format!("store `{}` cannot hold the log", self.root),
                "it let a second writer create an object that was there already, \
                 so two commits could overwrite each other; use a store with conditional writes",
            )),
        }
    }
}

/// The URL with a slash at the end, and the directory it names.
fn directory(root: &Url) -> Result<(Url, PathBuf), LogError> {
    let failed = |reason: &str| LogError::store(format!("store `{root}` cannot be opened"), reason);
    if root.scheme() != "file" {
        return Err(failed("only `file://` URLs are supported"));
    }
    let dir = root.to_file_path().map_err(|()| failed("it names no path"))?;
    let mut root = root.clone();
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", root.path()));
    }
    Ok((root, dir))
}

#[cfg(test)]
mod tests;
