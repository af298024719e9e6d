//! Rows of connections as values.

use crate::connection::{Connection, Credential, State, Summary};
use crate::control::ControlError;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite as Database, Transaction};
use std::collections::BTreeMap;

const COLUMNS: &str = "SELECT id, name, vendor, settings, hosts, routing, state, reason, version, start,
                           last_check, created_at, updated_at FROM connections";

/// All connections by name.
pub(super) async fn all(read: &mut Transaction<'_, Database>) -> Result<Vec<Connection>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY name"));
    let rows = sqlx::query(sql).fetch_all(&mut **read).await?;
    let mut connections = rows.iter().map(connection).collect::<Result<Vec<_>, _>>()?;
    let sealed =
        sqlx::query("SELECT connection, name, sealed, prefix, last_four, created_at FROM credentials")
            .fetch_all(&mut **read)
            .await?;
    let mut of: BTreeMap<String, BTreeMap<String, Credential>> = BTreeMap::new();
    for row in &sealed {
        of.entry(row.try_get("connection")?).or_default().insert(row.try_get("name")?, credential(row)?);
    }
    for connection in &mut connections {
        connection.credentials = of.remove(&*connection.id).unwrap_or_default();
    }
    Ok(connections)
}

/// The connection with this id.
pub(super) async fn one(read: &mut Transaction<'_, Database>, id: &str) -> Result<Connection, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?"));
    let row = sqlx::query(sql).bind(id).fetch_optional(&mut **read).await?;
    let mut connection = connection(&row.ok_or_else(|| ControlError::Unknown(id.to_owned()))?)?;
    let sealed = sqlx::query(
        "SELECT name, sealed, prefix, last_four, created_at FROM credentials WHERE connection = ?",
    )
    .bind(id)
    .fetch_all(&mut **read)
    .await?;
    for row in &sealed {
        connection.credentials.insert(row.try_get("name")?, credential(row)?);
    }
    Ok(connection)
}

fn connection(row: &SqliteRow) -> Result<Connection, ControlError> {
    let id: &str = row.try_get("id")?;
    let state: &str = row.try_get("state")?;
    let version: i64 = row.try_get("version")?;
    Ok(Connection {
        id: id.into(),
        name: row.try_get("name")?,
        vendor: row.try_get("vendor")?,
        settings: parsed(row, "settings", id)?,
        hosts: parsed(row, "hosts", id)?,
        routing: parsed(row, "routing", id)?,
        credentials: BTreeMap::new(),
        state: State::parse(state).ok_or_else(|| unreadable("state", id))?,
        reason: optional(row, "reason", id)?,
        version: u64::try_from(version).map_err(|_| unreadable("version", id))?,
        start: optional(row, "start", id)?,
        last_check: optional(row, "last_check", id)?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn credential(row: &SqliteRow) -> Result<Credential, ControlError> {
    let summary = Summary {
        prefix: row.try_get("prefix")?,
        last_four: row.try_get("last_four")?,
        created_at: row.try_get("created_at")?,
    };
    Ok(Credential { sealed: row.try_get("sealed")?, summary })
}

pub(super) fn parsed<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
    id: &str,
) -> Result<T, ControlError> {
    optional(row, column, id)?.ok_or_else(|| unreadable(column, id))
}

fn optional<T: DeserializeOwned>(row: &SqliteRow, column: &str, id: &str) -> Result<Option<T>, ControlError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(text).map_err(|_| unreadable(column, id))).transpose()
}

pub(super) fn unreadable(what: &str, of: &str) -> ControlError {
    ControlError::Invalid(format!("the control store holds a {what} of `{of}` that cannot be read"))
}
