//! What the tables keep, as people look at it. Days are `YYYY-MM-DD`, in UTC.

use pipeline::log::Offset;
use serde::Serialize;

/// How long the tables keep their rows, what is due, and what was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// The tables, those of the log first.
    pub tables: Vec<Kept>,
    /// Who has not got all events yet, on all nodes; empty where events are kept for ever.
    pub needs: Vec<Needed>,
}

/// What one table keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The table.
    pub table: String,
    /// For how many days; `None` for ever.
    pub keep_days: Option<i64>,
    /// How many rows it has, fresh ones left out.
    pub rows: u64,
    /// The day that the oldest was received on; `None` without any.
    pub oldest_day: Option<String>,
    /// What is older than the limit.
    pub due: Vec<DueDays>,
    /// What was removed.
    pub removed: Vec<Removed>,
}

/// Whole days of one partition that are older than their limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DueDays {
    /// The partition.
    pub partition: String,
    /// The first day.
    pub first_day: String,
    /// The last day.
    pub last_day: String,
    /// The first offset.
    pub first_offset: Offset,
    /// The last offset.
    pub last_offset: Offset,
    /// How many rows.
    pub rows: u64,
    /// How many bytes their files have.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// What they wait for; empty where they go within a minute.
    pub waits_for: Vec<String>,
    /// Who will not get the events that they have not got yet, and why they are not waited for.
    pub missed_by: Vec<String>,
}

/// Rows of one partition that were removed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The partition.
    pub partition: String,
    /// The first day.
    pub first_day: String,
    /// The last day.
    pub last_day: String,
    /// The first offset.
    pub first_offset: Offset,
    /// The last offset.
    pub last_offset: Offset,
    /// How many rows.
    pub rows: u64,
    /// Why: `retention`.
    pub reason: String,
    /// When the last of them went, as RFC 3339.
    pub at: String,
}

/// Events that somebody has not got yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// The partition; `None` for all partitions but those of `all_but`.
    pub partition: Option<String>,
    /// The partitions that a replay has come to, where it needs all others; `None` where `partition` says
    /// which.
    pub all_but: Option<Vec<String>>,
    /// All events from here on.
    pub offset: Offset,
    /// Only those received at this time or later, as RFC 3339; `None` for all.
    pub from: Option<String>,
    /// Who: a destination or a replay.
    pub by: String,
    /// Why they are not waited for; `None` where they are.
    pub passed_over: Option<String>,
}
