//! Lanes, waiting events and dead events in SQLite.

mod rows;
mod write;

use super::Sqlite;
use super::rows::{integer, offset};
use crate::control::ControlError;
use crate::delivery::lane_store::{
    Checkpoint, DEAD_MAX, Dead, DeadFilter, DeadPage, LaneStore, LaneSummary, Parked,
};
use crate::delivery::{Class, LaneId};
use crate::log::Offset;
use async_trait::async_trait;
use futures::TryStreamExt;
use rows::{dead_event, lane, parked};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use write::{delete, drop_oldest, put_dead, put_parked};

#[async_trait]
impl LaneStore for Sqlite {
    async fn load(&self, lane: &LaneId) -> Result<Option<Checkpoint>, ControlError> {
        // One transaction, so that the cursor and the rows are of one checkpoint.
        let mut read = self.readers.begin().await?;
        let found = sqlx::query(
            "SELECT id, next_offset, journal FROM lanes
             WHERE destination = ? AND partition = ? AND replay = ?",
        )
        .bind(&*lane.destination)
        .bind(&*lane.partition.0)
        .bind(replay(lane))
        .fetch_optional(&mut *read)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let mut checkpoint = Checkpoint {
            cursor: offset(row.try_get("next_offset")?)?,
            journal: offset(row.try_get("journal")?)?,
            parked: Vec::new(),
        };
        let mut rows = sqlx::query(
            "SELECT event_offset, user_key, anonymous_key, attempt, first_at, next_at, sendable_us, class,
                    trigger
             FROM parked WHERE lane = ? ORDER BY event_offset",
        )
        .bind(row.try_get::<i64, _>("id")?)
        .fetch(&mut *read);
        while let Some(row) = rows.try_next().await? {
            checkpoint.parked.push(parked(&row)?);
        }
        Ok(Some(checkpoint))
    }

    async fn save(
        &self,
        lane: &LaneId,
        cursor: Offset,
        journal: u64,
        put: &[Parked],
        removed: &[Offset],
        dead: &[Dead],
        revived: &[Offset],
    ) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO lanes (destination, partition, replay, next_offset, journal)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (destination, partition, replay)
             DO UPDATE SET next_offset = excluded.next_offset, journal = excluded.journal
             RETURNING id",
        )
        .bind(&*lane.destination)
        .bind(&*lane.partition.0)
        .bind(replay(lane))
        .bind(integer(cursor)?)
        .bind(integer(journal)?)
        .fetch_one(&mut *write)
        .await?;
        delete(&mut write, "parked", id, removed).await?;
        put_parked(&mut write, id, put).await?;
        delete(&mut write, "dead_events", id, revived).await?;
        if !dead.is_empty() {
            put_dead(&mut write, id, &lane.destination, dead).await?;
            drop_oldest(&mut write, &lane.destination).await?;
        }
        Ok(write.commit().await?)
    }

    async fn dead(&self, destination: &str, filter: &DeadFilter) -> Result<DeadPage, ControlError> {
        let limit = if filter.limit == 0 { DEAD_MAX } else { filter.limit.min(DEAD_MAX) };
        let mut read = self.readers.begin().await?;
        let rows = sqlx::query(
            "SELECT dead_events.id, partition, replay, event_offset, message_id, class, status,
                    vendor_code, reason, attempt, at
             FROM dead_events JOIN lanes ON lanes.id = lane
             WHERE dead_events.destination = ?1 AND (?2 IS NULL OR class = ?2) AND (?3 IS NULL OR at < ?3)
                   AND (?4 IS NULL OR dead_events.id < ?4)
             ORDER BY dead_events.id DESC LIMIT ?5",
        )
        .bind(destination)
        .bind(filter.class.map(Class::as_str))
        .bind(filter.before)
        .bind(filter.after_key.map(integer).transpose()?)
        .bind(limit + 1)
        .fetch_all(&mut *read)
        .await?;
        let count = "SELECT (SELECT COUNT(*) FROM dead_events WHERE destination = ?1),
                            (SELECT dropped FROM dead_dropped WHERE destination = ?1)";
        let (kept, dropped): (i64, Option<i64>) =
            sqlx::query_as(count).bind(destination).fetch_one(&mut *read).await?;
        let more = rows.len() > limit as usize;
        let rows = &rows[..rows.len().min(limit as usize)];
        let next_key = match rows.last() {
            Some(last) if more => Some(offset(last.try_get("id")?)?),
            _ => None,
        };
        Ok(DeadPage {
            dead: rows.iter().map(|row| dead_event(row, destination)).collect::<Result<_, _>>()?,
            next_key,
            kept: offset(kept)?,
            dropped: offset(dropped.unwrap_or(0))?,
        })
    }

    async fn resolve(&self, lane: &LaneId, offsets: &[Offset]) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        let id: Option<i64> =
            sqlx::query_scalar("SELECT id FROM lanes WHERE destination = ? AND partition = ? AND replay = ?")
                .bind(&*lane.destination)
                .bind(&*lane.partition.0)
                .bind(replay(lane))
                .fetch_optional(&mut *write)
                .await?;
        if let Some(id) = id {
            delete(&mut write, "dead_events", id, offsets).await?;
        }
        Ok(write.commit().await?)
    }

    async fn lanes(&self) -> Result<Vec<LaneSummary>, ControlError> {
        let rows = sqlx::query(
            "SELECT destination, partition, replay, next_offset, journal FROM lanes
             ORDER BY destination, partition, replay",
        )
        .fetch_all(&self.readers)
        .await?;
        let summary = |row: &SqliteRow| {
            Ok(LaneSummary {
                lane: lane(row, row.try_get("destination")?)?,
                cursor: offset(row.try_get("next_offset")?)?,
                journal: offset(row.try_get("journal")?)?,
            })
        };
        rows.iter().map(summary).collect()
    }

    async fn forget(&self, destination: &str) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        for statement in [
            "DELETE FROM parked WHERE lane IN (SELECT id FROM lanes WHERE destination = ?)",
            "DELETE FROM dead_events WHERE destination = ?",
            "DELETE FROM dead_dropped WHERE destination = ?",
            "DELETE FROM lanes WHERE destination = ?",
        ] {
            sqlx::query(statement).bind(destination).execute(&mut *write).await?;
        }
        Ok(write.commit().await?)
    }
}

fn replay(lane: &LaneId) -> &str {
    lane.replay.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
