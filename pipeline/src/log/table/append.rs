//! Appending rows.

use super::commit::Proposal;
use super::encode::{self, Effort, Encoded, Encoder};
use super::promoted::Promoted;
use super::replay::{State, app_id};
use super::{DataFile, Location, Table, TableKind};
use crate::Micros;
use crate::failpoint;
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
use std::sync::Arc;

/// So many times another commit of the same partition may be met before we give up.
const ATTEMPTS_MAX: usize = 10;

/// What became of an append. Either way all of the rows are in the table now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableAppend {
    /// The rows that had not been committed before are, at this version.
    Committed {
        /// The Delta version.
        version: u64,
    },
    /// There was nothing to commit: no rows, or only rows that had been committed before.
    Already,
}

impl Table {
    /// Appends rows of one partition in offset order, and moves its cursor to `last_offset`, in one
    /// commit with one file for each day. Durable and visible to snapshots when it returns.
    ///
    /// Rows at or below the cursor are left out: they are in the table. Each batch has the table's
    /// schema and rows of one date. `last_offset` is that of the last frame's last
    /// record, which may belong to another table. Without rows to commit nothing happens, and the
    /// cursor stays where it is.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails. Whether the commit stands may then be unknown; the
    /// same append again, or one that reaches further, finds out and repeats nothing.
    pub async fn append(
        &self,
        partition: &PartitionId,
        batches: Vec<RecordBatch>,
        last_offset: Offset,
    ) -> Result<TableAppend, LogError> {
        let mut state = self.state.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let committed = state.committed.get(partition).copied();
            let batches = after(self.kind(), &batches, committed);
            if batches.is_empty() {
                return Ok(TableAppend::Already);
            }
            let actions = self.put_all(partition, batches, &state.promoted).await?;
            failpoint::hit("after_data_before_commit");
            let proposal = self.proposal(partition, actions, last_offset)?;
            let still = |state: &State| state.committed.get(partition).copied() == committed;
            if self.commit(&mut state, proposal, still).await? {
                return Ok(TableAppend::Committed { version: state.version });
            }
            // The commit of an earlier append, whose outcome was unknown, was met.
        }
        let what = format!("rows of partition {partition} cannot be appended to `{}`", self.kind().name());
        Err(LogError::store(what, "another process appends rows of the same partition"))
    }

    /// Puts a file for each day into the store.
    async fn put_all(
        &self,
        partition: &PartitionId,
        batches: Vec<RecordBatch>,
        promoted: &Arc<Promoted>,
    ) -> Result<Vec<Action>, LogError> {
        let kind = self.kind();
        let mut actions = Vec::new();
        for (date, batches) in by_date(kind, batches)? {
            let promoted = Arc::clone(promoted);
            if let Some(encoded) = blocking(move || encode(kind, &promoted, &batches)).await? {
                count_mismatches(&encoded);
                let add = self.location.put(partition, date, encoded, true, self.clock.now()).await?;
                actions.push(Action::Add(add));
            }
        }
        Ok(actions)
    }

    fn proposal(
        &self,
        partition: &PartitionId,
        actions: Vec<Action>,
        last_offset: Offset,
    ) -> Result<Proposal, LogError> {
        let version =
            i64::try_from(last_offset).map_err(|error| LogError::store("an offset is too large", error))?;
        let now_ms = self.clock.now() / 1_000;
        Ok(Proposal {
            operation: DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(vec![self.kind().date_column().to_owned()]),
                predicate: None,
            },
            actions,
            transaction: Some(Transaction::new_with_last_update(app_id(partition), version, Some(now_ms))),
        })
    }
}

/// The rows behind an offset. Batches are in offset order, and so are the rows in each.
fn after(kind: TableKind, batches: &[RecordBatch], committed: Option<Offset>) -> Vec<RecordBatch> {
    let rows = batches.iter().filter_map(|batch| {
        let offsets = encode::offsets(kind, batch)?;
        let skip = match committed {
            Some(committed) if offsets.0 <= committed => encode::rows_up_to(kind, batch, committed),
            _ => 0,
        };
        (skip < batch.num_rows()).then(|| batch.slice(skip, batch.num_rows() - skip))
    });
    rows.collect()
}

/// The batches by their day, in order.
fn by_date(kind: TableKind, batches: Vec<RecordBatch>) -> Result<Vec<(i32, Vec<RecordBatch>)>, LogError> {
    let mut days: Vec<(i32, Vec<RecordBatch>)> = Vec::new();
    for batch in batches {
        let dates = batch
            .column_by_name(kind.date_column())
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

/// Counts the values that had another type than their promoted column.
fn count_mismatches(encoded: &Encoded) {
    for (column, facts) in encoded.facts.iter().filter(|(_, facts)| facts.mismatches > 0) {
        let counter = metrics::counter!("flowstate_promoted_mismatches_total", "column" => column.clone());
        counter.increment(facts.mismatches);
    }
}

fn encode(
    kind: TableKind,
    promoted: &Arc<Promoted>,
    batches: &[RecordBatch],
) -> Result<Option<Encoded>, LogError> {
    let mut encoder = Encoder::new(kind, promoted, Effort::Append)?;
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
        let name = file_name(partition, encoded.offsets, crc32c::crc32c(&encoded.bytes));
        let column = self.kind.date_column();
        let path = format!("{column}={date}/{name}");
        let size = encoded.bytes.len() as i64;
        self.objects.put(&Path::from(path.as_str()), encoded.bytes.into()).await.map_err(|error| {
            LogError::store(format!("file `{}/{path}` cannot be written", self.kind.name()), error)
        })?;
        Ok(Add {
            path,
            partition_values: HashMap::from([(column.to_owned(), Some(date))]),
            size,
            modification_time: now / 1_000,
            data_change,
            stats: Some(encoded.stats),
            ..Add::default()
        })
    }
}

/// The name tells what `flowstate verify` has to find: Parquet's pages have no checksum of ours.
fn file_name(partition: &PartitionId, (first, last): (Offset, Offset), crc32c: u32) -> String {
    let id = uuid::Uuid::now_v7().simple();
    format!("part-{partition}-{first}-{last}-{crc32c:08x}-{id}.parquet")
}

/// The partition, the first and the last offset, and the CRC-32C of its bytes, that the name of a
/// data file tells.
pub(super) fn name_parts(name: &str) -> Option<(&str, Offset, Offset, u32)> {
    let mut words = name.strip_prefix("part-")?.rsplitn(5, '-').skip(1);
    let crc32c = u32::from_str_radix(words.next()?, 16).ok()?;
    let last = words.next()?.parse().ok()?;
    let first = words.next()?.parse().ok()?;
    Some((words.next()?, first, last, crc32c))
}

impl DataFile {
    /// The CRC-32C of the file's bytes when it was written, which its name tells; `None` for a file
    /// of another writer.
    pub fn crc32c(&self) -> Option<u32> {
        name_parts(self.path.rsplit('/').next()?).map(|(_, _, _, crc32c)| crc32c)
    }
}

/// A day as Delta writes it; `None` beyond the years that have four digits.
pub(super) fn date_text(days: i32) -> Option<String> {
    let day = DateTime::from_timestamp(i64::from(days) * 86_400, 0)?.format("%Y-%m-%d").to_string();
    (day.len() == 10).then_some(day)
}
