//! Appending rows.

use super::commit::Proposal;
use super::encode::{self, Effort, Encoded, Encoder};
use super::replay::{State, app_id};
use super::schema::RECEIVED_DATE;
use super::{Location, Table, TableKind};
use crate::Micros;
use crate::log::{LogError, Offset, PartitionId};
use arrow::array::AsArray;
use arrow::datatypes::Date32Type;
use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use std::collections::HashMap;

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableAppend {
    /// The rows are committed at this version. Without rows nothing was committed, and this is the
    /// version as it was.
    Committed {
        /// The Delta version.
        version: u64,
    },
    /// All of the rows had been committed before.
    Already,
    /// Some of the rows had been committed before, so none was now. Leave out the rows up to
    /// `committed` and append again.
    Overlaps {
        /// The last offset committed for the partition.
        committed: Offset,
    },
}

impl Table {
    /// Appends rows of one partition in offset order, and moves its cursor to `last_offset`, in one
    /// commit with one file for each day. Durable and visible to snapshots when it returns.
    ///
    /// Each batch has the table's schema and rows of one `received_date`. `last_offset` is that of
    /// the last frame's last record, which may lie in another table. Without batches nothing
    /// happens, and the cursor stays where it is.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails. Whether the commit stands may then be unknown; the
    /// same append again finds out and repeats nothing.
    pub async fn append(
        &self,
        partition: &PartitionId,
        batches: Vec<RecordBatch>,
        last_offset: Offset,
    ) -> Result<TableAppend, LogError> {
        let mut state = self.state.lock().await;
        let Some((first, _)) = batches.iter().find_map(encode::offsets) else {
            return Ok(TableAppend::Committed { version: state.version });
        };
        if let Some(refused) = refused(&state, partition, first, last_offset) {
            return Ok(refused);
        }
        let mut actions = Vec::new();
        for (date, batches) in by_date(self.kind(), batches)? {
            let kind = self.kind();
            if let Some(encoded) = blocking(move || encode(kind, &batches)).await? {
                let add = self.location.put(partition, date, encoded, true, self.clock.now()).await?;
                actions.push(Action::Add(add));
            }
        }
        let txn =
            i64::try_from(last_offset).map_err(|error| LogError::store("an offset is too large", error))?;
        let proposal = Proposal {
            operation: DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(vec![RECEIVED_DATE.to_owned()]),
                predicate: None,
            },
            actions,
            transaction: Some(Transaction::new_with_last_update(
                app_id(partition),
                txn,
                Some(self.clock.now() / 1_000),
            )),
        };
        let still = |state: &State| refused(state, partition, first, last_offset).is_none();
        if self.commit(&mut state, proposal, still).await? {
            return Ok(TableAppend::Committed { version: state.version });
        }
        Ok(refused(&state, partition, first, last_offset).unwrap_or(TableAppend::Already))
    }
}

fn refused(state: &State, partition: &PartitionId, first: Offset, last: Offset) -> Option<TableAppend> {
    let committed = *state.committed.get(partition)?;
    if last <= committed {
        return Some(TableAppend::Already);
    }
    (first <= committed).then_some(TableAppend::Overlaps { committed })
}

/// The batches by their day, in order.
fn by_date(kind: TableKind, batches: Vec<RecordBatch>) -> Result<Vec<(i32, Vec<RecordBatch>)>, LogError> {
    let mut days: Vec<(i32, Vec<RecordBatch>)> = Vec::new();
    for batch in batches {
        let dates = batch
            .column_by_name(RECEIVED_DATE)
            .and_then(|column| column.as_primitive_opt::<Date32Type>())
            .map(|dates| dates.values());
        let Some((&first, &last)) = dates.and_then(|dates| dates.first().zip(dates.last())) else {
            continue;
        };
        if first != last {
            let what = format!("rows of `{}` cannot be appended", kind.name());
            return Err(LogError::store(what, "a batch has rows of several days"));
        }
        match days.last_mut() {
            Some((date, batches)) if *date == first => batches.push(batch),
            _ => days.push((first, vec![batch])),
        }
    }
    Ok(days)
}

fn encode(kind: TableKind, batches: &[RecordBatch]) -> Result<Option<Encoded>, LogError> {
    let mut encoder = Encoder::new(kind, Effort::Append)?;
    for batch in batches {
        encoder.push(batch)?;
    }
    encoder.finish()
}

/// Runs work that takes the processor for long, away from the threads that wait for many things.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| LogError::store("work on a table was broken off", error))?
}

impl Location {
    /// Puts a data file into the store, and gives the action that will make it part of the table.
    pub(super) async fn put(
        &self,
        partition: &PartitionId,
        date: i32,
        encoded: Encoded,
        data_change: bool,
        now: Micros,
    ) -> Result<Add, LogError> {
        let date =
            date_text(date).ok_or_else(|| LogError::store("a day is out of range", format!("{date}")))?;
        let name = file_name(partition, encoded.offsets);
        let path = format!("{RECEIVED_DATE}={date}/{name}");
        let size = encoded.bytes.len() as i64;
        self.objects.put(&Path::from(path.as_str()), encoded.bytes.into()).await.map_err(|error| {
            LogError::store(format!("file `{}/{path}` cannot be written", self.kind.name()), error)
        })?;
        Ok(Add {
            path,
            partition_values: HashMap::from([(RECEIVED_DATE.to_owned(), Some(date))]),
            size,
            modification_time: now / 1_000,
            data_change,
            stats: Some(encoded.stats),
            ..Add::default()
        })
    }
}

fn file_name(partition: &PartitionId, (first, last): (Offset, Offset)) -> String {
    let id = uuid::Uuid::now_v7().simple();
    format!("part-{partition}-{first}-{last}-{id}.parquet")
}

/// The partition, the first and the last offset that the name of a data file tells.
pub(super) fn name_parts(name: &str) -> Option<(&str, Offset, Offset)> {
    let mut words = name.strip_prefix("part-")?.rsplitn(4, '-').skip(1);
    let last = words.next()?.parse().ok()?;
    let first = words.next()?.parse().ok()?;
    Some((words.next()?, first, last))
}

/// A day as Delta writes it; `None` beyond the years that have four digits.
pub(super) fn date_text(days: i32) -> Option<String> {
    let day = DateTime::from_timestamp(i64::from(days) * 86_400, 0)?.format("%Y-%m-%d").to_string();
    (day.len() == 10).then_some(day)
}
