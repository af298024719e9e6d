//! A file system in memory that loses whatever a real one may lose.
//!
//! It keeps what programs see apart from what is on the disk. A crash makes the disk all there is,
//! with any 512-byte sectors of unsynced writes and any unsynced names on it or not. For tests and
//! simulations, those of other rooms too.

use super::fs::{Access, Lock, WalFile, WalFs};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// What happens to one operation, counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops in the middle of it.
    Stop,
    /// It fails; an fsync that fails drops what it should have written.
    Error,
}

/// The file system; clones are the same one. What is random in it follows from its seed.
#[derive(Clone)]
pub struct CrashFs(Arc<Mutex<Disk>>);

#[derive(Clone)]
struct Disk {
    files: Vec<Data>,
    /// The names as programs see them.
    names: BTreeMap<PathBuf, usize>,
    names_on_disk: BTreeMap<PathBuf, usize>,
    /// Changes of names since the directory was synced.
    unsynced: Vec<NameChange>,
    fault: Option<(u32, Fault)>,
    stopped: bool,
    space: Option<usize>,
    locked: bool,
    /// Counts processes, so that a file opened by an earlier one is of no use.
    process: u64,
    random: Random,
}

/// A file: what programs see of it, what is on the disk, and what is on its way there.
#[derive(Clone, Default)]
struct Data {
    seen: Vec<u8>,
    on_disk: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
struct NameChange {
    removed: Option<PathBuf>,
    set: Option<(PathBuf, usize)>,
}

/// SplitMix64, which can be copied along with the disk.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn happens(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

impl CrashFs {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            files: Vec::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            unsynced: Vec::new(),
            fault: None,
            stopped: false,
            space: None,
            locked: false,
            process: 0,
            random: Random(seed),
        })))
    }

    /// A copy that goes its own way, with no process on it.
    pub fn fork(&self) -> Self {
        let copy = Self(Arc::new(Mutex::new(self.disk().clone())));
        copy.kill();
        copy
    }

    /// The operation after `operations` more meets the fault.
    pub fn inject(&self, operations: u32, fault: Fault) {
        self.disk().fault = Some((operations, fault));
    }

    /// All files together take no more bytes.
    pub fn limit(&self, space: Option<usize>) {
        self.disk().space = space;
    }

    /// What all files together take.
    pub fn bytes(&self) -> usize {
        self.disk().used()
    }

    /// The process ends; the machine goes on.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.process += 1;
        (disk.locked, disk.stopped, disk.fault) = (false, false, None);
    }

    /// The machine loses power.
    pub fn crash(&self) {
        self.kill();
        let mut disk = self.disk();
        let disk = &mut *disk;
        // Each crash has its own idea of how much gets through, all and nothing among them.
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][disk.random.below(5)];
        for file in &mut disk.files {
            file.write_back(&mut disk.random, kept);
            file.seen.clone_from(&file.on_disk);
        }
        for change in std::mem::take(&mut disk.unsynced) {
            if disk.random.happens(kept) {
                change.apply(&mut disk.names_on_disk);
            }
        }
        disk.names.clone_from(&disk.names_on_disk);
    }

    /// Changes a file behind everyone's back.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn damage(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let file = disk.names[path];
        let data = &mut disk.files[file];
        damage(&mut data.seen);
        data.on_disk.clone_from(&data.seen);
    }

    /// Removes a file behind everyone's back.
    pub fn forget(&self, path: &Path) {
        let mut disk = self.disk();
        disk.names.remove(path);
        disk.names_on_disk.remove(path);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn used(&self) -> usize {
        self.names.values().map(|&file| self.files[file].seen.len()).sum()
    }

    /// Whether the operation about to be made fails, and how.
    fn fault(&mut self) -> Result<Option<Fault>, io::Error> {
        if self.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        match &mut self.fault {
            Some((0, fault)) => {
                let fault = *fault;
                self.fault = None;
                self.stopped = fault == Fault::Stop;
                Ok(Some(fault))
            }
            Some((operations, _)) => {
                *operations -= 1;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn change(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.fault()?;
        if fault != Some(Fault::Error) {
            change.apply(&mut self.names);
            self.unsynced.push(change);
        }
        injected(fault)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn injected(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(fault) => Err(io::Error::other(format!("injected: {fault:?}"))),
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(removed) = &self.removed {
            names.remove(removed);
        }
        if let Some((path, file)) = &self.set {
            names.insert(path.clone(), *file);
        }
    }
}

impl Data {
    /// Each unsynced sector reaches the disk with the given probability.
    fn write_back(&mut self, random: &mut Random, kept: f64) {
        for (position, bytes) in std::mem::take(&mut self.unsynced) {
            let mut at = 0;
            while at < bytes.len() {
                let sector = (SECTOR - (position + at) % SECTOR).min(bytes.len() - at);
                if random.happens(kept) {
                    put(&mut self.on_disk, position + at, &bytes[at..at + sector]);
                }
                at += sector;
            }
        }
    }
}

fn put(data: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if data.len() < position + bytes.len() {
        data.resize(position + bytes.len(), 0);
    }
    data[position..position + bytes.len()].copy_from_slice(bytes);
}

impl WalFs for CrashFs {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let names = disk.names.keys().filter_map(|path| path.strip_prefix(dir).ok());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn WalFile>> {
        let mut disk = self.disk();
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = disk.files.len();
        disk.files.push(Data::default());
        disk.change(NameChange { removed: None, set: Some((path.to_owned(), file)) })?;
        Ok(Arc::new(CrashFile { fs: self.clone(), file, process: disk.process }))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn WalFile>> {
        let disk = self.disk();
        let file = disk.file(path)?;
        Ok(Arc::new(CrashFile { fs: self.clone(), file, process: disk.process }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let file = disk.file(from)?;
        disk.change(NameChange { removed: Some(from.to_owned()), set: Some((to.to_owned(), file)) })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.file(path)?;
        disk.change(NameChange { removed: Some(path.to_owned()), set: None })
    }

    fn fsync_dir(&self, _: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.fault()?;
        if fault.is_none() {
            disk.unsynced.clear();
            let disk = &mut *disk;
            disk.names_on_disk.clone_from(&disk.names);
        }
        injected(fault)
    }

    fn try_lock(&self, _: &Path, access: Access) -> io::Result<Option<Lock>> {
        let mut disk = self.disk();
        if disk.locked {
            return Ok(None);
        }
        disk.locked = access == Access::Write;
        Ok(Some(Box::new(CrashLock { fs: self.clone(), process: disk.process })))
    }

    fn random(&self) -> u64 {
        self.disk().random.next()
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

struct CrashLock {
    fs: CrashFs,
    process: u64,
}

impl Drop for CrashLock {
    fn drop(&mut self) {
        let mut disk = self.fs.disk();
        if disk.process == self.process {
            disk.locked = false;
        }
    }
}

struct CrashFile {
    fs: CrashFs,
    file: usize,
    process: u64,
}

impl CrashFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.fs.disk();
        match disk.process == self.process {
            true => Ok(disk),
            false => Err(io::Error::other("the process has ended")),
        }
    }
}

impl WalFile for CrashFile {
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let disk = self.disk()?;
        let seen = disk.files[self.file].seen.get(position as usize..).unwrap_or_default();
        let read = seen.len().min(into.len());
        into[..read].copy_from_slice(&seen[..read]);
        Ok(read)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let fault = disk.fault()?;
        let more = (position as usize + bytes.len()).saturating_sub(disk.files[self.file].seen.len());
        let missing = disk.space.map_or(0, |space| (disk.used() + more).saturating_sub(space));
        let mut taken = bytes.len() - missing.min(more);
        if fault == Some(Fault::Error) {
            taken = disk.random.below(taken + 1);
        }
        let file = &mut disk.files[self.file];
        put(&mut file.seen, position as usize, &bytes[..taken]);
        file.unsynced.push((position as usize, bytes[..taken].to_vec()));
        injected(fault)?;
        if missing > 0 && more > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn fdatasync(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let fault = disk.fault()?;
        let disk = &mut *disk;
        let file = &mut disk.files[self.file];
        match fault {
            None => file.write_back(&mut disk.random, 1.0),
            // Programs go on seeing what never reached the disk, and the next fsync says all is well.
            Some(Fault::Error) => file.write_back(&mut disk.random, 0.5),
            Some(Fault::Stop) => {}
        }
        injected(fault)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk()?.files[self.file].seen.len() as u64)
    }
}
