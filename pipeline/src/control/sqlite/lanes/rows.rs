//! Rows as values.

use crate::control::ControlError;
use crate::control::sqlite::rows::offset;
use crate::delivery::lane_store::{Dead, Parked};
use crate::delivery::{Class, LaneId, Trigger};
use crate::log::PartitionId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub(super) fn lane(row: &SqliteRow, destination: &str) -> Result<LaneId, ControlError> {
    let replay: &str = row.try_get("replay")?;
    Ok(LaneId {
        destination: destination.into(),
        partition: PartitionId(row.try_get::<&str, _>("partition")?.into()),
        replay: (!replay.is_empty()).then(|| replay.into()),
    })
}

/// A row of a checkpoint. There may be a million, so columns are found by their place.
pub(super) fn parked(row: &SqliteRow) -> Result<Parked, ControlError> {
    let key = |index: usize| Ok::<_, ControlError>(row.try_get::<i64, _>(index)?.cast_unsigned());
    let trigger: &str = row.try_get(8)?;
    Ok(Parked {
        offset: offset(row.try_get(0)?)?,
        keys: [key(1)?, key(2)?],
        attempt: row.try_get(3)?,
        first_at: row.try_get(4)?,
        next_at: row.try_get(5)?,
        sendable_us: offset(row.try_get(6)?)?,
        class: row.try_get::<Option<&str>, _>(7)?.map(class).transpose()?,
        trigger: Trigger::parse(trigger).ok_or_else(|| unreadable("trigger", trigger))?,
    })
}

pub(super) fn dead_event(row: &SqliteRow, destination: &str) -> Result<Dead, ControlError> {
    Ok(Dead {
        lane: lane(row, destination)?,
        offset: offset(row.try_get("event_offset")?)?,
        message_id: row.try_get("message_id")?,
        class: class(row.try_get("class")?)?,
        status: row.try_get("status")?,
        vendor_code: row.try_get("vendor_code")?,
        reason: row.try_get("reason")?,
        attempt: row.try_get("attempt")?,
        at: row.try_get("at")?,
    })
}

fn class(word: &str) -> Result<Class, ControlError> {
    Class::parse(word).ok_or_else(|| unreadable("class", word))
}

fn unreadable(what: &str, word: &str) -> ControlError {
    ControlError::Invalid(format!("the control store holds an unknown {what} `{word}`"))
}
