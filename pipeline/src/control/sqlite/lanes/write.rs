//! The statements that change waiting and dead events.

use crate::control::ControlError;
use crate::control::sqlite::rows::integer;
use crate::delivery::Class;
use crate::delivery::lane_store::{DEAD_MAX, Dead, Parked};
use crate::log::Offset;
use sqlx::{QueryBuilder, Sqlite as Database, Transaction};

/// So many rows are written by one statement; SQLite binds at most 32,766 values.
const ROWS: usize = 1_000;

pub(super) async fn put_parked(
    write: &mut Transaction<'_, Database>,
    lane: i64,
    put: &[Parked],
) -> Result<(), ControlError> {
    for parked in put.chunks(ROWS) {
        let offsets = integers(parked.iter().map(|parked| parked.offset))?;
        let sendable = integers(parked.iter().map(|parked| parked.sendable_us))?;
        let mut insert = QueryBuilder::new("INSERT OR REPLACE INTO parked ");
        insert.push_values(
            parked.iter().zip(offsets).zip(sendable),
            |mut row, ((parked, offset), sendable)| {
                row.push_bind(lane)
                    .push_bind(offset)
                    .push_bind(parked.keys[0].cast_signed())
                    .push_bind(parked.keys[1].cast_signed())
                    .push_bind(parked.attempt)
                    .push_bind(parked.first_at)
                    .push_bind(parked.next_at)
                    .push_bind(sendable)
                    .push_bind(parked.class.map(Class::as_str))
                    .push_bind(parked.trigger.as_str());
            },
        );
        insert.build().execute(&mut **write).await?;
    }
    Ok(())
}

pub(super) async fn put_dead(
    write: &mut Transaction<'_, Database>,
    lane: i64,
    destination: &str,
    dead: &[Dead],
) -> Result<(), ControlError> {
    for dead in dead.chunks(ROWS) {
        let offsets = integers(dead.iter().map(|dead| dead.offset))?;
        // An event that died before gets a new id: it is among the newest again.
        let mut insert = QueryBuilder::new(
            "INSERT OR REPLACE INTO dead_events
             (destination, lane, event_offset, message_id, class, status, vendor_code, reason, attempt, at) ",
        );
        insert.push_values(dead.iter().zip(offsets), |mut row, (dead, offset)| {
            row.push_bind(destination)
                .push_bind(lane)
                .push_bind(offset)
                .push_bind(&dead.message_id)
                .push_bind(dead.class.as_str())
                .push_bind(dead.status)
                .push_bind(&dead.vendor_code)
                .push_bind(&dead.reason)
                .push_bind(dead.attempt)
                .push_bind(dead.at);
        });
        insert.build().execute(&mut **write).await?;
    }
    Ok(())
}

/// Deletes rows of a lane by their offsets.
pub(super) async fn delete(
    write: &mut Transaction<'_, Database>,
    table: &'static str,
    lane: i64,
    offsets: &[Offset],
) -> Result<(), ControlError> {
    for offsets in offsets.chunks(ROWS) {
        let mut delete = QueryBuilder::new("DELETE FROM ");
        delete.push(table).push(" WHERE lane = ").push_bind(lane).push(" AND event_offset IN (");
        let mut list = delete.separated(", ");
        for offset in integers(offsets.iter().copied())? {
            list.push_bind(offset);
        }
        delete.push(")").build().execute(&mut **write).await?;
    }
    Ok(())
}

pub(super) async fn drop_oldest(
    write: &mut Transaction<'_, Database>,
    destination: &str,
) -> Result<(), ControlError> {
    let done = sqlx::query(
        "DELETE FROM dead_events WHERE destination = ?1 AND id <= (
             SELECT id FROM dead_events WHERE destination = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(destination)
    .bind(DEAD_MAX)
    .execute(&mut **write)
    .await?;
    if done.rows_affected() > 0 {
        sqlx::query(
            "INSERT INTO dead_dropped VALUES (?1, ?2)
             ON CONFLICT (destination) DO UPDATE SET dropped = dropped + excluded.dropped",
        )
        .bind(destination)
        .bind(done.rows_affected().cast_signed())
        .execute(&mut **write)
        .await?;
    }
    Ok(())
}

fn integers(numbers: impl Iterator<Item = u64>) -> Result<Vec<i64>, ControlError> {
    numbers.map(integer).collect()
}
