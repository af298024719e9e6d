//! Suppressed identifiers in SQLite.

use super::count_change;
use super::read::unreadable;
use crate::connection::{IdentifierKind, Suppressed, Suppression};
use crate::control::ControlError;
use crate::control::sqlite::Sqlite;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub(super) async fn add(store: &Sqlite, suppression: &Suppression) -> Result<(), ControlError> {
    let mut write = store.begin().await?;
    sqlx::query(
        "INSERT INTO suppressions (kind, value, reason, created_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (kind, value) DO UPDATE SET reason = excluded.reason",
    )
    .bind(suppression.kind.as_str())
    .bind(suppression.kind.normal(&suppression.value))
    .bind(&suppression.reason)
    .bind(suppression.created_at)
    .execute(&mut *write)
    .await?;
    count_change(&mut write).await?;
    Ok(write.commit().await?)
}

pub(super) async fn remove(store: &Sqlite, kind: IdentifierKind, value: &str) -> Result<(), ControlError> {
    let mut write = store.begin().await?;
    let done = sqlx::query("DELETE FROM suppressions WHERE kind = ? AND value = ?")
        .bind(kind.as_str())
        .bind(kind.normal(value))
        .execute(&mut *write)
        .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Unknown(value.to_owned()));
    }
    count_change(&mut write).await?;
    Ok(write.commit().await?)
}

pub(super) async fn page(
    store: &Sqlite,
    after: Option<(IdentifierKind, &str)>,
    max: u32,
) -> Result<Vec<Suppression>, ControlError> {
    // No kind has an empty word, so the empty pair lies before all.
    let (kind, value) = after.map_or(("", ""), |(kind, value)| (kind.as_str(), value));
    let rows = sqlx::query(
        "SELECT kind, value, reason, created_at FROM suppressions WHERE (kind, value) > (?, ?)
         ORDER BY kind, value LIMIT ?",
    )
    .bind(kind)
    .bind(value)
    .bind(max)
    .fetch_all(&store.readers)
    .await?;
    rows.iter().map(suppression).collect()
}

pub(super) async fn all(store: &Sqlite) -> Result<Suppressed, ControlError> {
    let rows = sqlx::query("SELECT kind, value FROM suppressions").fetch_all(&store.readers).await?;
    let identifiers = rows.iter().map(|row| {
        let value: &str = row.try_get("value")?;
        Ok((kind(row)?, Box::from(value)))
    });
    Ok(Suppressed::new(identifiers.collect::<Result<Vec<_>, ControlError>>()?))
}

fn suppression(row: &SqliteRow) -> Result<Suppression, ControlError> {
    Ok(Suppression {
        kind: kind(row)?,
        value: row.try_get("value")?,
        reason: row.try_get("reason")?,
        created_at: row.try_get("created_at")?,
    })
}

fn kind(row: &SqliteRow) -> Result<IdentifierKind, ControlError> {
    let word: &str = row.try_get("kind")?;
    IdentifierKind::parse(word).ok_or_else(|| unreadable("kind", "a suppression"))
}
