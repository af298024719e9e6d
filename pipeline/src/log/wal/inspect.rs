//! Looks into a WAL directory without changing it.

use super::fs::{Access, Lock, WalFs};
use super::open::recovered;
use super::scan::{self, Scan};
use super::segment::Index;
use super::{Damage, Torn, WalReader};
use crate::log::{LogError, Offset, PartitionId};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A WAL that no server has open. While this lives none can open it for writing.
pub struct Held {
    /// The partition that the WAL is of.
    pub partition: PartitionId,
    /// The first offset that is held.
    pub first_offset: Offset,
    /// The offset behind the last record.
    pub end: Offset,
    /// Reads its groups. It goes on without the lock: what is recycled meanwhile is then no longer
    /// there.
    pub reader: WalReader,
    _lock: Option<Lock>,
}

/// What a WAL directory holds and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The partition, where it can be told.
    pub partition: Option<PartitionId>,
    /// The segments that can be read, oldest first.
    pub segments: Vec<SegmentReport>,
    /// An unfinished write at the end, which nobody was promised.
    pub torn: Option<Torn>,
    /// All that had been durable and cannot be read.
    pub damage: Vec<Damage>,
    /// Whether a server has the directory open. What it changed meanwhile may look like damage.
    pub in_use: bool,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub number: u64,
    /// The first offset in it.
    pub first_offset: Offset,
    /// The offset behind its last record.
    pub end_offset: Offset,
    /// How many groups can be read.
    pub groups: u64,
    /// The size of its file.
    pub bytes: u64,
}

/// The partition that a WAL directory is of, whoever has it open; `None` when there is no WAL.
///
/// # Errors
/// [`LogError::Damaged`] when the directory does not name one; [`LogError::Store`] when the disk fails.
pub fn partition(fs: impl WalFs, dir: &Path) -> Result<Option<PartitionId>, LogError> {
    match fs.list(dir) {
        Ok(names) if names.iter().any(|name| name == scan::PARTITION) => {
            scan::read_partition(&fs, dir).map(Some)
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::store(format!("reading `{}`", dir.display()), error)),
    }
}

/// Opens a WAL for reading; `None` when there is none or a server has it open.
///
/// # Errors
/// [`LogError::Damaged`] when something durable cannot be read; [`LogError::Store`] when the disk
/// fails.
pub fn read_only(fs: impl WalFs, dir: &Path) -> Result<Option<Held>, LogError> {
    let Some(lock) = share(&fs, dir)? else { return Ok(None) };
    let Some(scan) = scan_if_there(&fs, dir)? else { return Ok(None) };
    if let Some(damage) = scan.damage.first() {
        return Err(LogError::Damaged(damage.to_string()));
    }
    let Some(partition) = scan.partition.clone() else { return Ok(None) };
    let recovered = recovered(partition, &scan);
    Ok(Some(Held {
        partition: recovered.partition,
        first_offset: recovered.first_offset,
        end: recovered.end,
        reader: WalReader::new(Arc::new(Index::of(scan))),
        _lock: lock,
    }))
}

/// Reads all of a WAL directory and says what is damaged where; `None` when there is none.
///
/// # Errors
/// [`LogError::Store`] when the disk fails.
pub fn inspect(fs: impl WalFs, dir: &Path) -> Result<Option<Inspection>, LogError> {
    let lock = share(&fs, dir)?;
    let Some(scan) = scan_if_there(&fs, dir)? else { return Ok(None) };
    let report = |scanned: &scan::Scanned| SegmentReport {
        number: scanned.held.segment.header.number,
        first_offset: scanned.held.segment.header.first_offset,
        end_offset: scanned.end_offset,
        groups: scanned.groups,
        bytes: scanned.held.segment.header.bytes,
    };
    Ok(Some(Inspection {
        segments: scan.segments.iter().map(report).collect(),
        partition: scan.partition,
        torn: scan.torn,
        damage: scan.damage,
        in_use: lock.is_none(),
    }))
}

/// `Some(None)` where nobody ever made a lock, so that there is nothing to hold.
fn share(fs: &dyn WalFs, dir: &Path) -> Result<Option<Option<Lock>>, LogError> {
    match fs.try_lock(&dir.join("lock"), Access::Read) {
        Ok(lock) => Ok(lock.map(Some)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(None)),
        Err(error) => Err(LogError::store(format!("locking `{}`", dir.display()), error)),
    }
}

fn scan_if_there(fs: &dyn WalFs, dir: &Path) -> Result<Option<Scan>, LogError> {
    match fs.list(dir) {
        Ok(_) => scan::scan(fs, dir, Access::Read).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::store(format!("listing `{}`", dir.display()), error)),
    }
}
