//! Reads groups back while the writer goes on.

use super::Damage;
use super::layout::{BLOCK, GROUP_HEADER, SegmentHeader};
use super::segment::{Found, Index, Segment};
use crate::Micros;
use crate::log::{LogError, Offset};
use bytes::Bytes;
use std::sync::Arc;

/// Reads durable groups in offset order. Clones share the list of segments with the writer.
///
/// A segment's file stays whole while a read of it is under way: it is not recycled then.
#[derive(Clone)]
pub struct WalReader {
    index: Arc<Index>,
}

/// One group as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupData {
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset behind its last record.
    pub end_offset: Offset,
    /// The `received_at` of its last record.
    pub last_received_at: Micros,
    /// The frames, one behind the other.
    pub payload: Bytes,
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The WAL no longer holds the offset; its records are in the tables.
    #[error("offset {offset} was released from the write-ahead log, which begins at {first_offset}")]
    Released {
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset that is held.
        first_offset: Offset,
    },
    /// The disk failed, or what it gave is not what was written.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl WalReader {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self { index }
    }

    /// The groups from the one that holds `offset` on, whole, until their payloads reach
    /// `bytes_max`; at least one if there is one, none when `offset` is not written yet.
    ///
    /// # Errors
    /// [`ReadError::Released`] when the offset is no longer held: read the tables.
    /// [`LogError::Damaged`] and [`LogError::Store`] when the disk failed.
    pub fn read_from(&self, offset: Offset, bytes_max: usize) -> Result<Vec<GroupData>, ReadError> {
        let mut groups = Vec::new();
        let (mut next, mut left) = (offset, bytes_max);
        while let Some((segment, range)) = self.find(next)? {
            let mut position = range.start;
            while position < range.end {
                let (group, bytes) = self.read(&segment, position, next)?;
                position += bytes;
                if group.end_offset <= next {
                    continue;
                }
                if !groups.is_empty() && group.payload.len() > left {
                    return Ok(groups);
                }
                left = left.saturating_sub(group.payload.len());
                next = group.end_offset;
                groups.push(group);
                if left == 0 {
                    return Ok(groups);
                }
            }
        }
        Ok(groups)
    }

    /// The first offset that is held.
    pub fn first_offset(&self) -> Offset {
        self.index.lock().first_offset()
    }

    /// The offset behind the last durable group.
    pub fn end(&self) -> Offset {
        self.index.lock().end
    }

    /// The segment that holds `offset` and which part of it to read, or `None` at the end.
    fn find(&self, offset: Offset) -> Result<Option<(Arc<Segment>, std::ops::Range<u64>)>, ReadError> {
        let held = self.index.lock();
        if offset >= held.end {
            return Ok(None);
        }
        let after = held.segments.partition_point(|held| held.segment.header.first_offset <= offset);
        let Some(found) = after.checked_sub(1).map(|index| &held.segments[index]) else {
            return Err(ReadError::Released { offset, first_offset: held.first_offset() });
        };
        Ok(Some((Arc::clone(&found.segment), found.near(offset)..found.position)))
    }

    fn read(&self, segment: &Segment, position: u64, next: Offset) -> Result<(GroupData, u64), ReadError> {
        let failed = |error| LogError::store(format!("reading segment {}", segment.header.number), error);
        let mut bytes = Vec::new();
        match segment.read(position, &mut bytes).map_err(failed)? {
            Found::Group(group) if !group.mark => Ok((
                GroupData {
                    first_offset: group.first_offset,
                    end_offset: group.end_offset,
                    last_received_at: group.last_received_at,
                    payload: Bytes::from(bytes).slice(GROUP_HEADER..),
                },
                group.padded(),
            )),
            _ => {
                // After this WAL was closed another process may have taken the file for a new use.
                let mut block = vec![0; BLOCK as usize];
                segment.file.read_at(0, &mut block).map_err(failed)?;
                let header = SegmentHeader::decode(&block);
                if header.is_some_and(|header| header.number > segment.header.number) {
                    return Err(ReadError::Released { offset: next, first_offset: self.first_offset() });
                }
                let what = "a group that was durable cannot be read";
                let number = segment.header.number;
                let damage = Damage { segment: number, position, first_offset: next, end_offset: None, what };
                Err(LogError::Damaged(damage.to_string()).into())
            }
        }
    }
}
