//! Replays in SQLite.

use super::read::{parsed, unreadable};
use super::{count_change, integer, json, known};
use crate::Micros;
use crate::connection::{Replay, ReplayCounts, ReplayState};
use crate::control::ControlError;
use crate::control::sqlite::Sqlite;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, Sqlite as Database, SqliteExecutor};

const COLUMNS: &str = "SELECT id, connection, spec, state, error, scanned, matched, sent, failed, total,
                           created_at, updated_at FROM replays";

pub(super) async fn add(store: &Sqlite, replay: &Replay) -> Result<(), ControlError> {
    let mut write = store.begin().await?;
    let done = sqlx::query(
        "INSERT INTO replays (id, connection, spec, state, error, scanned, matched, sent, failed, total,
             created_at, updated_at)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM connections WHERE id = ?2",
    )
    .bind(&*replay.id)
    .bind(&*replay.connection)
    .bind(json(&replay.spec)?)
    .bind(replay.state.as_str())
    .bind(&replay.error)
    .bind(integer(replay.counts.scanned)?)
    .bind(integer(replay.counts.matched)?)
    .bind(integer(replay.counts.sent)?)
    .bind(integer(replay.counts.failed)?)
    .bind(integer(replay.counts.total)?)
    .bind(replay.created_at)
    .bind(replay.updated_at)
    .execute(&mut *write)
    .await
    .map_err(|error| super::exists(error, &replay.id))?;
    known(done.rows_affected(), &replay.connection)?;
    count_change(&mut write).await?;
    Ok(write.commit().await?)
}

pub(super) async fn newest(
    store: &Sqlite,
    connection: Option<&str>,
    max: u32,
) -> Result<Vec<Replay>, ControlError> {
    let sql =
        format!("{COLUMNS} WHERE ?1 IS NULL OR connection = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2");
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(connection).bind(max).fetch_all(&store.readers).await?;
    rows.iter().map(replay).collect()
}

pub(super) async fn open(store: &Sqlite) -> Result<Vec<Replay>, ControlError> {
    let sql = format!("{COLUMNS} WHERE state IN ('running', 'paused') ORDER BY created_at, id");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&store.readers).await?;
    rows.iter().map(replay).collect()
}

pub(super) async fn one(read: impl SqliteExecutor<'_>, id: &str) -> Result<Replay, ControlError> {
    let sql = AssertSqlSafe(format!("{COLUMNS} WHERE id = ?"));
    let row = sqlx::query::<Database>(sql).bind(id).fetch_optional(read).await?;
    replay(&row.ok_or_else(|| ControlError::Unknown(id.to_owned()))?)
}

pub(super) async fn set_state(
    store: &Sqlite,
    id: &str,
    to: ReplayState,
    error: Option<&str>,
    now: Micros,
) -> Result<Replay, ControlError> {
    let mut write = store.begin().await?;
    let now_is = one(&mut *write, id).await?;
    if now_is.state.is_final() || now_is.state == to {
        return Ok(now_is);
    }
    sqlx::query("UPDATE replays SET state = ?, error = ?, updated_at = ? WHERE id = ?")
        .bind(to.as_str())
        .bind(error)
        .bind(now)
        .bind(id)
        .execute(&mut *write)
        .await?;
    count_change(&mut write).await?;
    let changed = one(&mut *write, id).await?;
    write.commit().await?;
    Ok(changed)
}

pub(super) async fn count(
    store: &Sqlite,
    id: &str,
    counts: ReplayCounts,
    now: Micros,
) -> Result<(), ControlError> {
    let done = sqlx::query(
        "UPDATE replays SET scanned = ?, matched = ?, sent = ?, failed = ?, total = ?, updated_at = ?
         WHERE id = ?",
    )
    .bind(integer(counts.scanned)?)
    .bind(integer(counts.matched)?)
    .bind(integer(counts.sent)?)
    .bind(integer(counts.failed)?)
    .bind(integer(counts.total)?)
    .bind(now)
    .bind(id)
    .execute(&store.writer)
    .await?;
    known(done.rows_affected(), id)
}

fn replay(row: &SqliteRow) -> Result<Replay, ControlError> {
    let id: &str = row.try_get("id")?;
    let connection: &str = row.try_get("connection")?;
    let state: &str = row.try_get("state")?;
    let count = |column: &str| {
        let number: i64 = row.try_get(column)?;
        u64::try_from(number).map_err(|_| unreadable(column, id))
    };
    Ok(Replay {
        id: id.into(),
        connection: connection.into(),
        spec: parsed(row, "spec", id)?,
        state: ReplayState::parse(state).ok_or_else(|| unreadable("state", id))?,
        error: row.try_get("error")?,
        counts: ReplayCounts {
            scanned: count("scanned")?,
            matched: count("matched")?,
            sent: count("sent")?,
            failed: count("failed")?,
            total: count("total")?,
        },
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
