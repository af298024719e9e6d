//! Events as they are read back from Parquet.

use super::file_reader::FileReader;
use super::table::{DataFile, TableSnapshot};
use super::{LogError, Offset, PartitionId, Stored};
use crate::Micros;
use crate::event::{Event, Flags, Kind, Rejected};
use arrow::array::{Array, AsArray, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
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

/// Names that many rows share.
#[derive(Default)]
struct Known {
    sources: Sources,
    partition: Option<PartitionId>,
}

impl Known {
    fn partition(&mut self, id: &str) -> PartitionId {
        match &self.partition {
            Some(known) if &*known.0 == id => known.clone(),
            _ => self.partition.insert(PartitionId(id.into())).clone(),
        }
    }
}

/// Rows of one Parquet file, projected, from an offset on.
pub(super) struct Rows {
    stream: ParquetRecordBatchStream<FileReader>,
    path: String,
}

impl Rows {
    /// Opens `file` for the named columns, passing over row groups that end before `from`.
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
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
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
    known: Known,
}

impl EventRows {
    pub(super) async fn open(table: &TableSnapshot, file: &DataFile, from: Offset) -> Result<Self, LogError> {
        let rows = Rows::open(table, file, &EVENT_COLUMNS, from).await?;
        Ok(Self { rows, table: table.root.as_str().into(), known: Known::default() })
    }

    /// The next events at or above `from`; they may be none before the end, which is `None`.
    pub(super) async fn next(
        &mut self,
        from: Offset,
    ) -> Result<Option<Vec<Stored<Event<'static>>>>, LogError> {
        let Some(batch) = self.rows.next().await? else { return Ok(None) };
        let damaged =
            || LogError::Damaged(format!("`{}{}` lacks a column or a value", self.table, self.rows.path));
        let events = EventBatch::new(&batch).and_then(|batch| batch.events(from, &mut self.known));
        Ok(Some(events.ok_or_else(damaged)?))
    }
}

/// The events in rows that have [`EVENT_COLUMNS`].
///
/// # Errors
/// [`LogError::Damaged`] when a column or a value is missing.
pub fn stored_events(rows: &RecordBatch) -> Result<Vec<Stored<Event<'static>>>, LogError> {
    let events = EventBatch::new(rows).and_then(|batch| batch.events(0, &mut Known::default()));
    events.ok_or_else(|| LogError::Damaged("rows of events lack a column or a value".into()))
}

/// The rejected events in rows that have all columns of that table.
///
/// # Errors
/// [`LogError::Damaged`] when a column or a value is missing.
pub fn stored_rejected(rows: &RecordBatch) -> Result<Vec<Stored<Rejected<'static>>>, LogError> {
    rejected(rows).ok_or_else(|| LogError::Damaged("rows of rejected events lack a column or a value".into()))
}

fn rejected(batch: &RecordBatch) -> Option<Vec<Stored<Rejected<'static>>>> {
    let column = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
    let number = |name| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
    let (partition, source, offset) = (column("log_partition")?, column("source")?, number("log_offset")?);
    let received_at = batch.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let test = batch.column_by_name("test")?.as_boolean_opt()?;
    let (code, message, body_bytes) = (column("code")?, column("message")?, number("body_bytes")?);
    let (field, message_id, body) = (column("field")?, column("message_id")?, column("body")?);
    let mut known = Known::default();
    let row = |row| {
        Some(Stored {
            partition: known.partition(partition.value(row)),
            offset: Offset::try_from(offset.value(row)).ok()?,
            received_at: time(received_at, row)?,
            source: known.sources.get(source.value(row)),
            test: test.value(row),
            record: Rejected {
                code: text(code, row)?,
                field: text(field, row),
                message: text(message, row)?,
                message_id: text(message_id, row),
                body: text(body, row),
                body_bytes: u64::try_from(body_bytes.value(row)).ok()?,
            },
        })
    };
    (0..batch.num_rows()).map(row).collect()
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
        let columns = || {
            let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
            let offsets = batch.column_by_name("log_offset")?.as_primitive_opt::<Int64Type>()?;
            let times =
                batch.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
            let (sources, ids) = (text("source")?, text("message_id")?);
            let nulls = offsets.null_count() + times.null_count() + sources.null_count() + ids.null_count();
            (nulls == 0).then_some((offsets, times, sources, ids))
        };
        let (offsets, times, sources, ids) = columns().ok_or_else(damaged)?;
        for row in 0..batch.num_rows() {
            let offset = Offset::try_from(offsets.value(row)).map_err(|_| damaged())?;
            if offset >= from {
                each(sources.value(row), ids.value(row), offset, times.value(row))?;
            }
        }
    }
    Ok(())
}

/// The columns of `events` that an event is read from; all others repeat what these say.
pub const EVENT_COLUMNS: [&str; 23] = [
    "log_partition",
    "log_offset",
    "received_at",
    "source",
    "test",
    "type",
    "message_id",
    "original_message_id",
    "anonymous_id",
    "user_id",
    "group_id",
    "previous_id",
    "event",
    "name",
    "category",
    "original_timestamp",
    "sent_at",
    "properties",
    "traits",
    "context",
    "integrations",
    "extra",
    "flags",
];

/// A batch of events, whose columns are looked up once.
struct EventBatch<'a> {
    place: Place<'a>,
    source: &'a StringArray,
    test: &'a BooleanArray,
    kind: &'a StringArray,
    message_id: &'a StringArray,
    original_message_id: &'a StringArray,
    anonymous_id: &'a StringArray,
    user_id: &'a StringArray,
    group_id: &'a StringArray,
    previous_id: &'a StringArray,
    event: &'a StringArray,
    name: &'a StringArray,
    category: &'a StringArray,
    original_timestamp: &'a TimestampMicrosecondArray,
    sent_at: &'a TimestampMicrosecondArray,
    properties: &'a StringArray,
    traits: &'a StringArray,
    context: &'a StringArray,
    integrations: &'a StringArray,
    extra: &'a StringArray,
    flags: &'a StringArray,
}

/// Where the rows of a batch stand.
struct Place<'a> {
    partition: &'a StringArray,
    offset: &'a Int64Array,
    received_at: &'a TimestampMicrosecondArray,
}

impl<'a> EventBatch<'a> {
    /// The columns of a batch; `None` when one is missing or of another type.
    fn new(batch: &'a RecordBatch) -> Option<Self> {
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
        let time = |name| batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        Some(Self {
            place: Place {
                partition: text("log_partition")?,
                offset: batch.column_by_name("log_offset")?.as_primitive_opt::<Int64Type>()?,
                received_at: time("received_at")?,
            },
            source: text("source")?,
            test: batch.column_by_name("test")?.as_boolean_opt()?,
            kind: text("type")?,
            message_id: text("message_id")?,
            original_message_id: text("original_message_id")?,
            anonymous_id: text("anonymous_id")?,
            user_id: text("user_id")?,
            group_id: text("group_id")?,
            previous_id: text("previous_id")?,
            event: text("event")?,
            name: text("name")?,
            category: text("category")?,
            original_timestamp: time("original_timestamp")?,
            sent_at: time("sent_at")?,
            properties: text("properties")?,
            traits: text("traits")?,
            context: text("context")?,
            integrations: text("integrations")?,
            extra: text("extra")?,
            flags: text("flags")?,
        })
    }

    /// The events at or above `from`; `None` when a value is missing that each event has.
    fn events(&self, from: Offset, known: &mut Known) -> Option<Vec<Stored<Event<'static>>>> {
        let rows = self.place.offset.len();
        let required = [self.place.partition, self.source, self.kind, self.message_id];
        let has_gaps = required.iter().any(|column| column.null_count() > 0)
            || self.place.offset.null_count() + self.place.received_at.null_count() + self.test.null_count()
                > 0;
        if has_gaps {
            return None;
        }
        let mut events = Vec::with_capacity(rows);
        for row in 0..rows {
            let offset = Offset::try_from(self.place.offset.value(row)).ok()?;
            if offset < from {
                continue;
            }
            events.push(Stored {
                partition: known.partition(self.place.partition.value(row)),
                offset,
                received_at: self.place.received_at.value(row),
                source: known.sources.get(self.source.value(row)),
                test: self.test.value(row),
                record: self.event(row)?,
            });
        }
        Some(events)
    }

    fn event(&self, row: usize) -> Option<Event<'static>> {
        let mut event = Event::new(Kind::parse(self.kind.value(row))?, self.message_id.value(row).to_owned());
        event.original_message_id = text(self.original_message_id, row);
        event.anonymous_id = text(self.anonymous_id, row);
        event.user_id = text(self.user_id, row);
        event.group_id = text(self.group_id, row);
        event.previous_id = text(self.previous_id, row);
        event.event = text(self.event, row);
        event.name = text(self.name, row);
        event.category = text(self.category, row);
        event.original_timestamp = time(self.original_timestamp, row);
        event.sent_at = time(self.sent_at, row);
        event.properties = text(self.properties, row);
        event.traits = text(self.traits, row);
        event.context = text(self.context, row);
        event.integrations = text(self.integrations, row);
        event.extra = text(self.extra, row);
        event.flags = if self.flags.is_valid(row) {
            Flags::from_words(self.flags.value(row))
        } else {
            Flags::default()
        };
        Some(event)
    }
}

fn text(column: &StringArray, row: usize) -> Option<Cow<'static, str>> {
    column.is_valid(row).then(|| Cow::Owned(column.value(row).to_owned()))
}

fn time(column: &TimestampMicrosecondArray, row: usize) -> Option<Micros> {
    column.is_valid(row).then(|| column.value(row))
}
