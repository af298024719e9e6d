//! What the console asks of the log, and the binary answers.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use pipeline::Micros;
use serde::Serialize;

/// The read side of the log.
///
/// Dropping a future or a stream stops the work behind it.
pub trait Reads: Send + Sync {
    /// Answers a query. What is wrong with the query is an error before the first byte of its rows.
    fn sql(&self, sql: String, format: Format) -> BoxFuture<'static, Result<Rows, ReadError>>;
    /// Each event with this message id, one for each source and outcome; none is no error.
    fn events(&self, message_id: String) -> BoxFuture<'static, Result<Vec<Occurrence>, ReadError>>;
    /// The accounts of each source and hour that match.
    fn accounts(&self, of: AccountsOf) -> BoxFuture<'static, Result<Vec<Account>, ReadError>>;
}

/// Rows as they go out, in pieces.
pub type Rows = BoxStream<'static, Result<Bytes, ReadError>>;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Comma-separated values with a line of names.
    Csv,
    /// A table for people.
    Table,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Table];

    /// The word for it in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Table => "table",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Table => "text/plain; charset=utf-8",
        }
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The query is wrong. Change it; the message says where.
    #[error("{0}")]
    Query(String),
    /// The query needs more time, memory or rows than it may have. Ask for less.
    #[error("{0}")]
    Limit(String),
    /// The log could not be read. Try again; see the program's log.
    #[error("{0}")]
    Failed(String),
}

/// Something that arrived under a message id: an event, or one that was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Occurrence {
    /// The message id.
    pub message_id: String,
    /// The source.
    pub source: String,
    /// `accepted` or `rejected`; `duplicate` when only repeats are still in the log.
    pub outcome: &'static str,
    /// When it was received, as RFC 3339 with microseconds.
    pub received_at: String,
    /// The partition it lies in.
    pub partition: String,
    /// Its offset there.
    pub offset: u64,
    /// Whether it is in the tables; until then it is in the write-ahead log, no less durable.
    pub committed: bool,
    /// Why it was rejected; `null` when it was not.
    pub rejected: Option<Refusal>,
    /// When it came again, each with the receipt that says so.
    pub duplicates: Vec<Duplicate>,
}

/// Why an event was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The rule it broke.
    pub code: String,
    /// The field that broke it.
    pub field: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// A repeat that was not stored again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// When it came, as RFC 3339 with microseconds.
    pub received_at: String,
    /// The partition of its receipt.
    pub partition: String,
    /// The offset of its receipt.
    pub offset: u64,
}

/// Which accounts are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountsOf {
    /// From this time on.
    pub from: Option<Micros>,
    /// Up to this time, not with it.
    pub to: Option<Micros>,
    /// Of this source only.
    pub source: Option<String>,
}

/// The account of one source in one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The source.
    pub source: String,
    /// The start of the hour, as RFC 3339.
    pub hour: String,
    /// Items counted before anything was decided about them.
    pub received: u64,
    /// Events stored.
    pub accepted: u64,
    /// Events that had been stored before.
    pub duplicate: u64,
    /// Events kept aside because they broke a rule.
    pub rejected: u64,
    /// `received` without the three others: 0, or something is wrong.
    pub unaccounted: i64,
}
