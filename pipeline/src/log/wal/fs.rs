//! Where the WAL meets the machine: the few operations it needs, so that tests can stand in.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// The file system under a WAL.
///
/// Nothing is durable before the call that says so: the bytes and the length of a file with
/// [`WalFile::fdatasync`], names (created, renamed, removed) with [`WalFs::fsync_dir`].
/// Until then a crash may keep any part of it, in units of 512-byte sectors and of single names.
pub trait WalFs: Send + Sync + 'static {
    /// Makes the directory and its parents, durably, unless it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in the directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a new file; it must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn WalFile>>;
    /// Opens a file that is there, for reading and, where `access` says so, for writing.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn WalFile>>;
    /// Gives the file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the name; who has the file open can go on reading it.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes all changes to the names of the directory durable.
    fn fsync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock, for as long as the answer lives: shared to read, else for one holder only.
    /// `None` when another holder is in the way.
    fn try_lock(&self, path: &Path, access: Access) -> io::Result<Option<Lock>>;
    /// A random number nobody can guess.
    fn random(&self) -> u64;
    /// Whether it is one in memory, for tests and simulations, so that nothing ever waits for it.
    fn is_in_memory(&self) -> bool {
        false
    }
}

/// What a file or a lock is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing will be changed.
    Read,
    /// Reading and writing.
    Write,
}

/// A lock that is held until it is dropped.
pub type Lock = Box<dyn Send + Sync>;

/// An open file.
pub trait WalFile: Send + Sync {
    /// Reads from `position` on until `into` is full or the file ends; how many bytes it was.
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `position`.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable, and the length.
    fn fdatasync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn bytes(&self) -> io::Result<u64>;
}

/// The machine's own file system. Files are made for their owner only (mode 0600).
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl WalFs for RealFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        self.create_dir(parent)?;
        DirBuilder::new().mode(0o700).create(dir)?;
        self.fsync_dir(parent)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name().into_string()));
        // A name that is not UTF-8 is none of ours.
        names.filter_map(|name| name.map(Result::ok).transpose()).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn WalFile>> {
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        Ok(Arc::new(RealFile(options?)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn WalFile>> {
        let file = OpenOptions::new().read(true).write(access == Access::Write).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn fsync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn try_lock(&self, path: &Path, access: Access) -> io::Result<Option<Lock>> {
        use rustix::fs::{FlockOperation, flock};
        let write = access == Access::Write;
        let options = OpenOptions::new().read(true).write(write).create(write).mode(0o600).open(path)?;
        let operation = match access {
            Access::Read => FlockOperation::NonBlockingLockShared,
            Access::Write => FlockOperation::NonBlockingLockExclusive,
        };
        match flock(&options, operation) {
            Ok(()) => Ok(Some(Box::new(options))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

struct RealFile(File);

impl WalFile for RealFile {
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], position + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
