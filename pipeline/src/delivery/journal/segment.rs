//! One segment file, and the list of all that are held.

use super::layout::{BLOCK, GROUP_BYTES_MAX, GROUP_HEADER, GroupHeader, SegmentHeader};
use crate::log::wal::fs::WalFile;
use std::io;
use std::sync::Arc;

/// A segment whose header is known.
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn WalFile>,
}

/// What the journal holds at one moment. The files stay readable while this lives, even when their
/// names are gone.
#[derive(Clone)]
pub(super) struct Held {
    /// In order, without a gap; never empty.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The sequence number behind the last durable record.
    pub(super) end: u64,
}

impl Held {
    /// The first sequence number that is held.
    pub(super) fn first(&self) -> u64 {
        self.segments.first().map_or(self.end, |segment| segment.header.first)
    }
}

impl Segment {
    /// The header of the group at a position, where a whole group is; its records go into `into`.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn read(&self, position: u64, into: &mut Vec<u8>) -> io::Result<Option<GroupHeader>> {
        let Some(header) = self.header_at(position)? else { return Ok(None) };
        if header.bytes as usize > GROUP_BYTES_MAX {
            return Ok(None);
        }
        into.resize(header.bytes as usize, 0);
        let read = self.file.read_at(position + GROUP_HEADER as u64, into)?;
        let whole = read == into.len() && crc32c::crc32c(into) == header.crc;
        Ok(whole.then_some(header))
    }

    /// The header of the group at a position, whether its records can be read or not.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn header_at(&self, position: u64) -> io::Result<Option<GroupHeader>> {
        let mut header = [0; GROUP_HEADER];
        self.file.read_at(position, &mut header)?;
        Ok(GroupHeader::decode(self.header.salt, &header))
    }

    /// Where the group that holds `sequence` begins, or the one before the damage that hides it.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn find(&self, sequence: u64) -> io::Result<u64> {
        let mut position = BLOCK;
        while let Some(group) = self.header_at(position)?.filter(|group| group.end() <= sequence) {
            position += group.padded();
        }
        Ok(position)
    }
}
