//! The bytes of a run.
//!
//! ```text
//! run     = segment* directory footer
//! segment = block* page                       the ids of one even share of the hashes
//! block   = entry* crc32c                     sorted by hash, then key
//! entry   = hash received_at offset length(4) key
//! page    = filter (first hash, position)* crc32c
//! directory = (page position, page length)*   one for each segment
//! footer  = magic from to ids segments received_min received_max directory crc32c crc32c
//! ```
//! Numbers are little-endian and take eight bytes unless said otherwise; each CRC-32C covers what
//! stands before it in its part, the footer's two the directory and the footer.

use super::{Entry, Micros, Offset};
use std::ops::Range;

const MAGIC: [u8; 8] = *b"FLDEDUP1";
const HEAD_BYTES: usize = 28;
/// The size of a footer.
pub(super) const FOOTER_BYTES: usize = 72;
/// The size of one place in the directory.
pub(super) const PLACE_BYTES: usize = 16;

/// What a run says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// The offsets it covers: the ids of all of them that were in the window lie here.
    pub(super) offsets: Range<Offset>,
    /// How many ids it holds.
    pub(super) ids: u64,
    pub(super) segments: u64,
    /// The least and the greatest `received_at`; `MAX` and `MIN` when it is empty.
    pub(super) received: (Micros, Micros),
    /// Where the directory begins.
    pub(super) directory: u64,
    pub(super) directory_crc: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&MAGIC);
        for number in [self.offsets.start, self.offsets.end, self.ids, self.segments] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.received.0.to_le_bytes());
        out.extend_from_slice(&self.received.1.to_le_bytes());
        out.extend_from_slice(&self.directory.to_le_bytes());
        out.extend_from_slice(&self.directory_crc.to_le_bytes());
        seal(&mut out, 0);
        out
    }

    /// `None` when the bytes are no footer of this format, or damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = unseal(bytes)?;
        if take(&mut input)? != MAGIC {
            return None;
        }
        let offsets = number(&mut input)?..number(&mut input)?;
        Some(Self {
            offsets,
            ids: number(&mut input)?,
            segments: number(&mut input)?,
            received: (i64::from_le_bytes(take(&mut input)?), i64::from_le_bytes(take(&mut input)?)),
            directory: number(&mut input)?,
            directory_crc: u32::from_le_bytes(take(&mut input)?),
        })
    }
}

/// Appends the checksum of what was written to `out` from `start` on.
pub(super) fn seal(out: &mut Vec<u8>, start: usize) {
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// What stands before the checksum at the end, if it holds.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (bytes, crc) = bytes.split_last_chunk()?;
    (crc32c::crc32c(bytes) == u32::from_le_bytes(*crc)).then_some(bytes)
}

impl<'a> Entry<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.received_at.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        let length = u32::try_from(self.key.len()).expect("a message id is shorter than 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(self.key);
    }

    /// The bytes it takes in a block.
    pub(super) fn bytes(&self) -> usize {
        HEAD_BYTES + self.key.len()
    }

    /// Reads the entry at the start of `input` and moves `input` behind it.
    pub(super) fn decode(input: &mut &'a [u8]) -> Option<Self> {
        let hash = number(input)?;
        let received_at = i64::from_le_bytes(take(input)?);
        let offset = number(input)?;
        let length = u32::from_le_bytes(take(input)?) as usize;
        let (key, rest) = input.split_at_checked(length)?;
        *input = rest;
        Some(Self { hash, received_at, offset, key })
    }
}

/// The next eight bytes as a number.
pub(super) fn number(input: &mut &[u8]) -> Option<u64> {
    take(input).map(u64::from_le_bytes)
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*bytes)
}
