//! Events as they are read back from Parquet.

use super::file_reader::FileReader;
use super::table::{DataFile, TableSnapshot};
use super::{LogError, Offset, Stored};
use crate::Micros;
use crate::event::{Event, Flags, Kind};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use std::borrow::Cow;
use std::sync::Arc;

const BATCH_ROWS: usize = 1_024;

/// Source names seen so far, so that each is kept once.
#[derive(Default)]
pub(super) struct Sources(Vec<Arc<str>>);

impl Sources {
    pub(super) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| &***known == name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.push(Arc::clone(&name));
        name
    }
}

/// Rows of one Parquet file, projected, from an offset on.
pub(super) struct Rows {
    stream: ParquetRecordBatchStream<FileReader>,
    path: String,
}

impl Rows {
    /// Opens `file` for the named columns (all when there are none), passing over row groups that
    /// end before `from`.
    pub(super) async fn open(
        table: &TableSnapshot,
        file: &DataFile,
        columns: &[&str],
        from: Offset,
    ) -> Result<Self, LogError> {
        let fail = |error: parquet::errors::ParquetError| {
            LogError::store(format!("`{}{}` cannot be read", table.root, file.path), error)
        };
        let path = Path::from(file.path.as_str());
        let reader = FileReader { store: Arc::clone(&table.store), path, bytes: file.bytes };
        let mut builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(fail)?;
        let groups = groups_from(&builder, from).map_err(fail)?;
        if !columns.is_empty() {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        let stream = builder.with_batch_size(BATCH_ROWS).with_row_groups(groups).build().map_err(fail)?;
        Ok(Self { stream, path: file.path.clone() })
    }

    /// The next rows; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => Err(LogError::store(format!("`{}` cannot be read", self.path), error)),
        }
    }
}

/// The row groups that may hold offsets from `from` on.
fn groups_from(
    builder: &ParquetRecordBatchStreamBuilder<FileReader>,
    from: Offset,
) -> parquet::errors::Result<Vec<usize>> {
    let groups = builder.metadata().row_groups();
    let converter = StatisticsConverter::try_new("log_offset", builder.schema(), builder.parquet_schema())?;
    let last = converter.row_group_maxes(groups)?;
    let last = last.as_primitive::<Int64Type>();
    Ok((0..groups.len()).filter(|&group| last.is_null(group) || last.value(group) as u64 >= from).collect())
}

/// The events of one Parquet file.
pub(super) struct EventRows {
    rows: Rows,
    table: Arc<str>,
    sources: Sources,
}

impl EventRows {
    pub(super) async fn open(table: &TableSnapshot, file: &DataFile, from: Offset) -> Result<Self, LogError> {
        let rows = Rows::open(table, file, &[], from).await?;
        Ok(Self { rows, table: table.root.as_str().into(), sources: Sources::default() })
    }

    /// The next events at or above `from`; they may be none before the end, which is `None`.
    pub(super) async fn next(
        &mut self,
        from: Offset,
    ) -> Result<Option<Vec<Stored<Event<'static>>>>, LogError> {
        let Some(batch) = self.rows.next().await? else { return Ok(None) };
        let damaged =
            || LogError::Damaged(format!("`{}{}` lacks a column or a value", self.table, self.rows.path));
        let events = Columns(&batch).events(from, &mut self.sources).ok_or_else(damaged)?;
        Ok(Some(events))
    }
}

/// The message ids of a file: source, id, offset and time of receipt of each event.
pub(super) async fn ids(
    table: &TableSnapshot,
    file: &DataFile,
    from: Offset,
    mut each: impl FnMut(&str, &str, Offset, Micros) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let columns = ["source", "message_id", "log_offset", "received_at"];
    let mut rows = Rows::open(table, file, &columns, from).await?;
    while let Some(batch) = rows.next().await? {
        let damaged =
            || LogError::Damaged(format!("`{}{}` lacks a column or a value", table.root, file.path));
        let columns = Columns(&batch);
        for row in 0..batch.num_rows() {
            let offset = columns.integer("log_offset", row).ok_or_else(damaged)? as Offset;
            if offset >= from {
                let source = columns.text("source", row).ok_or_else(damaged)?;
                let id = columns.text("message_id", row).ok_or_else(damaged)?;
                each(source, id, offset, columns.time("received_at", row).ok_or_else(damaged)?)?;
            }
        }
    }
    Ok(())
}

struct Columns<'a>(&'a RecordBatch);

impl<'a> Columns<'a> {
    fn events(&self, from: Offset, sources: &mut Sources) -> Option<Vec<Stored<Event<'static>>>> {
        let mut events = Vec::with_capacity(self.0.num_rows());
        for row in 0..self.0.num_rows() {
            let offset = self.integer("log_offset", row)? as Offset;
            if offset < from {
                continue;
            }
            events.push(Stored {
                partition: super::PartitionId(self.text("log_partition", row)?.into()),
                offset,
                received_at: self.time("received_at", row)?,
                source: sources.get(self.text("source", row)?),
                test: self.column("test", row)?.as_boolean().value(row),
                record: self.event(row)?,
            });
        }
        Some(events)
    }

    fn event(&self, row: usize) -> Option<Event<'static>> {
        let text = |name| self.text(name, row).map(|text| Cow::Owned(text.to_owned()));
        let mut event = Event::new(Kind::parse(self.text("type", row)?)?, text("message_id")?);
        event.original_message_id = text("original_message_id");
        event.anonymous_id = text("anonymous_id");
        event.user_id = text("user_id");
        event.group_id = text("group_id");
        event.previous_id = text("previous_id");
        event.event = text("event");
        event.name = text("name");
        event.category = text("category");
        event.original_timestamp = self.time("original_timestamp", row);
        event.sent_at = self.time("sent_at", row);
        event.properties = text("properties");
        event.traits = text("traits");
        event.context = text("context");
        event.integrations = text("integrations");
        event.extra = text("extra");
        event.flags = self.text("flags", row).map(Flags::from_words).unwrap_or_default();
        Some(event)
    }

    /// The column of this name, when it has a value in this row.
    fn column(&self, name: &str, row: usize) -> Option<&'a ArrayRef> {
        self.0.column_by_name(name).filter(|column| column.is_valid(row))
    }

    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        Some(self.column(name, row)?.as_string_opt::<i32>()?.value(row))
    }

    fn integer(&self, name: &str, row: usize) -> Option<i64> {
        Some(self.column(name, row)?.as_primitive_opt::<Int64Type>()?.value(row))
    }

    fn time(&self, name: &str, row: usize) -> Option<Micros> {
        Some(self.column(name, row)?.as_primitive_opt::<TimestampMicrosecondType>()?.value(row))
    }
}
