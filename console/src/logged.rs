//! Events and rejected events as people look through them.

use pipeline::Micros;
use pipeline::log::table::{CommitSummary, TableKind};
use pipeline::log::{Offset, PartitionId};
use serde::Serialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// Which rows of the log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Columns of the table and the text that each must hold.
    pub equal: Vec<(&'static str, String)>,
    /// Received at this time or later.
    pub from: Option<Micros>,
    /// Received before this time.
    pub to: Option<Micros>,
    /// Behind the page that gave this as [`Page::next`].
    pub after: Option<Place>,
    /// Whether the oldest come first, and not the newest.
    pub oldest_first: bool,
    /// At most this many.
    pub limit: usize,
}

/// A place between rows, in the order of time of receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The time of receipt.
    pub received_at: Micros,
    /// The partition, or no text for a place before all partitions.
    pub partition: String,
}

impl Place {
    /// The place as a client is given it.
    pub(crate) fn cursor(&self) -> String {
        format!("{}.{}", self.received_at, self.partition)
    }

    /// The place that a client gives back.
    pub(crate) fn parse(cursor: &str) -> Option<Self> {
        let (at, partition) = cursor.split_once('.')?;
        let received_at = at.parse().ok()?;
        (partition.len() <= 64).then(|| Self { received_at, partition: partition.to_owned() })
    }
}

/// Some of the rows that are wanted.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows. They may be fewer than asked for, or none, before the end.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when there is nothing more.
    pub next: Option<Place>,
}

/// An event as it lies in the log. The names are those of the columns in SQL; what it has no value for is
/// left out.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedEvent {
    /// The partition it lies in.
    pub partition: String,
    /// Its offset there.
    pub offset: Offset,
    /// When it was received, as RFC 3339.
    pub received_at: String,
    /// Its source.
    pub source: String,
    /// Whether the source was made for tests.
    pub test: bool,
    /// The kind of call.
    pub r#type: &'static str,
    /// Its message id.
    pub message_id: String,
    /// The client's id where it was too long to be used as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_message_id: Option<String>,
    /// The id of a visitor who is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// The id of a known user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The group of a `group` call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// The older id of an `alias` call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_id: Option<String>,
    /// The name of a `track` call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The name of a `page` or `screen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The category of a `page` or `screen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// When it happened, as RFC 3339.
    pub timestamp: String,
    /// When it happened by the client's clock, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_timestamp: Option<String>,
    /// When the client sent it, by the client's clock, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<String>,
    /// What a `track`, `page` or `screen` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Box<RawValue>>,
    /// What an `identify` or `group` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traits: Option<Box<RawValue>>,
    /// What surrounded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Box<RawValue>>,
    /// Which destinations it is meant for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrations: Option<Box<RawValue>>,
    /// All top-level fields that have no column of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<RawValue>>,
    /// Remarks on how it was taken in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// A rejected event as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedEvent {
    /// The partition it lies in.
    pub partition: String,
    /// Its offset there.
    pub offset: Offset,
    /// When it was received, as RFC 3339.
    pub received_at: String,
    /// Its source.
    pub source: String,
    /// Whether the source was made for tests.
    pub test: bool,
    /// A stable word for the rule that it broke.
    pub code: String,
    /// The field that broke it.
    pub field: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
    /// Its message id, where one could be read.
    pub message_id: Option<String>,
    /// The event as it came, cut at 1 MiB; `None` when the source's quota for bodies was used up.
    pub body: Option<String>,
    /// The size of the event as it came.
    pub body_bytes: u64,
    /// As what it was admitted later; `None` where it was not.
    pub admitted: Option<Admission>,
}

/// As what a rejected event lies in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// Its message id.
    pub message_id: String,
    /// Where it lies; `None` where an event with that id had been stored before.
    #[serde(flatten)]
    pub place: Option<super::reads::Place>,
}

/// Which commits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitsOf {
    /// To this table.
    pub table: TableKind,
    /// Of versions below this one.
    pub before: Option<u64>,
    /// Only those that made fewer files of many.
    pub compactions: bool,
    /// At most this many.
    pub limit: u64,
}

/// Commits to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commits {
    /// The commits, newest first; they may be fewer than asked for before the end.
    pub commits: Vec<CommitSummary>,
    /// The `before` of the next page; `None` when there is nothing more.
    pub next: Option<u64>,
}

/// What is new in the log.
#[derive(Clone, Debug)]
pub struct News {
    /// The partition that this is about.
    pub partition: PartitionId,
    /// Offsets that were passed over, because the reader was too far behind.
    pub gap: Option<Range<Offset>>,
    /// The events that are wanted.
    pub events: Vec<LoggedEvent>,
    /// Everything below this offset was looked at or passed over.
    pub position: Offset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        for place in [
            Place { received_at: 1_768_478_400_000_000, partition: "00aa".into() },
            Place { received_at: -5, partition: String::new() },
        ] {
            assert_eq!(Place::parse(&place.cursor()), Some(place));
        }
        for wrong in ["", "5", "zz.aa", "."] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
