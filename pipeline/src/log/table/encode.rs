//! Rows as one Parquet file, with the statistics and filters that queries skip by.

use super::promoted::{self, FileFacts, Filler, Promoted, PromotedType};
use super::{TableKind, statistics};
use crate::log::{LogError, Offset};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use std::sync::Arc;

/// Rows in one row group.
pub(super) const GROUP_ROWS_MAX: usize = 128 * 1024;

/// Columns of numbers that differ little from row to row.
const NUMBERS: [&str; 12] = [
    "log_offset",
    "received_at",
    "timestamp",
    "original_timestamp",
    "sent_at",
    "journal_sequence",
    "at",
    "first_offset",
    "last_offset",
    "next_at",
    "latency_us",
    "request",
];

/// How hard to compress: 1 for files as they come in, 3 for small ones that are compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    Append = 1,
    Compact = 3,
}

/// Writes one file in memory, batch by batch, in offset order.
pub(super) struct Encoder {
    kind: TableKind,
    /// What is filled in beside the columns of the rows.
    filler: Option<Filler>,
    writer: ArrowWriter<Vec<u8>>,
    offsets: Option<(Offset, Offset)>,
    rows: u64,
}

/// A file that is ready to be put into the store.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    pub(super) offsets: (Offset, Offset),
    pub(super) facts: FileFacts,
    pub(super) stats: String,
}

impl Encoder {
    /// A file of the table's own columns and the promoted ones, which are filled from `properties`.
    pub(super) fn new(kind: TableKind, promoted: &Arc<Promoted>, effort: Effort) -> Result<Self, LogError> {
        // Every engine reads the types from Parquet's own schema; a copy of Arrow's costs kilobytes.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(kind, promoted, effort))
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), promoted.file_schema(kind), options)
            .map_err(|error| failed(kind, error))?;
        let filler = (!promoted.is_empty()).then(|| Filler::new(Arc::clone(promoted)));
        Ok(Self { kind, filler, writer, offsets: None, rows: 0 })
    }

    /// Adds rows; what follows the table's own columns is left out: a date is in the file's path, and
    /// promoted columns are filled anew.
    ///
    /// # Errors
    /// When the rows do not follow the ones before, which is a defect of ours.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), LogError> {
        let Some((first, last)) = offsets(self.kind, batch) else { return Ok(()) };
        if let Some((_, before)) = self.offsets.filter(|(_, before)| *before >= first) {
            let what = format!("rows of `{}` are out of order", self.kind.name());
            return Err(LogError::store(what, format!("offset {first} follows offset {before}")));
        }
        let in_order = batch
            .column_by_name(self.kind.order_column())
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .is_some_and(|column| column.values().is_sorted_by(|a, b| a < b));
        if !in_order {
            let what = format!("rows of `{}` are out of order", self.kind.name());
            return Err(LogError::store(what, format!("between the offsets {first} and {last}")));
        }
        let columns: Vec<usize> = (0..self.kind.file_schema().fields().len()).collect();
        let mut batch = batch.project(&columns).map_err(|error| failed(self.kind, error))?;
        if let Some(filler) = &mut self.filler {
            batch = filler.beside(&batch).map_err(|error| failed(self.kind, error))?;
        }
        self.writer.write(&batch).map_err(|error| failed(self.kind, error))?;
        self.offsets = Some((self.offsets.map_or(first, |(first, _)| first), last));
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The whole file; `None` when no row was pushed.
    pub(super) fn finish(mut self) -> Result<Option<Encoded>, LogError> {
        let Some(offsets) = self.offsets else { return Ok(None) };
        let facts = self.filler.map(|filler| filler.facts()).unwrap_or_default();
        if let Some(facts) = key_value(&facts) {
            self.writer.append_key_value_metadata(facts);
        }
        let metadata = self.writer.finish().map_err(|error| failed(self.kind, error))?;
        let bytes = std::mem::take(self.writer.inner_mut());
        Ok(Some(Encoded::new(self.kind, bytes, &metadata, offsets, self.rows, facts)))
    }
}

/// The facts as they stand in a file's footer; `None` without promoted columns.
pub(super) fn key_value(facts: &FileFacts) -> Option<KeyValue> {
    let json = serde_json::to_string(facts).ok().filter(|_| !facts.is_empty())?;
    Some(KeyValue::new(promoted::FACTS.to_owned(), json))
}

impl Encoded {
    pub(super) fn new(
        kind: TableKind,
        bytes: Vec<u8>,
        metadata: &ParquetMetaData,
        offsets: (Offset, Offset),
        rows: u64,
        facts: FileFacts,
    ) -> Self {
        let stats = statistics::to_json(kind, metadata, &facts);
        Self { bytes, rows, offsets, facts, stats }
    }
}

/// The columns of a data file in Parquet's own terms.
pub(super) fn parquet_schema(kind: TableKind, promoted: &Promoted) -> Result<SchemaDescriptor, ParquetError> {
    ArrowSchemaConverter::new().convert(&promoted.file_schema(kind))
}

/// The first and the last offset of a batch in offset order; `None` when it has no rows.
pub(super) fn offsets(kind: TableKind, batch: &RecordBatch) -> Option<(Offset, Offset)> {
    let column = batch.column_by_name(kind.order_column())?.as_primitive_opt::<Int64Type>()?;
    let last = column.values().len().checked_sub(1)?;
    Some((u64::try_from(column.value(0)).ok()?, u64::try_from(column.value(last)).ok()?))
}

/// How many rows of a batch in offset order lie at or below an offset.
pub(super) fn rows_up_to(kind: TableKind, batch: &RecordBatch, offset: Offset) -> usize {
    let column = batch.column_by_name(kind.order_column());
    let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.map_or(0, |column| {
        column.values().partition_point(|value| u64::try_from(*value).is_ok_and(|value| value <= offset))
    })
}

fn failed(kind: TableKind, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LogError {
    LogError::store(format!("rows of `{}` cannot be encoded", kind.name()), error)
}

fn properties(kind: TableKind, promoted: &Promoted, effort: Effort) -> WriterProperties {
    let level = ZstdLevel::try_new(effort as i32).expect("1 and 3 are levels of zstd");
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_statistics_truncate_length(Some(statistics::TEXT_BYTES_MAX))
        .set_column_index_truncate_length(Some(statistics::TEXT_BYTES_MAX))
        // Comparing every text of fifty columns took a tenth of the whole ingest; nobody filters on most.
        .set_statistics_enabled(EnabledStatistics::None);
    let column = |name: &str| ColumnPath::from(name);
    for name in kind.statistics_columns() {
        builder = builder.set_column_statistics_enabled(column(name), EnabledStatistics::Page);
    }
    for promoted in promoted.columns() {
        // Texts are compared with everything they stand beside: once for each row group is enough.
        let level = match promoted.kind {
            PromotedType::Text => EnabledStatistics::Chunk,
            _ => EnabledStatistics::Page,
        };
        builder = builder.set_column_statistics_enabled(column(&promoted.name), level);
    }
    let offsets = ColumnPath::new(["offsets", "list", "element"].map(ToOwned::to_owned).to_vec());
    for column in NUMBERS.into_iter().map(column).chain([offsets]) {
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for name in ["message_id", "properties", "traits", "context", "extra", "body"] {
        builder = builder.set_column_dictionary_enabled(column(name), false);
    }
    for path in kind.bloom_columns() {
        let column = ColumnPath::new(path.split('.').map(ToOwned::to_owned).collect());
        // The writer folds the filter down to the values that are there.
        builder = builder
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(column, GROUP_ROWS_MAX as u64);
    }
    builder.build()
}
