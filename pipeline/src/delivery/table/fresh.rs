//! Records that wait for their commit, as rows.

use super::rows::Rows;
use crate::delivery::journal::JournalReader;
use crate::log::table::TableKind;
use crate::log::{Fresh, LogError, PartitionId, blocking};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

/// So many records are turned into rows at once.
const CHUNK_RECORDS: usize = 4_096;

/// The records between what the table holds and the end of the journal at one moment. None at all
/// where there is no journal.
pub(super) struct FreshRecords {
    pub(super) journal: Option<(PartitionId, JournalReader)>,
    pub(super) records: u64,
}

impl Fresh for FreshRecords {
    fn batches(&self, kind: TableKind) -> BoxStream<'static, Result<RecordBatch, LogError>> {
        let journal = self.journal.clone().filter(|_| kind == TableKind::Deliveries);
        stream::unfold(journal, |journal| async move {
            let (id, mut reader) = journal?;
            let chunk = blocking(move || {
                let mut rows = Rows::new(id.clone());
                let mut count = 0;
                while count < CHUNK_RECORDS {
                    let Some(group) = reader.next_group()? else { break };
                    count += group.len();
                    group.iter().for_each(|(sequence, record)| rows.push(*sequence, record));
                }
                Ok(((count > 0).then_some((id, reader)), rows.finish()))
            });
            match chunk.await {
                Ok((next, batches)) => Some((stream::iter(batches.into_iter().map(Ok)).boxed(), next)),
                Err(error) => Some((stream::iter([Err(error)]).boxed(), None)),
            }
        })
        .flatten()
        .boxed()
    }

    fn records(&self) -> u64 {
        self.records
    }
}
