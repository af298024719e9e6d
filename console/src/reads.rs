//! What the console asks of the log, and the binary answers.

use crate::logged::{Commits, CommitsOf, LoggedEvent, News, Page, RejectedEvent, Search};
use crate::retention::Retention;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use pipeline::Micros;
use pipeline::log::{Offset, PartitionId};
use serde::{Deserialize, Serialize};
use std::iter::Sum;

/// The read side of the log.
///
/// Dropping a future or a stream stops the work behind it.
pub trait Reads: Send + Sync {
    /// Answers a query. What is wrong with the query is an error before the first byte of its rows.
    fn sql(&self, sql: String, format: Format) -> BoxFuture<'static, Result<Rows, ReadError>>;
    /// A page of events, those that are not committed yet too.
    fn events(&self, search: Search) -> BoxFuture<'static, Result<Page<LoggedEvent>, ReadError>>;
    /// A page of rejected events.
    fn rejected(&self, search: Search) -> BoxFuture<'static, Result<Page<RejectedEvent>, ReadError>>;
    /// The rejected event at an address, and as what it was admitted since.
    fn rejected_at(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> BoxFuture<'static, Result<Option<RejectedEvent>, ReadError>>;
    /// Commits to a table, newest first.
    fn commits(&self, of: CommitsOf) -> BoxFuture<'static, Result<Commits, ReadError>>;
    /// How long the tables keep their rows, what is due, and what was removed.
    fn retention(&self) -> BoxFuture<'static, Result<Retention, ReadError>>;
    /// What comes in, behind `after` or from now on, where all of `equal` hold; it ends with the server.
    fn follow(
        &self,
        equal: Vec<(&'static str, String)>,
        after: Option<(PartitionId, Offset)>,
    ) -> BoxStream<'static, Result<News, ReadError>>;
    /// What became of a message id; one that never came is no error.
    fn event(&self, message_id: String) -> BoxFuture<'static, Result<Life, ReadError>>;
    /// A page of the accounts of each source and hour that match, by hour and source.
    fn accounts(&self, of: AccountsOf) -> BoxFuture<'static, Result<Accounts, ReadError>>;
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
    /// Parquet.
    Parquet,
    /// Arrow's stream of record batches.
    Arrow,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Table, Self::Parquet, Self::Arrow];

    /// The word for it in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Table => "table",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Table => "text/plain; charset=utf-8",
            // Registered at IANA in 2024 and 2021.
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
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
    /// Too many queries are running. Try again in a moment.
    #[error("{0}")]
    Busy(String),
    /// The log could not be read. Try again; see the program's log.
    #[error("{0}")]
    Failed(String),
}

/// What became of one message id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Life {
    /// The message id.
    pub message_id: String,
    /// One entry for each source that sent it, by name; empty when none did.
    pub sources: Vec<InSource>,
    /// Whether there is more than was read.
    pub truncated: bool,
}

/// What became of a message id in one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InSource {
    /// The source.
    pub source: String,
    /// Whether the source was made for tests.
    pub test: bool,
    /// Where the event is stored: once, or once on each node that took it.
    pub stored: Vec<StoredAt>,
    /// When it came again, each with the place of the receipt that says so.
    pub duplicates: Vec<Place>,
    /// When it was rejected, and why.
    pub rejected: Vec<Refusal>,
}

/// Where a record lies, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// When it was received, as RFC 3339 with microseconds.
    pub received_at: String,
    /// The partition it lies in.
    pub partition: String,
    /// Its offset there.
    pub offset: u64,
}

/// Where an event is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredAt {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Place,
    /// Whether it is in the tables; until then it is in the write-ahead log, no less durable.
    pub committed: bool,
    /// The kind of call.
    pub r#type: String,
    /// The name of a `track` call.
    pub event: Option<String>,
    /// What became of it at each destination, oldest first: every attempt, and what left it out.
    pub deliveries: Vec<Delivered>,
}

/// A decision of a destination about an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// When, as RFC 3339.
    pub at: String,
    /// The id of the connection.
    pub destination: String,
    /// The id of the replay; `None` for live traffic.
    pub replay: Option<String>,
    /// `delivered`, `retry`, `waiting`, `released`, `filtered`, `suppressed`, `dead`, `revived`, `intent` or
    /// `ambiguous`.
    pub outcome: String,
    /// `live`, `manual` or `replay`.
    pub trigger: String,
    /// How many attempts the event has had, this one included; 0 where none was made.
    pub attempt: u32,
    /// When it is sent again, as RFC 3339.
    pub next_at: Option<String>,
    /// Why the attempt failed.
    pub class: Option<String>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// What happened and what to do, or which rule left it out.
    pub reason: Option<String>,
    /// How long the vendor took, in µs.
    pub latency_us: Option<u64>,
    /// The request, for failures only: at most 2 KB, no secret.
    pub sent: Option<String>,
    /// The answer, for failures only: at most 2 KB, no secret.
    pub answered: Option<String>,
    /// The version of the connection's configuration that was in force.
    pub version: u64,
}

/// Why an event was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Place,
    /// The rule it broke.
    pub code: String,
    /// The field that broke it.
    pub field: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
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
    /// Behind the page that gave this as [`Accounts::next`].
    pub after: Option<AccountPlace>,
    /// At most this many.
    pub limit: usize,
}

/// A place between accounts: behind that of this hour and source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlace {
    /// The start of the hour.
    pub hour: Micros,
    /// The source.
    pub source: String,
}

impl AccountPlace {
    /// The place as a client is given it.
    pub(crate) fn cursor(&self) -> String {
        format!("{}.{}", self.hour, self.source)
    }

    /// The place that a client gives back.
    pub(crate) fn parse(cursor: &str) -> Option<Self> {
        let (hour, source) = cursor.split_once('.')?;
        let hour = hour.parse().ok()?;
        (1..=64).contains(&source.len()).then(|| Self { hour, source: source.to_owned() })
    }
}

/// Some of the accounts that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Where the next page begins; `None` when there is nothing more.
    pub next: Option<AccountPlace>,
    /// The sums of all that match, on whatever page; with the first page only.
    pub totals: Option<Totals>,
}

/// Sums of accounts, with the words of [`Account`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Totals {
    /// The sum of [`Account::received`].
    pub received: u64,
    /// The sum of [`Account::accepted`].
    pub accepted: u64,
    /// The sum of [`Account::duplicate`].
    pub duplicate: u64,
    /// The sum of [`Account::rejected`].
    pub rejected: u64,
    /// The sum of [`Account::accepted_expired`].
    pub accepted_expired: u64,
    /// The sum of [`Account::rejected_expired`].
    pub rejected_expired: u64,
    /// The sum of [`Account::unaccounted`].
    pub unaccounted: i64,
}

impl<'a> Sum<&'a Account> for Totals {
    fn sum<I: Iterator<Item = &'a Account>>(accounts: I) -> Self {
        accounts.fold(Self::default(), |sum, of| Self {
            received: sum.received + of.received,
            accepted: sum.accepted + of.accepted,
            duplicate: sum.duplicate + of.duplicate,
            rejected: sum.rejected + of.rejected,
            accepted_expired: sum.accepted_expired + of.accepted_expired,
            rejected_expired: sum.rejected_expired + of.rejected_expired,
            unaccounted: sum.unaccounted + of.unaccounted,
        })
    }
}

/// The account of one source in one hour.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Account {
    /// The source.
    pub source: String,
    /// The start of the hour, as RFC 3339.
    pub hour: String,
    /// Items counted before anything was decided about them.
    pub received: u64,
    /// Events that are stored.
    pub accepted: u64,
    /// Events that had been stored before.
    pub duplicate: u64,
    /// Events kept aside because they broke a rule.
    pub rejected: u64,
    /// Events that were stored and that retention has removed since.
    pub accepted_expired: u64,
    /// Events that were kept aside and that retention has removed since.
    pub rejected_expired: u64,
    /// `received` without all others: 0, or something is wrong.
    pub unaccounted: i64,
}
