//! A directory as an object store whose writes survive a loss of power.
//!
//! `object_store` 0.13 never calls fsync on local disk. Here a file's bytes are synced before its
//! name appears, and the name before the write answers, so that a reader never meets a torn file.

mod staged;

use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

const NAME: &str = "DurableLocal";

/// So many bytes are written before they are synced. A file of 32 MiB that is synced at its end keeps the
/// disk busy for as long as 80 ms, and so long every sync of the WAL waits; in pieces of this size it takes
/// no longer altogether, and the WAL waits 4 ms at most (measured on ext4 on a virtual disk).
const PIECE_BYTES: usize = 1 << 20;

/// An [`ObjectStore`] over the whole file system, durable below one directory.
///
/// After an fsync has failed nothing can be said about what is on disk, so every later write
/// fails, too, until the store is opened anew.
#[derive(Debug)]
pub(super) struct DurableLocal {
    inner: LocalFileSystem,
    disk: Arc<Disk>,
}

#[derive(Debug)]
struct Disk {
    root: PathBuf,
    /// Directories whose own entry is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    failed: AtomicBool,
}

impl DurableLocal {
    /// Opens the store and makes its directory where it is missing.
    pub(super) fn open(root: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&root)?;
        let mut dir = root.as_path();
        while let Some(parent) = dir.parent() {
            File::open(parent)?.sync_all()?;
            dir = parent;
        }
        Ok(Self::at(root))
    }

    fn at(root: PathBuf) -> Self {
        let durable = Mutex::new(HashSet::from([root.clone()]));
        let disk = Arc::new(Disk { root, durable, failed: AtomicBool::new(false) });
        Self { inner: LocalFileSystem::new(), disk }
    }

    /// Makes the entries of a directory below the root durable.
    pub(super) async fn settle(&self, dir: String) -> Result<()> {
        let path = self.disk.root.join(dir).join("any");
        self.blocking(move |disk| disk.sync_entry(&path)).await
    }

    /// Takes away staged files below a directory that were last written before a time in ms.
    pub(super) async fn sweep(&self, dir: String, before_ms: i64) -> Result<()> {
        let dir = self.disk.root.join(dir);
        self.blocking(move |_| {
            staged::sweep(&dir, before_ms).map_err(|error| broken("sweeping", &dir, error))
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || {
            disk.check()?;
            work(&disk)
        })
        .await
        .map_err(|source| Error::JoinError { source })?
    }
}

impl Disk {
    fn check(&self) -> Result<()> {
        if self.failed.load(SeqCst) {
            return Err(generic("an fsync failed earlier; restart, so that the log is recovered from disk"));
        }
        Ok(())
    }

    fn put(&self, path: &Path, payload: &PutPayload, create: bool) -> Result<()> {
        let (mut file, staged) = staged::create(path)?;
        let placed = self
            .write(&mut file, &staged, payload)
            .and_then(|()| self.synced(file.sync_all(), &staged))
            .and_then(|()| if create { link(&staged, path) } else { rename(&staged, path) });
        if create || placed.is_err() {
            // Left behind it would only take space: listings pass over staged files.
            let _ = fs::remove_file(&staged);
        }
        placed?;
        self.sync_entry(path)
    }

    /// Writes in pieces, each of which is synced before the next one; but for the last, which is left to
    /// the caller.
    fn write(&self, file: &mut File, path: &Path, payload: &PutPayload) -> Result<()> {
        let mut unsynced = 0;
        for piece in payload.iter().flat_map(|part| part.chunks(PIECE_BYTES)) {
            if unsynced + piece.len() > PIECE_BYTES {
                self.synced(file.sync_data(), path)?;
                unsynced = 0;
            }
            file.write_all(piece).map_err(|error| broken("writing", path, error))?;
            unsynced += piece.len();
        }
        Ok(())
    }

    /// Makes the entry of `path` durable, and those of its directories up to the root.
    fn sync_entry(&self, path: &Path) -> Result<()> {
        let mut entry = path;
        while let Some(dir) = entry.parent().filter(|dir| dir.starts_with(&self.root)) {
            match File::open(dir) {
                Ok(file) => self.synced(file.sync_all(), dir)?,
                Err(error) => return Err(broken("opening", dir, error)),
            }
            if entry != path {
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.to_owned());
            }
            if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(dir) {
                break;
            }
            entry = dir;
        }
        Ok(())
    }

    fn synced(&self, outcome: std::io::Result<()>, path: &Path) -> Result<()> {
        outcome.map_err(|error| {
            self.failed.store(true, SeqCst);
            broken("syncing", path, error)
        })
    }
}

fn link(staged: &Path, path: &Path) -> Result<()> {
    fs::hard_link(staged, path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Error::AlreadyExists { path: path.display().to_string(), source: error.into() }
        }
        _ => broken("linking", path, error),
    })
}

fn rename(staged: &Path, path: &Path) -> Result<()> {
    fs::rename(staged, path).map_err(|error| broken("renaming", path, error))
}

fn broken(doing: &str, path: &Path, error: std::io::Error) -> Error {
    let message = format!("{doing} `{}`: {error}", path.display());
    Error::Generic { store: NAME, source: std::io::Error::new(error.kind(), message).into() }
}

fn generic(message: &str) -> Error {
    Error::Generic { store: NAME, source: message.into() }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{NAME}({})", self.disk.root.display())
    }
}

#[async_trait::async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let path = self.inner.path_to_filesystem(location)?;
        self.blocking(move |disk| disk.put(&path, &payload, create)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Location,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.disk.check()?;
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(Upload { inner, path, disk: Arc::clone(&self.disk) }))
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Location,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Location>>,
    ) -> BoxStream<'static, Result<Location>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Location>,
        offset: &Location,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> Result<()> {
        self.disk.check()?;
        let path = self.inner.path_to_filesystem(to)?;
        self.inner.copy_opts(from, to, options).await?;
        self.blocking(move |disk| disk.sync_entry(&path)).await
    }

    async fn rename_opts(&self, from: &Location, to: &Location, options: RenameOptions) -> Result<()> {
        self.disk.check()?;
        let (old, new) = (self.inner.path_to_filesystem(from)?, self.inner.path_to_filesystem(to)?);
        self.inner.rename_opts(from, to, options).await?;
        self.blocking(move |disk| {
            disk.sync_entry(&new)?;
            disk.sync_entry(&old)
        })
        .await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    disk: Arc<Disk>,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let (disk, path) = (Arc::clone(&self.disk), self.path.clone());
        tokio::task::spawn_blocking(move || {
            disk.check()?;
            let file = File::open(&path).map_err(|error| broken("opening", &path, error))?;
            disk.synced(file.sync_all(), &path)?;
            disk.sync_entry(&path)
        })
        .await
        .map_err(|source| Error::JoinError { source })??;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
