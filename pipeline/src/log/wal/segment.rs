//! One segment file, and the list of those that are held, which writer and readers share.

use super::fs::WalFile;
use super::layout::{BLOCK, GROUP_HEADER, GroupHeader, SegmentHeader};
use super::scan::Scan;
use crate::log::Offset;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A landmark is kept for each stretch of this many bytes: about 16 KB of them for 64 MiB.
const LANDMARK_BYTES: u64 = 64 << 10;
const CHUNK_BYTES: usize = 1 << 20;

pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn WalFile>,
}

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole group or a mark.
    Group(GroupHeader),
    /// A group whose payload is not what was written.
    Broken(GroupHeader),
    /// The beginning of a group header.
    Torn,
    /// Zeros, or anything that an earlier use of the file left.
    Nothing,
}

impl Segment {
    /// Reads what stands at `position`; a group's bytes, header and payload, are then in `bytes`.
    pub(super) fn read(&self, position: u64, bytes: &mut Vec<u8>) -> io::Result<Found> {
        bytes.clear();
        bytes.resize(BLOCK as usize, 0);
        self.file.read_at(position, bytes)?;
        let Some(header) = GroupHeader::decode(&self.header, bytes) else {
            let torn = GroupHeader::is_torn(&self.header, bytes);
            return Ok(if torn { Found::Torn } else { Found::Nothing });
        };
        if position + header.padded() > self.header.bytes {
            return Ok(Found::Broken(header));
        }
        bytes.resize(GROUP_HEADER + header.payload_bytes as usize, 0);
        if let Some(rest) = bytes.get_mut(BLOCK as usize..) {
            self.file.read_at(position + BLOCK, rest)?;
        }
        let whole = crc32c::crc32c(&bytes[GROUP_HEADER..]) == header.payload_crc;
        Ok(if whole { Found::Group(header) } else { Found::Broken(header) })
    }

    /// The first group header at or behind `position`, whether or not its payload is whole.
    pub(super) fn next_header(&self, mut position: u64) -> io::Result<Option<(u64, GroupHeader)>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while position < self.header.bytes {
            let read = self.file.read_at(position, &mut chunk)?;
            for (index, block) in chunk[..read].chunks(BLOCK as usize).enumerate() {
                if let Some(header) = GroupHeader::decode(&self.header, block) {
                    return Ok(Some((position + index as u64 * BLOCK, header)));
                }
            }
            if read < chunk.len() {
                break;
            }
            position += read as u64;
        }
        Ok(None)
    }
}

/// The segments that are held, oldest first, and how far they are durable.
pub(super) struct Index(Mutex<Held>);

pub(super) struct Held {
    pub(super) segments: VecDeque<HeldSegment>,
    /// The offset behind the last durable group.
    pub(super) end: Offset,
}

pub(super) struct HeldSegment {
    pub(super) segment: Arc<Segment>,
    /// Where the next group will stand; below it everything is durable.
    pub(super) position: u64,
    /// First offsets of some groups and where they stand, ascending.
    landmarks: Vec<(Offset, u64)>,
}

impl Index {
    pub(super) fn of(scan: Scan) -> Self {
        let segments = scan.segments.into_iter().map(|scanned| scanned.held).collect();
        Self(Mutex::new(Held { segments, end: scan.end.offset }))
    }

    /// Held only while the list is read or changed, never while a file is.
    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        // The list is changed in single steps, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(super) fn first_offset(&self) -> Offset {
        self.segments.front().map_or(self.end, |held| held.segment.header.first_offset)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|held| held.segment.header.bytes).sum()
    }
}

impl HeldSegment {
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        Self { segment, position: BLOCK, landmarks: Vec::new() }
    }

    /// Takes note of a durable group at the end.
    pub(super) fn push(&mut self, group: &GroupHeader) {
        let near = self.landmarks.last().map_or(BLOCK, |landmark| landmark.1);
        if self.position >= near + LANDMARK_BYTES {
            self.landmarks.push((group.first_offset, self.position));
        }
        self.position += group.padded();
    }

    /// A position at or before the group that holds `offset`.
    pub(super) fn near(&self, offset: Offset) -> u64 {
        let after = self.landmarks.partition_point(|landmark| landmark.0 <= offset);
        after.checked_sub(1).map_or(BLOCK, |index| self.landmarks[index].1)
    }
}
