//! The write-ahead log: groups of frames, each durable before its append returns, in pre-written
//! and recycled segment files on local disk.
//!
//! One thread owns a [`Wal`]; the queue before it, deduplication and whoever waits are not here.
//! What the bytes are stands in `layout`, how damage is told from a torn tail in `scan`.
//!
//! The directory holds `lock`, `partition` (format version and partition id), segments
//! `0000000000000001.wal` and on, recycled files `*.spare`, and unfinished ones `*.new`.

#[cfg(test)]
mod crash_fs;
pub mod fs;
mod inspect;
mod layout;
mod reader;
mod scan;
mod segment;
mod spares;

pub use inspect::{Held, Inspection, SegmentReport, inspect, read_only};
pub use reader::{GroupData, WalReader};

use super::{LogError, Offset, PartitionId};
use crate::Micros;
use fs::{Access, Lock, WalFs};
use layout::{BLOCK, GROUP_HEADER, GroupHeader, SegmentHeader, padded};
use scan::{Position, Scan};
use segment::{HeldSegment, Index, Segment};
use spares::Spares;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No group's payload is larger, whatever the configuration.
pub const GROUP_BYTES_MAX: u64 = 64 << 20;

/// How a WAL is kept.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// Its directory; made if it is not there.
    pub dir: PathBuf,
    /// The size of a segment; rounded up to a multiple of 4096, and to 16 KiB.
    pub segment_bytes: u64,
    /// All segments together take no more; at least two segments.
    pub bytes_max: u64,
}

/// What one `fdatasync` makes durable: the frames of any number of requests.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The offset of the first record: where the group before ended.
    pub first_offset: Offset,
    /// The offset behind the last record; above `first_offset`.
    pub end_offset: Offset,
    /// The `received_at` of the last record.
    pub last_received_at: Micros,
    /// The frames, one behind the other.
    pub payload: &'a [u8],
}

/// Why a group was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The WAL has all it may take, or the disk is full. Nothing was written; try again when
    /// segments were released or the disk has room.
    #[error("it holds {used} of {max} bytes{}", if *.disk_full { ", and the disk is full" } else { "" })]
    Full {
        /// The bytes all segments take.
        used: u64,
        /// The bytes they may take.
        max: u64,
        /// Whether it is the disk that has no room.
        disk_full: bool,
    },
    /// The group is larger than any may be. Nothing was written; it never fits.
    #[error("a group of {bytes} bytes is larger than {max} bytes")]
    TooLarge {
        /// The size of the payload.
        bytes: u64,
        /// The largest payload.
        max: u64,
    },
    /// The group does not begin where the last one ended, or is empty. Nothing was written.
    #[error("a group from {first_offset} to {end_offset} cannot follow offset {end}")]
    OutOfOrder {
        /// Where the group begins.
        first_offset: Offset,
        /// Where it ends.
        end_offset: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// A write or an fsync failed. Whether the group is kept shows when the WAL is opened anew;
    /// until then it refuses everything.
    #[error("a write to the disk failed: {0}")]
    Failed(#[source] io::Error),
}

/// What was found when a WAL was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The partition that the WAL is of.
    pub partition: PartitionId,
    /// The first offset that is held.
    pub first_offset: Offset,
    /// The offset behind the last durable record, 0 in a new WAL.
    pub end: Offset,
    /// The `received_at` of that last record, 0 in a new WAL.
    pub last_received_at: Micros,
    /// What a crash left unfinished at the end and was cut. It had not been acknowledged.
    pub torn: Option<Torn>,
}

/// A group that was not wholly written, and that nobody was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The number of the segment.
    pub segment: u64,
    /// Where the group begins in it.
    pub position: u64,
    /// How many bytes it would have taken, as far as that can be told.
    pub bytes: u64,
}

/// Something that had been durable and is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The number of the segment; 0 when it is the directory itself.
    pub segment: u64,
    /// Where in the segment the damage begins.
    pub position: u64,
    /// The first offset that cannot be read.
    pub first_offset: Offset,
    /// The next offset that can be read, if any is known.
    pub end_offset: Option<Offset>,
    /// What is wrong.
    pub what: &'static str,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { segment, position, first_offset, end_offset, what } = self;
        write!(f, "segment {segment}, byte {position}: {what} (from offset {first_offset}")?;
        match end_offset {
            Some(end) => write!(f, " to {end})"),
            None => write!(f, " on)"),
        }
    }
}

/// The write-ahead log of one node, open for appending.
///
/// - When [`Wal::append`] returns, the group survives a crash and loss of power.
/// - After a crash a group is there whole or not at all, and all groups before it are there.
/// - What was appended is read back once, in order, until it is released. A recycled file's former
///   groups are never seen again.
/// - After a failed write or fsync nothing more is taken: what is on disk is then unknown, and a
///   second fsync may claim success for what the first one lost.
pub struct Wal {
    spares: Spares,
    config: WalConfig,
    index: Arc<Index>,
    active: Arc<Segment>,
    /// Where the next group goes in the active segment.
    position: u64,
    next: Position,
    buffer: Vec<u8>,
    marked: bool,
    failed: bool,
    _lock: Lock,
}

impl Wal {
    /// Opens the WAL in its directory, or makes it, and cuts off a torn tail.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open; [`LogError::Damaged`] when something
    /// that was durable cannot be read; [`LogError::Store`] when the disk fails or is full, or the
    /// configuration is out of range.
    pub fn open(fs: impl WalFs, config: WalConfig) -> Result<(Self, Recovered), LogError> {
        let fs: Arc<dyn WalFs> = Arc::new(fs);
        let config = config.checked()?;
        let failed = |error| LogError::store(format!("opening the WAL in `{}`", config.dir.display()), error);
        fs.create_dir(&config.dir).map_err(failed)?;
        let lock = fs.try_lock(&config.dir.join("lock"), Access::Write).map_err(failed)?;
        let lock = lock.ok_or_else(|| LogError::InUse(config.dir.clone()))?;
        let mut scan = scan::scan(&*fs, &config.dir, Access::Write)?;
        if let Some(damage) = scan.damage.first() {
            return Err(LogError::Damaged(damage.to_string()));
        }
        let mut spares = Spares::new(Arc::clone(&fs), &config.dir, config.segment_bytes);
        spares.adopt(&scan.spares, &scan.unfinished).map_err(failed)?;
        let partition = found(&*fs, &config, &mut scan, &mut spares).map_err(failed)?;
        let recovered = recovered(partition, &scan);
        let mut wal = Self::begin(scan, spares, config.clone(), lock).map_err(failed)?;
        wal.confirm_durably().map_err(failed)?;
        // What a killed process renamed and did not sync must not come undone later.
        fs.fsync_dir(&config.dir).map_err(failed)?;
        Ok((wal, recovered))
    }

    fn begin(scan: Scan, spares: Spares, config: WalConfig, lock: Lock) -> io::Result<Self> {
        let last = scan.segments.last().ok_or_else(|| io::Error::other("there is no segment"))?;
        let (active, position) = (Arc::clone(&last.held.segment), last.held.position);
        spares::extend(&active)?;
        if let Some(group) = last.last_group {
            // A failed fsync leaves the group in the page cache, marked as clean: the process
            // before this one may have stopped for that. Written again, it does reach the disk.
            let mut bytes = Vec::new();
            active.read(group, &mut bytes)?;
            active.file.write_at(group, &bytes)?;
        }
        let next = scan.end;
        Ok(Self {
            spares,
            config,
            index: Arc::new(Index::of(scan)),
            active,
            position,
            next,
            buffer: Vec::new(),
            marked: false,
            failed: false,
            _lock: lock,
        })
    }

    /// Appends a group; it is durable when this returns.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn append(&mut self, group: &Group<'_>) -> Result<(), WalError> {
        self.check(group)?;
        let bytes = padded(group.payload.len());
        if self.position + bytes + BLOCK > self.active.header.bytes {
            self.roll(bytes)?;
        }
        let header = GroupHeader {
            mark: false,
            payload_bytes: group.payload.len() as u32,
            payload_crc: crc32c::crc32c(group.payload),
            sequence: self.next.sequence,
            first_offset: group.first_offset,
            end_offset: group.end_offset,
            last_received_at: group.last_received_at,
            synced: self.next.offset,
        };
        self.buffer.clear();
        self.buffer.resize(GROUP_HEADER, 0);
        header.encode(&self.active.header, &mut self.buffer);
        self.buffer.extend_from_slice(group.payload);
        self.buffer.resize(bytes as usize, 0);
        let file = &self.active.file;
        let written = file.write_at(self.position, &self.buffer).and_then(|()| file.fdatasync());
        written.map_err(|error| self.fail(error))?;
        self.position += bytes;
        self.marked = false;
        self.next = Position {
            offset: group.end_offset,
            sequence: self.next.sequence + 1,
            last_received_at: group.last_received_at,
        };
        self.publish(&header);
        self.prepare();
        Ok(())
    }

    /// Notes behind the last group that it is durable, so that damage to it can be told from a
    /// torn tail. Not durable itself: call it when there is nothing to append.
    ///
    /// # Errors
    /// [`WalError::Failed`].
    pub fn confirm(&mut self) -> Result<(), WalError> {
        self.usable()?;
        if self.marked {
            return Ok(());
        }
        self.mark().map_err(|error| self.fail(error))
    }

    /// Gives up the segments whose records all lie below the offset: call it when data and commit
    /// are durable elsewhere. The newest segment stays.
    ///
    /// # Errors
    /// [`WalError::Failed`].
    pub fn release(&mut self, below: Offset) -> Result<(), WalError> {
        self.usable()?;
        while let Some(segment) = self.releasable(below) {
            self.spares.recycle(segment).map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// Confirms the last group durably and lets go of the directory.
    ///
    /// # Errors
    /// [`WalError::Failed`]; everything appended is durable all the same.
    pub fn close(mut self) -> Result<(), WalError> {
        self.usable()?;
        self.confirm_durably().map_err(|error| self.fail(error))
    }

    /// A reader of what is durable.
    pub fn reader(&self) -> WalReader {
        WalReader::new(Arc::clone(&self.index))
    }

    /// The offset behind the last durable group.
    pub fn end(&self) -> Offset {
        self.next.offset
    }

    /// The first offset that is held.
    pub fn first_offset(&self) -> Offset {
        self.index.lock().first_offset()
    }

    /// The bytes that all segments take, without the few spare ones.
    pub fn bytes_used(&self) -> u64 {
        self.index.lock().bytes()
    }

    /// The bytes that they may take.
    pub fn bytes_max(&self) -> u64 {
        self.config.bytes_max
    }

    /// The largest payload of a group.
    pub fn group_bytes_max(&self) -> u64 {
        self.config.group_bytes_max()
    }

    fn usable(&self) -> Result<(), WalError> {
        if self.failed {
            let error = io::Error::other("an earlier write failed; the log must be opened anew");
            return Err(WalError::Failed(error));
        }
        Ok(())
    }

    fn check(&self, group: &Group<'_>) -> Result<(), WalError> {
        self.usable()?;
        let &Group { first_offset, end_offset, payload, .. } = group;
        let (bytes, max) = (payload.len() as u64, self.group_bytes_max());
        if bytes > max {
            return Err(WalError::TooLarge { bytes, max });
        }
        if first_offset != self.next.offset || end_offset <= first_offset {
            return Err(WalError::OutOfOrder { first_offset, end_offset, end: self.next.offset });
        }
        Ok(())
    }

    fn fail(&mut self, error: io::Error) -> WalError {
        self.failed = true;
        WalError::Failed(error)
    }

    /// Goes on in a new segment, large enough for a group of so many bytes.
    fn roll(&mut self, group_bytes: u64) -> Result<(), WalError> {
        let bytes = self.config.segment_bytes.max(group_bytes + 2 * BLOCK);
        let (used, max) = (self.bytes_used(), self.config.bytes_max);
        if used + bytes > max {
            return Err(WalError::Full { used, max, disk_full: false });
        }
        let before = &self.active.header;
        let header = SegmentHeader {
            partition: before.partition.clone(),
            number: before.number + 1,
            salt: self.spares.random(),
            bytes,
            first_offset: self.next.offset,
            first_sequence: self.next.sequence,
            last_received_at: self.next.last_received_at,
        };
        let segment = match self.spares.make(header) {
            Ok(segment) => Arc::new(segment),
            Err(spares::Unmade::NoSpace) => return Err(WalError::Full { used, max, disk_full: true }),
            Err(spares::Unmade::Failed(error)) => return Err(self.fail(error)),
        };
        self.active = Arc::clone(&segment);
        self.position = BLOCK;
        self.marked = false;
        self.index.lock().segments.push_back(HeldSegment::new(segment));
        Ok(())
    }

    /// Shows readers the group that is now durable.
    fn publish(&self, group: &GroupHeader) {
        let mut held = self.index.lock();
        if let Some(active) = held.segments.back_mut() {
            active.push(group);
        }
        held.end = group.end_offset;
    }

    /// From the middle of a segment on, writes two bytes of the next one for each that is appended.
    fn prepare(&mut self) {
        let half = self.active.header.bytes / 2;
        let room = self.bytes_used() + self.config.segment_bytes <= self.config.bytes_max;
        if self.position > half && room {
            self.spares.prepare(2 * (self.position - half));
        }
    }

    fn releasable(&self, below: Offset) -> Option<Arc<Segment>> {
        let mut held = self.index.lock();
        let next = held.segments.get(1)?;
        if next.segment.header.first_offset > below {
            return None;
        }
        held.segments.pop_front().map(|held| held.segment)
    }

    fn mark(&mut self) -> io::Result<()> {
        let mark = GroupHeader {
            mark: true,
            payload_bytes: 0,
            payload_crc: 0,
            sequence: self.next.sequence,
            first_offset: self.next.offset,
            end_offset: self.next.offset,
            last_received_at: self.next.last_received_at,
            synced: self.next.offset,
        };
        let mut block = vec![0; BLOCK as usize];
        mark.encode(&self.active.header, &mut block);
        self.active.file.write_at(self.position, &block)?;
        self.marked = true;
        Ok(())
    }

    fn confirm_durably(&mut self) -> io::Result<()> {
        // Before the mark, for the mark says that everything before it is durable.
        self.active.file.fdatasync()?;
        self.mark()?;
        self.active.file.fdatasync()
    }
}

impl WalConfig {
    fn checked(mut self) -> Result<Self, LogError> {
        self.segment_bytes = self.segment_bytes.max(4 * BLOCK).next_multiple_of(BLOCK);
        let Self { segment_bytes, bytes_max, .. } = self;
        if bytes_max / 2 < segment_bytes {
            let why = format!("`bytes_max` is {bytes_max}: less than two segments of {segment_bytes} bytes");
            return Err(LogError::store("configuring the WAL", why));
        }
        Ok(self)
    }

    /// With a group in a segment of its own there is room for one more such segment.
    fn group_bytes_max(&self) -> u64 {
        GROUP_BYTES_MAX.min(self.bytes_max / 2 / BLOCK * BLOCK - 2 * BLOCK - GROUP_HEADER as u64)
    }
}

/// The partition of the directory. In a new one the first segment is made, then the file
/// `partition`, and only then can there be groups.
fn found(
    fs: &dyn WalFs,
    config: &WalConfig,
    scan: &mut Scan,
    spares: &mut Spares,
) -> io::Result<PartitionId> {
    if let Some(partition) = &scan.partition {
        return Ok(partition.clone());
    }
    if scan.segments.is_empty() {
        let header = SegmentHeader {
            partition: PartitionId(format!("{:016x}", fs.random()).into()),
            number: 1,
            salt: fs.random(),
            bytes: config.segment_bytes,
            first_offset: 0,
            first_sequence: 0,
            last_received_at: 0,
        };
        scan.add(spares.make(header)?);
    }
    let partition = scan.segments[0].held.segment.header.partition.clone();
    // The segment may have its name from a process that was killed before it synced it.
    fs.fsync_dir(&config.dir)?;
    write_partition(fs, &config.dir, &partition)?;
    Ok(partition)
}

fn write_partition(fs: &dyn WalFs, dir: &Path, partition: &PartitionId) -> io::Result<()> {
    let path = dir.join("partition.new");
    let file = fs.create(&path)?;
    file.write_at(0, scan::partition_text(partition).as_bytes())?;
    file.fdatasync()?;
    fs.rename(&path, &dir.join(scan::PARTITION))?;
    fs.fsync_dir(dir)
}

fn recovered(partition: PartitionId, scan: &Scan) -> Recovered {
    let first = scan.segments.first();
    Recovered {
        partition,
        first_offset: first.map_or(scan.end.offset, |first| first.held.segment.header.first_offset),
        end: scan.end.offset,
        last_received_at: scan.end.last_received_at,
        torn: scan.torn,
    }
}

#[cfg(test)]
mod tests;
