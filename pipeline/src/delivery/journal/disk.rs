//! The journal's files as their one writer has them.

use super::layout::{BLOCK, GROUP_HEADER, GroupHeader, SegmentHeader};
use super::segment::{Held, Segment};
use super::{JournalError, file_name};
use crate::log::wal::fs::{Lock, WalFs};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What readers see.
pub(super) struct Shared {
    held: Mutex<Held>,
    /// Why nothing more is taken.
    failed: OnceLock<JournalError>,
}

impl Shared {
    pub(super) fn new(held: Held) -> Self {
        Self { held: Mutex::new(held), failed: OnceLock::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error, once the journal has failed.
    pub(super) fn usable(&self) -> Result<(), JournalError> {
        self.failed.get().cloned().map_or(Ok(()), Err)
    }
}

/// The files, open for appending. After a failed write or fsync nothing more is taken: what is on
/// disk is then unknown, and a second fsync may claim success for what the first one lost.
pub(super) struct Disk {
    pub(super) fs: Arc<dyn WalFs>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) active: Arc<Segment>,
    /// Where the next group goes in the active segment.
    pub(super) position: u64,
    /// The sequence number of the next record.
    pub(super) next: u64,
    pub(super) _lock: Lock,
}

impl Disk {
    /// Appends records as one group, durable when this returns; the number of the last one.
    pub(super) fn append(&mut self, records: u32, bytes: &[u8]) -> Result<u64, JournalError> {
        self.shared.usable()?;
        self.write(records, bytes).map_err(|error| self.fail(&error))
    }

    /// Removes segments all of whose records lie below `below`, never the newest one.
    pub(super) fn release(&mut self, below: u64) -> Result<(), JournalError> {
        self.shared.usable()?;
        self.remove(below).map_err(|error| self.fail(&error))
    }

    fn write(&mut self, records: u32, bytes: &[u8]) -> io::Result<u64> {
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let header = GroupHeader { bytes: size, records, crc: crc32c::crc32c(bytes), first: self.next };
        if self.position > BLOCK && self.position + header.padded() > self.segment_bytes {
            self.roll()?;
        }
        let mut group = vec![0; GROUP_HEADER];
        group.reserve_exact(header.padded() as usize - GROUP_HEADER);
        header.encode(self.active.header.salt, &mut group);
        group.extend_from_slice(bytes);
        group.resize(header.padded() as usize, 0);
        self.active.file.write_at(self.position, &group)?;
        self.active.file.fdatasync()?;
        self.position += header.padded();
        self.next = header.end();
        self.shared.lock().end = self.next;
        Ok(self.next - 1)
    }

    fn roll(&mut self) -> io::Result<()> {
        let header = SegmentHeader {
            journal: self.active.header.journal.clone(),
            number: self.active.header.number + 1,
            first: self.next,
            salt: self.fs.random(),
        };
        let segment = Arc::new(make(&*self.fs, &self.dir, header)?);
        self.active = Arc::clone(&segment);
        self.position = BLOCK;
        self.shared.lock().segments.push(segment);
        Ok(())
    }

    fn remove(&self, below: u64) -> io::Result<()> {
        loop {
            let oldest = {
                let mut held = self.shared.lock();
                match held.segments[..] {
                    [_, ref next, ..] if next.header.first <= below => held.segments.remove(0),
                    _ => return Ok(()),
                }
            };
            self.fs.unlink(&self.dir.join(file_name(oldest.header.number)))?;
            // One name after the other: after a crash there is no gap between those that are left.
            self.fs.fsync_dir(&self.dir)?;
        }
    }

    fn fail(&self, error: &io::Error) -> JournalError {
        tracing::error!(%error, dir = %self.dir.display(), "the delivery journal failed: restart the process");
        let failed = JournalError::Failed(error.to_string());
        self.shared.failed.get_or_init(|| failed).clone()
    }
}

/// Makes a segment; its header is durable before it has its name, and its name when this returns.
pub(super) fn make(fs: &dyn WalFs, dir: &std::path::Path, header: SegmentHeader) -> io::Result<Segment> {
    let name = file_name(header.number);
    let new = dir.join(format!("{name}.new"));
    let file = fs.create(&new)?;
    file.write_at(0, &header.encode())?;
    file.fdatasync()?;
    fs.rename(&new, &dir.join(name))?;
    fs.fsync_dir(dir)?;
    Ok(Segment { header, file })
}
