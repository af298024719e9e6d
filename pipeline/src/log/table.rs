//! The Delta tables.

use super::{Offset, PartitionId};
use arrow::datatypes::SchemaRef;
use std::collections::HashMap;
use std::sync::Arc;

/// The tables of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// Accepted events.
    Events,
    /// Rejected events.
    Rejected,
    /// One row for each request: how many items it brought and which were duplicates.
    Receipts,
}

impl TableKind {
    /// All tables, in the order in which they are committed; receipts last, because every frame
    /// has one: what the receipts' table has committed, all tables have.
    pub const ALL: [Self; 3] = [Self::Events, Self::Rejected, Self::Receipts];

    /// The name in SQL and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Rejected => "rejected",
            Self::Receipts => "receipts",
        }
    }

    /// The columns of a row, `received_date` last: the tables are partitioned by it.
    pub fn schema(self) -> SchemaRef {
        unimplemented!()
    }
}

/// One Parquet file of a table.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// The path below the table's root, not URL-encoded.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The value of the partition column `received_date`, as days since 1970-01-01.
    pub received_date: i32,
    /// The partition its rows came through.
    pub partition: PartitionId,
    /// The first and the last offset in it.
    pub offsets: (Offset, Offset),
    /// The `stats` of its Delta action, as JSON text: `minValues`, `maxValues`, `nullCount`.
    pub stats: Arc<str>,
}

/// The committed part of one table at one version.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    /// Which table.
    pub kind: TableKind,
    /// The Delta version.
    pub version: u64,
    /// The URL of the table's root, with a slash at the end.
    pub root: url::Url,
    /// The store that holds it; paths are relative to `root`'s path.
    pub store: Arc<dyn object_store::ObjectStore>,
    /// The active files.
    pub files: Arc<Vec<DataFile>>,
    /// The last offset committed for each partition.
    pub committed: HashMap<PartitionId, Offset>,
}
