//! What the tables keep, as the console shows it.

use console::{DueDays, Kept, Needed, Removed, Retention};
use pipeline::clock::DAY;
use pipeline::event::format_timestamp;
use pipeline::log::retention::{Due, Need, Overview, Partitions};
use pipeline::log::table::{Hole, TableSnapshot};

pub(super) fn shown(overview: &Overview) -> Retention {
    Retention {
        tables: overview.tables.iter().map(|table| kept(table, overview)).collect(),
        needs: overview.needs.iter().map(needed).collect(),
    }
}

fn kept(table: &TableSnapshot, overview: &Overview) -> Kept {
    let due = overview.due.iter().filter(|due| due.table == table.kind);
    Kept {
        table: table.kind.name().to_owned(),
        keep_days: overview.limits.of(table.kind).map(|limit| limit / DAY),
        rows: table.files.iter().map(|file| file.rows).sum(),
        oldest_day: table.files.iter().map(|file| file.received_date).min().map(day),
        due: due.map(due_days).collect(),
        removed: table.holes.iter().map(removed).collect(),
    }
}

fn due_days(due: &Due) -> DueDays {
    DueDays {
        partition: due.partition.to_string(),
        first_day: day(due.days.0),
        last_day: day(due.days.1),
        first_offset: due.offsets.0,
        last_offset: due.offsets.1,
        rows: due.rows(),
        bytes: due.bytes(),
        files: due.files.len() as u64,
        waits_for: due.waits_for.clone(),
        missed_by: due.missed_by.clone(),
    }
}

fn removed(hole: &Hole) -> Removed {
    Removed {
        partition: hole.partition.to_string(),
        first_day: day(hole.first_day),
        last_day: day(hole.last_day),
        first_offset: hole.first,
        last_offset: hole.last,
        rows: hole.rows,
        reason: hole.reason.as_str().to_owned(),
        at: format_timestamp(hole.at),
    }
}

fn needed(need: &Need) -> Needed {
    let (partition, all_but) = match &need.partitions {
        Partitions::One(one) => (Some(one.to_string()), None),
        Partitions::AllBut(others) => (None, Some(others.iter().map(ToString::to_string).collect())),
    };
    Needed {
        partition,
        all_but,
        offset: need.offset,
        from: need.from.map(format_timestamp),
        by: need.by.clone(),
        passed_over: need.passed_over.clone(),
    }
}

/// A day since 1970-01-01 as `YYYY-MM-DD`.
pub(crate) fn day(days: i32) -> String {
    format_timestamp(i64::from(days) * DAY).chars().take(10).collect()
}
