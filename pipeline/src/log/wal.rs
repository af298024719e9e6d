//! The write-ahead log: groups of frames, each durable before its append returns, in pre-written
//! and recycled segment files on local disk.
//!
//! One thread owns a [`Wal`]; the queue before it, deduplication and whoever waits are not here.
//! What the bytes are stands in `layout`, how damage is told from a torn tail in `scan`.
//!
//! The directory holds `lock`, `partition` (format version and partition id), segments
//! `0000000000000001.wal` and on, recycled files `*.spare`, and unfinished ones `*.new`.

pub mod crash_fs;
pub mod fs;
mod inspect;
mod layout;
mod open;
mod reader;
mod scan;
mod segment;
mod spares;
mod writer;

pub use inspect::{Held, Inspection, SegmentReport, inspect, partition, read_only};
pub use reader::{GroupData, WalReader};
pub use writer::{GROUP_BYTES_MAX, Wal};

use super::{Offset, PartitionId};
use crate::Micros;
use std::io;
use std::path::PathBuf;

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

#[cfg(test)]
mod tests;
