//! The bytes of an object: a header, then the frames of a group.
//!
//! All numbers are little-endian: magic `FLOWOBJ1` · kind (1) · zeros (7) · partition (16) · n ·
//! first offset · end offset · last `received_at` · payload bytes (8 each) · CRC-32C of the payload
//! (4) · CRC-32C of all that (4). The last digit of the magic is the version of the format.

use crate::Micros;
use crate::log::{Offset, PartitionId};

const MAGIC: &[u8; 8] = b"FLOWOBJ1";

/// The bytes of a header.
pub(crate) const HEADER: usize = 80;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A group of the WAL.
    Group,
    /// The end of the partition: it was taken over, and its owner must not go on.
    Sealed,
    /// The end of the objects: the node keeps its records on its own disk from here on.
    Local,
    /// The end of a partition whose node kept its records on its own disk and is gone: a backup was restored.
    /// Should the disk turn up after all, what it holds behind the tables was acknowledged.
    Ended,
}

impl Kind {
    /// Whether the partition's own node must not go on.
    pub(crate) fn is_end(self) -> bool {
        matches!(self, Self::Sealed | Self::Ended)
    }
}

/// What an object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) partition: PartitionId,
    /// Its number in the partition.
    pub(crate) n: u64,
    pub(crate) first_offset: Offset,
    /// The offset behind its last record; without records, `first_offset`.
    pub(crate) end_offset: Offset,
    /// The `received_at` of its last record.
    pub(crate) last_received_at: Micros,
    pub(crate) payload_bytes: u64,
    pub(crate) payload_crc: u32,
}

impl Header {
    /// An object without records, which ends a partition's objects at an offset.
    pub(crate) fn end(kind: Kind, partition: PartitionId, n: u64, at: Offset) -> Self {
        Self {
            kind,
            partition,
            n,
            first_offset: at,
            end_offset: at,
            last_received_at: 0,
            payload_bytes: 0,
            payload_crc: crc32c::crc32c(&[]),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.push(match self.kind {
            Kind::Group => 0,
            Kind::Sealed => 1,
            Kind::Local => 2,
            Kind::Ended => 3,
        });
        bytes.resize(16, 0);
        bytes.extend_from_slice(self.partition.0.as_bytes());
        bytes.resize(32, 0);
        for number in [self.n, self.first_offset, self.end_offset] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.last_received_at.to_le_bytes());
        bytes.extend_from_slice(&self.payload_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.payload_crc.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The header at the start of an object, or what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes = bytes.get(..HEADER).ok_or("it ends within its header")?;
        if &bytes[..8] != MAGIC {
            let ours = bytes.starts_with(&MAGIC[..7]);
            return Err(if ours { "its format is of a newer version" } else { "it is none of ours" });
        }
        let word = |at: usize| -> [u8; 8] { bytes[at..at + 8].try_into().expect("eight bytes") };
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if half(76) != crc32c::crc32c(&bytes[..76]) {
            return Err("the checksum of its header does not match");
        }
        let kind = match bytes[8] {
            0 => Kind::Group,
            1 => Kind::Sealed,
            2 => Kind::Local,
            3 => Kind::Ended,
            _ => return Err("it is of an unknown kind"),
        };
        let partition = std::str::from_utf8(&bytes[16..32]).map_err(|_| "it names no partition")?;
        Ok(Self {
            kind,
            partition: PartitionId(partition.into()),
            n: u64::from_le_bytes(word(32)),
            first_offset: u64::from_le_bytes(word(40)),
            end_offset: u64::from_le_bytes(word(48)),
            last_received_at: i64::from_le_bytes(word(56)),
            payload_bytes: u64::from_le_bytes(word(64)),
            payload_crc: half(72),
        })
    }

    /// Whether the payload is the one that belongs here, or what is wrong with it.
    pub(crate) fn check(&self, payload: &[u8]) -> Result<(), &'static str> {
        if payload.len() as u64 != self.payload_bytes {
            return Err("it is not as long as its header says");
        }
        if crc32c::crc32c(payload) != self.payload_crc {
            return Err("the checksum of its records does not match");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_no_bit_of_it_may_change() {
        let header = Header {
            first_offset: 7,
            end_offset: 12,
            last_received_at: -5,
            payload_bytes: 3,
            payload_crc: crc32c::crc32c(b"abc"),
            ..Header::end(Kind::Group, PartitionId("0123456789abcdef".into()), 3, 0)
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(Header::decode(&bytes), Ok(header.clone()));
        assert_eq!(header.check(b"abc"), Ok(()));
        assert!(header.check(b"abx").is_err() && header.check(b"ab").is_err());
        for bit in 0..HEADER * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bytes).is_err(), "bit {bit}");
        }
        for length in 0..HEADER {
            assert!(Header::decode(&bytes[..length]).is_err(), "{length}");
        }
    }
}
