//! Reads records back while the journal goes on.

use super::JournalError;
use super::layout::{BLOCK, records};
use super::segment::{Held, Segment};
use crate::delivery::Record;
use std::sync::Arc;

/// The durable records of the journal, from one on and as of one moment, group by group.
///
/// Reading blocks on the disk: call it where that is no harm. What it reads stays readable, whatever
/// is released meanwhile.
#[derive(Clone)]
pub struct JournalReader {
    held: Held,
    next: u64,
    at: Option<(Arc<Segment>, u64)>,
    bytes: Vec<u8>,
}

impl JournalReader {
    pub(super) fn new(held: Held, from: u64) -> Self {
        Self { held, next: from, at: None, bytes: Vec::new() }
    }

    /// The same moment, read from another record on.
    pub(crate) fn starting_at(self, from: u64) -> Self {
        Self::new(self.held, from)
    }

    /// The sequence number of the first record that is held.
    pub fn first(&self) -> u64 {
        self.held.first()
    }

    /// The sequence number of the last record that will be read.
    pub fn last(&self) -> u64 {
        self.held.end - 1
    }

    /// The next records with their sequence numbers, in order; `None` behind the last one.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when something durable cannot be read or was released;
    /// [`JournalError::Failed`] when the disk fails.
    pub fn next_group(&mut self) -> Result<Option<Vec<(u64, Record)>>, JournalError> {
        if self.next >= self.held.end {
            return Ok(None);
        }
        let (segment, position) = self.place()?;
        let damaged = |what: String| {
            JournalError::Damaged(format!("segment {}, byte {position}: {what}", segment.header.number))
        };
        let group = segment.read(position, &mut self.bytes)?;
        let group = group.filter(|group| (group.first..group.end()).contains(&self.next));
        let group = group.ok_or_else(|| damaged(format!("record {} cannot be read", self.next)))?;
        let mut records = records(&group, &self.bytes).map_err(|error| damaged(error.to_string()))?;
        records.drain(..(self.next - group.first) as usize);
        self.next = group.end();
        self.at = Some((segment, position + group.padded()));
        Ok(Some(records))
    }

    /// The segment and the place in it where the next group begins.
    fn place(&self) -> Result<(Arc<Segment>, u64), JournalError> {
        let after = self.held.segments.partition_point(|segment| segment.header.first <= self.next);
        let Some(segment) = after.checked_sub(1).map(|index| &self.held.segments[index]) else {
            return Err(JournalError::Damaged(format!(
                "record {} is missing; the first one is {}",
                self.next,
                self.held.first()
            )));
        };
        let position = match &self.at {
            Some((at, position)) if at.header.number == segment.header.number => *position,
            _ if segment.header.first == self.next => BLOCK,
            _ => segment.find(self.next)?,
        };
        Ok((Arc::clone(segment), position))
    }
}
