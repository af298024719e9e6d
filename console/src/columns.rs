//! What the console asks about promoted properties, and the binary answers.

use futures::future::BoxFuture;
use pipeline::log::table::promoted::PromotedType;
use serde::Serialize;

/// The properties with columns of their own in `events`.
pub trait Columns: Send + Sync {
    /// The columns, and the properties that are frequent but have none.
    fn list(&self) -> BoxFuture<'static, Result<ColumnList, ColumnsError>>;
    /// Gives a property a column, or keeps the one it has. Without a type the values tell it.
    fn pin(
        &self,
        key: String,
        kind: Option<PromotedType>,
    ) -> BoxFuture<'static, Result<Column, ColumnsError>>;
    /// Takes the column of a property away; the property stays in `properties`.
    fn unpin(&self, key: String) -> BoxFuture<'static, Result<(), ColumnsError>>;
}

/// All that is known of promoted properties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnList {
    /// The columns by name.
    pub columns: Vec<Column>,
    /// How many rows `events` has, fresh ones left out.
    pub rows: u64,
    /// Frequent properties without a column, by key.
    pub not_promoted: Vec<WithoutColumn>,
}

/// A promoted property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The key in `properties`.
    pub key: String,
    /// The column in `events`.
    pub name: String,
    /// `text`, `double`, `bigint` or `boolean`.
    pub r#type: PromotedType,
    /// Whether a person asked for it.
    pub pinned: bool,
    /// The rows of files that have the column; the others are filled by compaction.
    pub rows_filled: u64,
    /// How many of their values had another type and are NULL in the column.
    pub mismatches: u64,
}

/// A property that got no column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithoutColumn {
    /// The key in `properties`.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Why a column was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The key or the type cannot be taken. Change it; the first text is the field.
    #[error("{1}")]
    Wrong(&'static str, String),
    /// The property has no column.
    #[error("{0}")]
    Unknown(String),
    /// Something is in the way, such as a column of that name.
    #[error("{0}")]
    Conflict(String),
    /// The table or the log failed. Try again; see the program's log.
    #[error("{0}")]
    Failed(String),
}
