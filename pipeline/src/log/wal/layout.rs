//! The bytes of a segment: a header block, then groups, each beginning at a block of its own.
//!
//! All numbers are little-endian.
//!
//! Segment header, one block, zeros behind its fields: magic `FLOWWAL1` · partition (16 bytes) ·
//! number · salt · bytes · first offset · first sequence · last `received_at` (8 bytes each) ·
//! CRC-32C of all that (4).
//!
//! Group header, [`GROUP_HEADER`] bytes, the payload right behind it: magic (4) · version (2) ·
//! flags (2) · payload bytes (4) · CRC-32C of the payload (4) · segment number · sequence ·
//! first offset · end offset · last `received_at` · synced (8 each) · zero (4) · CRC-32C of all
//! that, begun from the segment's salt (4).
//!
//! The segment number names one use of one file, so it is the epoch that tells a recycled file's
//! old groups from its new ones. The salt is random and never leaves the file, so nobody can send
//! an event that looks like a group header.

use crate::Micros;
use crate::log::{Offset, PartitionId};
use crc32c::{crc32c, crc32c_append};

/// Headers and groups begin at multiples of this, so that writing one never touches a sector of
/// another.
pub(super) const BLOCK: u64 = 4096;
/// The bytes before a group's payload.
pub(super) const GROUP_HEADER: usize = 72;

const SEGMENT_MAGIC: &[u8; 8] = b"FLOWWAL1";
const SEGMENT_FIELDS: usize = 72;
const GROUP_MAGIC: &[u8; 4] = b"FwGr";
const GROUP_VERSION: u16 = 1;
const MARK: u16 = 1;

/// What the first block of a segment says. It is durable before the file gets the segment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) partition: PartitionId,
    /// Segments are numbered from 1 without a gap.
    pub(super) number: u64,
    pub(super) salt: u64,
    /// The size of the file.
    pub(super) bytes: u64,
    /// Where the segments before end; everything below was durable before this one was made.
    pub(super) first_offset: Offset,
    pub(super) first_sequence: u64,
    /// The last `received_at` below `first_offset`.
    pub(super) last_received_at: Micros,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK as usize);
        block.extend_from_slice(SEGMENT_MAGIC);
        block.extend_from_slice(self.partition.0.as_bytes());
        for field in [self.number, self.salt, self.bytes, self.first_offset, self.first_sequence] {
            block.extend_from_slice(&field.to_le_bytes());
        }
        block.extend_from_slice(&self.last_received_at.to_le_bytes());
        debug_assert_eq!(block.len(), SEGMENT_FIELDS, "a partition id has 16 bytes");
        block.extend_from_slice(&crc32c(&block).to_le_bytes());
        block.resize(BLOCK as usize, 0);
        block
    }

    /// `None` when the block is no header.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let fields = block.get(..SEGMENT_FIELDS)?;
        if !fields.starts_with(SEGMENT_MAGIC) || crc32c(fields) != u32_at(block, SEGMENT_FIELDS)? {
            return None;
        }
        let partition = std::str::from_utf8(&fields[8..24]).ok()?;
        Some(Self {
            partition: PartitionId(partition.into()),
            number: u64_at(fields, 24)?,
            salt: u64_at(fields, 32)?,
            bytes: u64_at(fields, 40)?,
            first_offset: u64_at(fields, 48)?,
            first_sequence: u64_at(fields, 56)?,
            last_received_at: u64_at(fields, 64)?.cast_signed(),
        })
    }

    fn seed(&self) -> u32 {
        crc32c(&self.salt.to_le_bytes())
    }
}

/// What stands before a group's payload. It is written only when everything before it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// Whether this is no group but a mark: it says that everything before it is durable, and the
    /// next group takes its place.
    pub(super) mark: bool,
    pub(super) payload_bytes: u32,
    pub(super) payload_crc: u32,
    /// Groups are numbered from 0 without a gap, through all segments.
    pub(super) sequence: u64,
    pub(super) first_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) last_received_at: Micros,
    /// Everything below was durable when this was written.
    pub(super) synced: Offset,
}

impl GroupHeader {
    /// Puts the header at the start of `out`, which is long enough.
    pub(super) fn encode(&self, segment: &SegmentHeader, out: &mut [u8]) {
        let flags = if self.mark { MARK } else { 0 };
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(GROUP_MAGIC);
        put(&GROUP_VERSION.to_le_bytes());
        put(&flags.to_le_bytes());
        put(&self.payload_bytes.to_le_bytes());
        put(&self.payload_crc.to_le_bytes());
        for field in [segment.number, self.sequence, self.first_offset, self.end_offset] {
            put(&field.to_le_bytes());
        }
        put(&self.last_received_at.to_le_bytes());
        put(&self.synced.to_le_bytes());
        put(&[0; 4]);
        let crc = crc32c_append(segment.seed(), &out[..GROUP_HEADER - 4]);
        out[GROUP_HEADER - 4..GROUP_HEADER].copy_from_slice(&crc.to_le_bytes());
    }

    /// `None` when the bytes are no group header of this use of the segment.
    pub(super) fn decode(segment: &SegmentHeader, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..GROUP_HEADER)?;
        let known = bytes.starts_with(GROUP_MAGIC) && u16_at(bytes, 4)? == GROUP_VERSION;
        if !known || u64_at(bytes, 16)? != segment.number {
            return None;
        }
        let crc = crc32c_append(segment.seed(), &bytes[..GROUP_HEADER - 4]);
        if crc != u32_at(bytes, GROUP_HEADER - 4)? {
            return None;
        }
        Some(Self {
            mark: u16_at(bytes, 6)? & MARK != 0,
            payload_bytes: u32_at(bytes, 8)?,
            payload_crc: u32_at(bytes, 12)?,
            sequence: u64_at(bytes, 24)?,
            first_offset: u64_at(bytes, 32)?,
            end_offset: u64_at(bytes, 40)?,
            last_received_at: u64_at(bytes, 48)?.cast_signed(),
            synced: u64_at(bytes, 56)?,
        })
    }

    /// Whether this looks like a header of this use of the file that was not wholly written.
    pub(super) fn is_torn(segment: &SegmentHeader, bytes: &[u8]) -> bool {
        bytes.starts_with(GROUP_MAGIC) && u64_at(bytes, 16) == Some(segment.number)
    }

    /// The bytes the group takes in the file.
    pub(super) fn padded(&self) -> u64 {
        padded(self.payload_bytes as usize)
    }
}

/// The bytes a group with such a payload takes in the file.
pub(super) fn padded(payload_bytes: usize) -> u64 {
    ((GROUP_HEADER + payload_bytes) as u64).next_multiple_of(BLOCK)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
