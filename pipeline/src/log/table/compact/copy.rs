//! Large row groups of several files as one file, without decoding them.

use crate::log::Offset;
use crate::log::table::TableKind;
use crate::log::table::encode::{self, Encoded};
use crate::log::table::promoted::{self, FileFacts, Promoted};
use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

/// A file that takes over other files' row groups as they are, with their statistics and filters.
pub(super) struct Copier {
    kind: TableKind,
    writer: SerializedFileWriter<Vec<u8>>,
    offsets: Option<(Offset, Offset)>,
    rows: u64,
    facts: Option<FileFacts>,
}

impl Copier {
    /// A file with these promoted columns that will have about so many bytes.
    pub(super) fn new(kind: TableKind, promoted: &Promoted, bytes: usize) -> Result<Self> {
        let schema = encode::parquet_schema(kind, promoted)?.root_schema_ptr();
        let properties = Arc::new(WriterProperties::default());
        let writer = SerializedFileWriter::new(Vec::with_capacity(bytes), schema, properties)?;
        Ok(Self { kind, writer, offsets: None, rows: 0, facts: None })
    }

    /// Adds the rows of a whole file, whose promoted columns are the output's, and good for `facts`.
    ///
    /// # Errors
    /// When it is no Parquet file with the table's columns, or its rows do not follow the ones before.
    pub(super) fn push(&mut self, file: &Bytes, facts: &FileFacts) -> Result<()> {
        match &mut self.facts {
            Some(known) => promoted::merge(known, facts),
            None => self.facts = Some(facts.clone()),
        }
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(file)?;
        for group in 0..metadata.num_row_groups() {
            self.follow(offsets(self.kind, &metadata, group)?)?;
            self.rows += u64::try_from(metadata.row_group(group).num_rows()).unwrap_or(0);
            self.copy(file, &metadata, group)?;
        }
        Ok(())
    }

    fn follow(&mut self, (first, last): (Offset, Offset)) -> Result<()> {
        if let Some((_, before)) = self.offsets.filter(|(_, before)| *before >= first) {
            let what = format!("rows are out of order: offset {first} follows offset {before}");
            return Err(ParquetError::General(what));
        }
        self.offsets = Some((self.offsets.map_or(first, |(first, _)| first), last));
        Ok(())
    }

    fn copy(&mut self, file: &Bytes, metadata: &ParquetMetaData, group: usize) -> Result<()> {
        let rows = metadata.row_group(group);
        let mut writer = self.writer.next_row_group()?;
        for (at, column) in rows.columns().iter().enumerate() {
            let column_index = metadata.column_index().and_then(|index| index.get(group)?.get(at));
            let offset_index = metadata.offset_index().and_then(|index| index.get(group)?.get(at));
            writer.append_column(
                file,
                ColumnCloseResult {
                    bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
                    rows_written: u64::try_from(rows.num_rows()).unwrap_or(0),
                    metadata: column.clone(),
                    bloom_filter: Sbbf::read_from_column_chunk(column, file)?,
                    column_index: column_index.cloned(),
                    offset_index: offset_index.cloned(),
                },
            )?;
        }
        writer.close().map(drop)
    }

    /// The whole file; `None` when no row was pushed.
    pub(super) fn finish(mut self) -> Result<Option<Encoded>> {
        let Some(offsets) = self.offsets else { return Ok(None) };
        let facts = self.facts.unwrap_or_default();
        if let Some(facts) = encode::key_value(&facts) {
            self.writer.append_key_value_metadata(facts);
        }
        let metadata = self.writer.finish()?;
        let bytes = std::mem::take(self.writer.inner_mut());
        Ok(Some(Encoded::new(self.kind, bytes, &metadata, offsets, self.rows, facts)))
    }
}

/// The first and the last offset in a row group, by its statistics.
fn offsets(kind: TableKind, metadata: &ParquetMetaData, group: usize) -> Result<(Offset, Offset)> {
    let columns = metadata.row_group(group).columns();
    let column = columns.iter().find(|column| column.column_path().string() == kind.order_column());
    let bounds = match column.and_then(|column| column.statistics()) {
        Some(Statistics::Int64(offsets)) => offsets.min_opt().zip(offsets.max_opt()),
        _ => None,
    };
    let bounds = bounds.and_then(|(min, max)| Some((u64::try_from(*min).ok()?, u64::try_from(*max).ok()?)));
    bounds.ok_or_else(|| ParquetError::General("a row group does not tell its offsets".into()))
}
