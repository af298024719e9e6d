//! Reads groups back while the writer goes on.

use super::Damage;
use super::layout::{BLOCK, GROUP_HEADER, SegmentHeader};
use super::segment::{Found, Index, Segment};
use crate::Micros;
use crate::log::{LogError, Offset};
use bytes::Bytes;
use std::ops::Range;
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

impl WalReader {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self { index }
    }

    /// The groups from the one that holds `offset` on, whole, until their payloads reach
    /// `bytes_max`; at least one if there is one, none when `offset` is not written yet.
    /// `None` when the offset was released: its records are in the tables.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when what was written cannot be read; [`LogError::Store`] when the
    /// disk failed.
    pub fn read_from(&self, offset: Offset, bytes_max: u64) -> Result<Option<Vec<GroupData>>, LogError> {
        let mut groups = Vec::new();
        let (mut next, mut bytes) = (offset, 0);
        loop {
            let (segment, range) = match self.find(next) {
                Place::In(segment, range) => (segment, range),
                Place::Ahead => return Ok(Some(groups)),
                Place::Released => return Ok((!groups.is_empty()).then_some(groups)),
            };
            let mut position = range.start;
            while position < range.end {
                let Some((group, padded)) = read(&segment, position, next)? else {
                    return Ok((!groups.is_empty()).then_some(groups));
                };
                position += padded;
                if group.end_offset <= next {
                    continue;
                }
                bytes += group.payload.len() as u64;
                if !groups.is_empty() && bytes > bytes_max {
                    return Ok(Some(groups));
                }
                next = group.end_offset;
                groups.push(group);
                if bytes >= bytes_max {
                    return Ok(Some(groups));
                }
            }
        }
    }

    /// The first offset that is held.
    pub fn first_offset(&self) -> Offset {
        self.index.lock().first_offset()
    }

    /// The offset behind the last durable group.
    pub fn end(&self) -> Offset {
        self.index.lock().end
    }

    fn find(&self, offset: Offset) -> Place {
        let held = self.index.lock();
        if offset >= held.end {
            return Place::Ahead;
        }
        let after = held.segments.partition_point(|held| held.segment.header.first_offset <= offset);
        match after.checked_sub(1).map(|index| &held.segments[index]) {
            Some(held) => Place::In(Arc::clone(&held.segment), held.near(offset)..held.position),
            None => Place::Released,
        }
    }
}

/// Where an offset lies.
enum Place {
    /// In this part of the segment.
    In(Arc<Segment>, Range<u64>),
    /// It is not written yet.
    Ahead,
    Released,
}

/// The group at `position` and the bytes it takes; `None` when the file has a new use.
fn read(segment: &Segment, position: u64, next: Offset) -> Result<Option<(GroupData, u64)>, LogError> {
    let number = segment.header.number;
    let failed = |error| LogError::store(format!("reading segment {number} of the WAL"), error);
    let mut bytes = Vec::new();
    if let Found::Group(group) = segment.read(position, &mut bytes).map_err(failed)? {
        let data = GroupData {
            first_offset: group.first_offset,
            end_offset: group.end_offset,
            last_received_at: group.last_received_at,
            payload: Bytes::from(bytes).slice(GROUP_HEADER..),
        };
        return Ok(Some((data, group.padded())));
    }
    // Behind the back of a reader that outlives its WAL, the next process may recycle the file.
    let mut block = vec![0; BLOCK as usize];
    segment.file.read_at(0, &mut block).map_err(failed)?;
    if SegmentHeader::decode(&block).is_some_and(|header| header.number > number) {
        return Ok(None);
    }
    let (first_offset, what) = (next, "a group that was durable cannot be read");
    let damage = Damage { segment: number, position, first_offset, end_offset: None, what };
    Err(LogError::Damaged(damage.to_string()))
}

#[cfg(test)]
impl WalReader {
    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.index.lock().segments.iter().map(|held| Arc::clone(&held.segment)).collect()
    }
}
