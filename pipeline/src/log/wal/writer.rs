//! Appending: one `pwrite` and one `fdatasync` for each group.

use super::fs::Lock;
use super::layout::{BLOCK, GROUP_HEADER, GroupHeader, SegmentHeader, padded};
use super::scan::Position;
use super::segment::{HeldSegment, Index, Segment};
use super::spares::{Spares, Unmade};
use super::{Group, WalConfig, WalError, WalReader};
use crate::log::Offset;
use std::io;
use std::sync::Arc;

/// No group's payload is larger, whatever the configuration.
pub const GROUP_BYTES_MAX: u64 = 64 << 20;

/// The write-ahead log of one node, open for appending.
///
/// - When [`Wal::append`] returns, the group survives a crash and loss of power.
/// - After a crash a group is there whole or not at all, and all groups before it are there.
/// - What was appended is read back once, in order, until it is released. A recycled file's former
///   groups are never seen again.
/// - After a failed write or fsync nothing more is taken: what is on disk is then unknown, and a
///   second fsync may claim success for what the first one lost.
pub struct Wal {
    pub(super) spares: Spares,
    pub(super) config: WalConfig,
    pub(super) index: Arc<Index>,
    pub(super) active: Arc<Segment>,
    /// Where the next group goes in the active segment.
    pub(super) position: u64,
    pub(super) next: Position,
    pub(super) buffer: Vec<u8>,
    pub(super) marked: bool,
    /// The last group, while readers do not see it.
    pub(super) hidden: Option<GroupHeader>,
    pub(super) failed: bool,
    pub(super) _lock: Lock,
}

impl Wal {
    /// Appends a group; it is durable when this returns.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn append(&mut self, group: &Group<'_>) -> Result<(), WalError> {
        self.write(group)?;
        self.show();
        Ok(())
    }

    /// Appends a group that readers do not see before [`Wal::show`]; it is durable when this returns.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn write(&mut self, group: &Group<'_>) -> Result<(), WalError> {
        self.show();
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
        self.hidden = Some(header);
        self.prepare();
        Ok(())
    }

    /// Shows readers what was written last.
    pub fn show(&mut self) {
        if let Some(header) = self.hidden.take() {
            self.publish(&header);
        }
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

    pub(super) fn usable(&self) -> Result<(), WalError> {
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
            Err(Unmade::NoSpace) => return Err(WalError::Full { used, max, disk_full: true }),
            Err(Unmade::Failed(error)) => return Err(self.fail(error)),
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

    pub(super) fn confirm_durably(&mut self) -> io::Result<()> {
        // Before the mark, for the mark says that everything before it is durable.
        self.active.file.fdatasync()?;
        self.mark()?;
        self.active.file.fdatasync()
    }
}

impl WalConfig {
    /// With a group in a segment of its own there is room for one more such segment.
    fn group_bytes_max(&self) -> u64 {
        GROUP_BYTES_MAX.min(self.bytes_max / 2 / BLOCK * BLOCK - 2 * BLOCK - GROUP_HEADER as u64)
    }
}
