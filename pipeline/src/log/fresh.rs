//! Rows that wait for their commit, as Arrow batches.

use super::published::Pin;
use super::rows::Rows;
use super::table::TableKind;
use super::tail::Group;
use super::wal::WalReader;
use super::{Fresh, LogError, Offset, PartitionId, blocking};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::sync::Arc;

/// How much is turned into rows at once.
const CHUNK_BYTES: u64 = 4 << 20;

/// The rows between what each table holds and the end of the log at one moment.
pub(super) struct FreshRows {
    pub(super) partition: PartitionId,
    /// The first offset that each table does not hold.
    pub(super) bounds: [Offset; 3],
    pub(super) end: Offset,
    /// The groups, when all of them are in memory.
    pub(super) groups: Option<Arc<Vec<Arc<Group>>>>,
    /// The WAL, for when they are not.
    pub(super) wal: Option<WalReader>,
    pub(super) _pin: Option<Arc<Pin>>,
}

impl Fresh for FreshRows {
    fn batches(&self, kind: TableKind) -> BoxStream<'static, Result<RecordBatch, LogError>> {
        let rows = Self {
            partition: self.partition.clone(),
            bounds: self.bounds,
            end: self.end,
            groups: self.groups.clone(),
            wal: self.wal.clone(),
            _pin: self._pin.clone(),
        };
        let start = self.bounds[kind.index()];
        stream::unfold(Some((rows, start)), move |state| async move {
            let (rows, next) = state?;
            if next >= rows.end {
                return None;
            }
            match rows.chunk(kind, next).await {
                Ok((batches, position)) => {
                    Some((stream::iter(batches.into_iter().map(Ok)).boxed(), Some((rows, position))))
                }
                Err(error) => Some((stream::iter([Err(error)]).boxed(), None)),
            }
        })
        .flatten()
        .boxed()
    }

    fn records(&self) -> u64 {
        self.end - self.bounds.into_iter().min().unwrap_or(self.end).min(self.end)
    }
}

impl FreshRows {
    /// The rows of about [`CHUNK_BYTES`] of groups from `next` on, and where to go on.
    async fn chunk(&self, kind: TableKind, next: Offset) -> Result<(Vec<RecordBatch>, Offset), LogError> {
        let groups = match (&self.groups, &self.wal) {
            (Some(groups), _) => chunk_of(groups, next),
            (None, Some(wal)) => {
                let wal = wal.clone();
                blocking(move || super::groups_of_wal(&wal, next, CHUNK_BYTES)).await?.unwrap_or_default()
            }
            (None, None) => Vec::new(),
        };
        // Nothing of the other tables: no offset lies behind the last one.
        let after =
            TableKind::ALL.map(|other| if other == kind { next.checked_sub(1) } else { Some(Offset::MAX) });
        let mut rows = Rows::after(self.partition.clone(), after);
        let mut position = next;
        for group in groups {
            for frame in group.frames() {
                let frame = frame?;
                if frame.offset < self.end {
                    rows.push(&frame).map_err(|error| LogError::Damaged(error.to_string()))?;
                }
            }
            position = group.end;
        }
        if position == next {
            return Err(LogError::Damaged(format!("offset {next} is neither in memory nor in the WAL")));
        }
        Ok((rows.finish().get(kind).to_vec(), position))
    }
}

fn chunk_of(groups: &[Arc<Group>], next: Offset) -> Vec<Arc<Group>> {
    let start = groups.partition_point(|group| group.end <= next);
    let mut bytes = 0;
    let enough = |group: &&Arc<Group>| {
        let take = bytes < CHUNK_BYTES;
        bytes += group.payload.len() as u64;
        take
    };
    groups[start..].iter().take_while(enough).map(Arc::clone).collect()
}
