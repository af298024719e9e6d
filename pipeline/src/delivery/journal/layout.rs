//! The bytes of a segment: a header block, then groups, each beginning at a block of its own.
//!
//! All numbers are little-endian. Segment header: magic `FLOWDLV1` · id of the journal (16 bytes) ·
//! number · first sequence number · salt (8 bytes each) · CRC-32C of all that (4), zeros up to the end
//! of the block.
//!
//! Group header, [`GROUP_HEADER`] bytes, the records right behind it: magic (4) · version (2) ·
//! zero (2) · bytes of the records (4) · how many records (4) · CRC-32C of the records (4) ·
//! first sequence number (8) · CRC-32C of all that, begun from the segment's salt (4).
//! Each record is its length, a varint, and its bytes.
//!
//! The salt is random and never leaves the file, so no vendor can send an answer that looks like a
//! group.

use super::super::Record;
use super::super::codec::{self, Bytes};
use crate::log::PartitionId;
use crc32c::{crc32c, crc32c_append};

/// Headers and groups begin at multiples of this, so that writing one never touches a sector of
/// another.
pub(super) const BLOCK: u64 = 4096;
/// The bytes before a group's records.
pub(super) const GROUP_HEADER: usize = 32;
/// No group has more bytes of records.
pub(super) const GROUP_BYTES_MAX: usize = 128 << 20;

const SEGMENT_MAGIC: &[u8; 8] = b"FLOWDLV1";
const SEGMENT_FIELDS: usize = 48;
const GROUP_MAGIC: &[u8; 4] = b"FwDl";
const GROUP_VERSION: u16 = 1;

/// What the first block of a segment says. It is durable before the file gets the segment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The id of the journal: 16 characters.
    pub(super) journal: PartitionId,
    /// Segments are numbered without a gap.
    pub(super) number: u64,
    /// Everything below was durable before this segment was made.
    pub(super) first: u64,
    pub(super) salt: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = SEGMENT_MAGIC.to_vec();
        block.extend_from_slice(self.journal.0.as_bytes());
        for field in [self.number, self.first, self.salt] {
            block.extend_from_slice(&field.to_le_bytes());
        }
        debug_assert_eq!(block.len(), SEGMENT_FIELDS, "the id of a journal has 16 bytes");
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
        Some(Self {
            journal: PartitionId(std::str::from_utf8(&fields[8..24]).ok()?.into()),
            number: u64_at(fields, 24)?,
            first: u64_at(fields, 32)?,
            salt: u64_at(fields, 40)?,
        })
    }
}

/// What stands before a group's records. It is written only when everything before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) bytes: u32,
    pub(super) records: u32,
    pub(super) crc: u32,
    /// The sequence number of the first record.
    pub(super) first: u64,
}

impl GroupHeader {
    /// Puts the header at the start of `out`, which is long enough.
    pub(super) fn encode(&self, salt: u64, out: &mut [u8]) {
        let mut header = GROUP_MAGIC.to_vec();
        header.extend_from_slice(&GROUP_VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 2]);
        for field in [self.bytes, self.records, self.crc] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        header.extend_from_slice(&self.first.to_le_bytes());
        header.extend_from_slice(&crc32c_append(seed(salt), &header).to_le_bytes());
        out[..GROUP_HEADER].copy_from_slice(&header);
    }

    /// `None` when the bytes are no header of this segment.
    pub(super) fn decode(salt: u64, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..GROUP_HEADER)?;
        let fields = &bytes[..GROUP_HEADER - 4];
        let known = fields.starts_with(GROUP_MAGIC) && fields[4..6] == GROUP_VERSION.to_le_bytes();
        if !known || crc32c_append(seed(salt), fields) != u32_at(bytes, GROUP_HEADER - 4)? {
            return None;
        }
        Some(Self {
            bytes: u32_at(bytes, 8)?,
            records: u32_at(bytes, 12)?,
            crc: u32_at(bytes, 16)?,
            first: u64_at(bytes, 20)?,
        })
    }

    /// The sequence number behind the last record.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.records)
    }

    /// The bytes the group takes in the file.
    pub(super) fn padded(&self) -> u64 {
        (GROUP_HEADER as u64 + u64::from(self.bytes)).next_multiple_of(BLOCK)
    }
}

/// Appends a record and its length.
pub(super) fn put_record(record: &Record, out: &mut Vec<u8>) {
    let mut bytes = Vec::with_capacity(256);
    codec::encode(record, &mut bytes);
    codec::put(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

/// The records of a group, each with its sequence number.
pub(super) fn records(header: &GroupHeader, bytes: &[u8]) -> Result<Vec<(u64, Record)>, codec::CodecError> {
    let mut from = Bytes(bytes);
    let mut records = Vec::new();
    for sequence in header.first..header.end() {
        let length = from.number()?;
        records.push((sequence, codec::decode(from.take(length)?)?));
    }
    Ok(records)
}

fn seed(salt: u64) -> u32 {
    crc32c(&salt.to_le_bytes())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
