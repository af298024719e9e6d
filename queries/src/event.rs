//! What became of one message id.

use crate::engine::{Engine, execute};
use crate::{Answer, SqlError};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::functions_nested::expr_fn::array_has;
use datafusion::logical_expr::{Expr, cast, col, lit};
use pipeline::Micros;
use pipeline::event::kept_message_id;
use pipeline::log::table::TableKind;
use pipeline::log::{Offset, PartitionId, Snapshot};
use std::collections::BTreeMap;

/// Everything the log holds about one message id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventReport {
    /// The id.
    pub message_id: String,
    /// One entry for each source that sent it, by name; empty when none did.
    pub sources: Vec<SourceReport>,
    /// Whether there is more than was read; see [`crate::EngineConfig::rows_max`].
    pub truncated: bool,
}

/// What one source sent under a message id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// The name of the source.
    pub source: String,
    /// Whether the source was made for tests.
    pub test: bool,
    /// Where it is stored: once, or once on each node that took it.
    pub stored: Vec<StoredAt>,
    /// The requests that sent it again.
    pub repeats: Vec<RepeatAt>,
    /// When it was rejected, and why.
    pub rejected: Vec<RejectedAt>,
}

/// Where an event is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The partition.
    pub partition: PartitionId,
    /// The position in it.
    pub offset: Offset,
    /// When it was received.
    pub received_at: Micros,
    /// The kind of call.
    pub kind: String,
    /// The name of a `track` call.
    pub event: Option<String>,
    /// The file that holds it, below the table's root; `None` while it waits for its commit.
    pub file: Option<String>,
}

/// A request that sent an event that had been stored before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatAt {
    /// The partition.
    pub partition: PartitionId,
    /// The position of the request's receipt.
    pub offset: Offset,
    /// When the request was received.
    pub received_at: Micros,
}

/// A rejected event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedAt {
    /// The partition.
    pub partition: PartitionId,
    /// The position in it.
    pub offset: Offset,
    /// When it was received.
    pub received_at: Micros,
    /// A stable word for the rule that was broken.
    pub code: String,
    /// The field that broke it.
    pub field: Option<String>,
    /// What was wrong.
    pub message: String,
}

impl Engine {
    /// What became of a message id: where it is stored, which requests repeated it, and whether it
    /// was rejected. All of it is read from one snapshot. An id of over 100 characters is found by what
    /// it is kept as, see [`kept_message_id`].
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn event(&self, message_id: &str) -> Result<EventReport, SqlError> {
        let kept = kept_message_id(message_id);
        let snapshot = self.snapshot();
        let mut found = Found { sources: BTreeMap::new(), truncated: false };
        let is_id = || col("message_id").eq(lit(&*kept));
        let stored = self.rows(&snapshot, TableKind::Events, &kept, is_id(), &["type", "event"]).await?;
        found
            .each(stored, |source, rows, row, (partition, offset, received_at)| {
                let file = file_of(&snapshot, &partition, offset);
                let (kind, event) = (rows.required("type", row), rows.text("event", row));
                source.stored.push(StoredAt { partition, offset, received_at, kind, event, file });
            })
            .await?;
        let again = array_has(col("duplicates"), lit(&*kept));
        let repeats = self.rows(&snapshot, TableKind::Receipts, &kept, again, &[]).await?;
        found
            .each(repeats, |source, _, _, (partition, offset, received_at)| {
                source.repeats.push(RepeatAt { partition, offset, received_at });
            })
            .await?;
        let columns = ["code", "field", "message"];
        let rejected = self.rows(&snapshot, TableKind::Rejected, &kept, is_id(), &columns).await?;
        found
            .each(rejected, |source, rows, row, (partition, offset, received_at)| {
                let (code, field) = (rows.required("code", row), rows.text("field", row));
                let message = rows.required("message", row);
                source.rejected.push(RejectedAt { partition, offset, received_at, code, field, message });
            })
            .await?;
        let sources = found.sources.into_iter().map(|(source, report)| SourceReport { source, ..report });
        Ok(EventReport {
            message_id: message_id.into(),
            sources: sources.collect(),
            truncated: found.truncated,
        })
    }

    /// The rows of a table that `filter` selects, which only rows with the message id pass, in the log's
    /// order.
    async fn rows(
        &self,
        snapshot: &Snapshot,
        kind: TableKind,
        message_id: &str,
        filter: Expr,
        columns: &[&str],
    ) -> Result<Answer, SqlError> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut wanted = vec![
            col("source"),
            col("test"),
            col("log_partition"),
            cast(col("log_offset"), DataType::Int64).alias("log_offset"),
            cast(cast(col("received_at"), micros), DataType::Int64).alias("received_at"),
        ];
        wanted.extend(columns.iter().map(|column| col(*column)));
        let (snapshot, message_id) = (snapshot.clone(), message_id.to_owned());
        self.run("".into(), move |planner, _| async move {
            let (state, table) = planner.table_with(&snapshot, kind, &message_id).await?;
            let order = vec![col("received_at").sort(true, false), col("log_partition").sort(true, false)];
            let plan = table.filter(filter)?.select(wanted)?.sort(order)?.into_unoptimized_plan();
            execute(&state, plan).await
        })
        .await
    }
}

struct Found {
    sources: BTreeMap<String, SourceReport>,
    truncated: bool,
}

type Address = (PartitionId, Offset, Micros);

impl Found {
    async fn each(
        &mut self,
        answer: Answer,
        mut take: impl FnMut(&mut SourceReport, &Rows, usize, Address),
    ) -> Result<(), SqlError> {
        let (batches, truncated) = answer.collect().await?;
        self.truncated |= truncated;
        for batch in batches {
            let rows = Rows(batch);
            for row in 0..rows.0.num_rows() {
                let source = self.sources.entry(rows.required("source", row)).or_default();
                source.test = rows.flag("test", row);
                let partition = PartitionId(rows.required("log_partition", row).into());
                let offset = Offset::try_from(rows.number("log_offset", row)).unwrap_or_default();
                let address = (partition, offset, rows.number("received_at", row));
                take(source, &rows, row, address);
            }
        }
        Ok(())
    }
}

/// The rows of a batch by column name. What is missing reads as empty: the plan selected it.
struct Rows(arrow::record_batch::RecordBatch);

impl Rows {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.0.column_by_name(name)
    }

    fn text(&self, name: &str, row: usize) -> Option<String> {
        let column: &StringArray = self.column(name)?.as_string_opt()?;
        column.is_valid(row).then(|| column.value(row).to_owned())
    }

    fn required(&self, name: &str, row: usize) -> String {
        self.text(name, row).unwrap_or_default()
    }

    fn number(&self, name: &str, row: usize) -> i64 {
        self.column(name)
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .map_or(0, |c| c.value(row))
    }

    fn flag(&self, name: &str, row: usize) -> bool {
        let column: Option<&BooleanArray> = self.column(name).and_then(|column| column.as_boolean_opt());
        column.is_some_and(|column| column.value(row))
    }
}

/// The file of the events table that holds the record.
fn file_of(snapshot: &Snapshot, partition: &PartitionId, offset: Offset) -> Option<String> {
    let events = snapshot.tables.iter().find(|view| view.table.kind == TableKind::Events)?;
    let holds = |file: &&pipeline::log::table::DataFile| {
        file.partition == *partition && (file.offsets.0..=file.offsets.1).contains(&offset)
    };
    events.table.files.iter().find(holds).map(|file| file.path.clone())
}

#[cfg(test)]
mod tests;
