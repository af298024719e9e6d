//! The Bloom filters of message ids in a file.

use super::{DataFile, TableKind, TableSnapshot};
use crate::log::LogError;
use crate::log::file_reader::FileReader;
use object_store::path::Path;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::bloom_filter::Sbbf;
use std::sync::Arc;

/// The bytes of one block of a filter (Parquet, "Split Block Bloom Filter").
const BLOCK_BYTES: usize = 32;

/// Tells which row groups of one file cannot hold a message id.
#[derive(Debug)]
pub struct IdFilters(Vec<Option<Sbbf>>);

impl IdFilters {
    /// Reads the filters of a file: of the message ids of its rows, or of the repeats in its receipts.
    ///
    /// # Errors
    /// [`LogError::Store`] when the file cannot be read.
    pub async fn read(table: &TableSnapshot, file: &DataFile) -> Result<Self, LogError> {
        let failed = |error| LogError::store(format!("the filters of `{}` cannot be read", file.path), error);
        let (store, path) = (Arc::clone(&table.store), Path::from(file.path.as_str()));
        let reader = FileReader { store, path, bytes: file.bytes };
        let mut rows = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let schema = rows.parquet_schema();
        let wanted = id_column(table.kind);
        let column =
            (0..schema.num_columns()).find(|column| schema.column(*column).path().string() == wanted);
        let groups = rows.metadata().num_row_groups();
        let mut filters = Vec::with_capacity(groups);
        for group in 0..groups {
            filters.push(match column {
                Some(column) => {
                    rows.get_row_group_column_bloom_filter(group, column).await.map_err(failed)?
                }
                None => None,
            });
        }
        Ok(Self(filters))
    }

    /// Whether each row group may hold the id; it may where there is no filter.
    pub fn may_hold(&self, message_id: &str) -> impl ExactSizeIterator<Item = bool> {
        self.0.iter().map(move |filter| filter.as_ref().is_none_or(|filter| filter.check(message_id)))
    }

    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        self.0.iter().flatten().map(|filter| filter.num_blocks() * BLOCK_BYTES).sum()
    }
}

/// The column of a table that holds message ids, as Parquet calls it; see [`TableKind::bloom_columns`].
fn id_column(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Receipts => "duplicates.list.element",
        _ => "message_id",
    }
}
