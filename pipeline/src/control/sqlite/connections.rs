//! Connections in SQLite, and how each part of the contract is kept.

mod read;
mod replays;
mod suppressions;

use super::{Sqlite, exists};
use crate::Micros;
use crate::connection::{
    Change, Connection, ConnectionStore, Credential, IdentifierKind, Reason, Replay, ReplayCounts,
    ReplayState, Start, State, Suppressed, Suppression,
};
use crate::control::ControlError;
use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Sqlite as Database, Transaction};

#[async_trait]
impl ConnectionStore for Sqlite {
    async fn changes(&self) -> Result<i64, ControlError> {
        Ok(sqlx::query_scalar("SELECT number FROM connection_changes").fetch_one(&self.readers).await?)
    }

    async fn add_connection(&self, connection: &Connection) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        sqlx::query(
            "INSERT INTO connections (id, name, vendor, settings, hosts, routing, state, reason, version,
                 start, last_check, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&*connection.id)
        .bind(&connection.name)
        .bind(&connection.vendor)
        .bind(json(&connection.settings)?)
        .bind(json(&connection.hosts)?)
        .bind(json(&connection.routing)?)
        .bind(connection.state.as_str())
        .bind(connection.reason.as_ref().map(json).transpose()?)
        .bind(integer(connection.version)?)
        .bind(connection.start.as_ref().map(json).transpose()?)
        .bind(connection.last_check.as_ref().map(json).transpose()?)
        .bind(connection.created_at)
        .bind(connection.updated_at)
        .execute(&mut *write)
        .await
        .map_err(|error| exists(error, &connection.name))?;
        for (name, credential) in &connection.credentials {
            put_credential(&mut write, &connection.id, name, credential).await?;
        }
        count_change(&mut write).await?;
        Ok(write.commit().await?)
    }

    async fn connections(&self) -> Result<Vec<Connection>, ControlError> {
        let mut read = self.readers.begin().await?;
        read::all(&mut read).await
    }

    async fn connection(&self, id: &str) -> Result<Connection, ControlError> {
        let mut read = self.readers.begin().await?;
        read::one(&mut read, id).await
    }

    async fn change_connection(
        &self,
        id: &str,
        change: Change,
        now: Micros,
    ) -> Result<Connection, ControlError> {
        let mut write = self.begin().await?;
        let mut connection = read::one(&mut write, id).await?;
        connection.name = change.name.unwrap_or(connection.name);
        connection.settings = change.settings.unwrap_or(connection.settings);
        connection.hosts = change.hosts.unwrap_or(connection.hosts);
        connection.routing = change.routing.unwrap_or(connection.routing);
        if connection.state == State::Held && !change.credentials.is_empty() {
            connection.state = State::Enabled;
            connection.reason = None;
        }
        sqlx::query(
            "UPDATE connections SET name = ?, settings = ?, hosts = ?, routing = ?, state = ?, reason = ?,
                 version = version + 1, updated_at = ? WHERE id = ?",
        )
        .bind(&connection.name)
        .bind(json(&connection.settings)?)
        .bind(json(&connection.hosts)?)
        .bind(json(&connection.routing)?)
        .bind(connection.state.as_str())
        .bind(connection.reason.as_ref().map(json).transpose()?)
        .bind(now)
        .bind(id)
        .execute(&mut *write)
        .await
        .map_err(|error| exists(error, &connection.name))?;
        for (name, credential) in &change.credentials {
            put_credential(&mut write, id, name, credential).await?;
        }
        for name in &change.forget {
            sqlx::query("DELETE FROM credentials WHERE connection = ? AND name = ?")
                .bind(id)
                .bind(name)
                .execute(&mut *write)
                .await?;
        }
        count_change(&mut write).await?;
        let changed = read::one(&mut write, id).await?;
        write.commit().await?;
        if !change.credentials.is_empty() || !change.forget.is_empty() {
            self.clear_log().await?;
        }
        Ok(changed)
    }

    async fn set_state(
        &self,
        id: &str,
        from: &[State],
        version: Option<u64>,
        to: State,
        reason: Option<Reason>,
        now: Micros,
    ) -> Result<Connection, ControlError> {
        let mut write = self.begin().await?;
        let now_is = read::one(&mut write, id).await?;
        let meant = version.is_none_or(|version| version == now_is.version);
        if !meant || !from.contains(&now_is.state) {
            return Ok(now_is);
        }
        let reason = reason.as_ref().map(json).transpose()?;
        sqlx::query("UPDATE connections SET state = ?, reason = ?, updated_at = ? WHERE id = ?")
            .bind(to.as_str())
            .bind(reason)
            .bind(now)
            .bind(id)
            .execute(&mut *write)
            .await?;
        self.changed(write, id).await
    }

    async fn start_connection(&self, id: &str, start: Start) -> Result<Connection, ControlError> {
        let mut write = self.begin().await?;
        let now_is = read::one(&mut write, id).await?;
        if now_is.state == State::Enabled {
            return Ok(now_is);
        }
        sqlx::query(
            "UPDATE connections SET state = 'enabled', reason = NULL, start = ?, updated_at = ? WHERE id = ?",
        )
        .bind(json(&start)?)
        .bind(start.asked_at)
        .bind(id)
        .execute(&mut *write)
        .await?;
        self.changed(write, id).await
    }

    async fn keep_check(&self, id: &str, found: &Value) -> Result<(), ControlError> {
        let done = sqlx::query("UPDATE connections SET last_check = ? WHERE id = ?")
            .bind(json(found)?)
            .bind(id)
            .execute(&self.writer)
            .await?;
        known(done.rows_affected(), id)
    }

    async fn reseal(&self, id: &str, name: &str, old: &[u8], new: &[u8]) -> Result<(), ControlError> {
        sqlx::query("UPDATE credentials SET sealed = ? WHERE connection = ? AND name = ? AND sealed = ?")
            .bind(new)
            .bind(id)
            .bind(name)
            .bind(old)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn erase_connection(&self, id: &str) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        let done = sqlx::query("DELETE FROM connections WHERE id = ?").bind(id).execute(&mut *write).await?;
        known(done.rows_affected(), id)?;
        count_change(&mut write).await?;
        write.commit().await?;
        self.clear_log().await
    }

    async fn suppress(&self, suppression: &Suppression) -> Result<(), ControlError> {
        suppressions::add(self, suppression).await
    }

    async fn lift(&self, kind: IdentifierKind, value: &str) -> Result<(), ControlError> {
        suppressions::remove(self, kind, value).await
    }

    async fn suppressions(
        &self,
        after: Option<(IdentifierKind, &str)>,
        max: u32,
    ) -> Result<Vec<Suppression>, ControlError> {
        suppressions::page(self, after, max).await
    }

    async fn suppressed(&self) -> Result<Suppressed, ControlError> {
        suppressions::all(self).await
    }

    async fn add_replay(&self, replay: &Replay) -> Result<(), ControlError> {
        replays::add(self, replay).await
    }

    async fn replays(&self, connection: Option<&str>, max: u32) -> Result<Vec<Replay>, ControlError> {
        replays::newest(self, connection, max).await
    }

    async fn open_replays(&self) -> Result<Vec<Replay>, ControlError> {
        replays::open(self).await
    }

    async fn replay(&self, id: &str) -> Result<Replay, ControlError> {
        replays::one(&self.readers, id).await
    }

    async fn set_replay_state(
        &self,
        id: &str,
        to: ReplayState,
        error: Option<&str>,
        now: Micros,
    ) -> Result<Replay, ControlError> {
        replays::set_state(self, id, to, error, now).await
    }

    async fn count_replay(&self, id: &str, counts: ReplayCounts, now: Micros) -> Result<(), ControlError> {
        replays::count(self, id, counts, now).await
    }
}

impl Sqlite {
    /// Ends a change to a connection and gives what it is now.
    async fn changed(
        &self,
        mut write: Transaction<'static, Database>,
        id: &str,
    ) -> Result<Connection, ControlError> {
        count_change(&mut write).await?;
        let changed = read::one(&mut write, id).await?;
        write.commit().await?;
        Ok(changed)
    }

    /// Empties SQLite's own log, which holds what pages were before. Deleted content in the pages
    /// themselves is overwritten by `secure_delete`. Where a reader of another process is in the way,
    /// the log is emptied by a later checkpoint.
    async fn clear_log(&self) -> Result<(), ControlError> {
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer).await?;
        Ok(())
    }
}

async fn put_credential(
    write: &mut Transaction<'_, Database>,
    id: &str,
    name: &str,
    credential: &Credential,
) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT OR REPLACE INTO credentials (connection, name, sealed, prefix, last_four, created_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(name)
    .bind(&credential.sealed)
    .bind(&credential.summary.prefix)
    .bind(&credential.summary.last_four)
    .bind(credential.summary.created_at)
    .execute(&mut **write)
    .await?;
    Ok(())
}

async fn count_change(write: &mut Transaction<'_, Database>) -> Result<(), ControlError> {
    sqlx::query("UPDATE connection_changes SET number = number + 1").execute(&mut **write).await?;
    Ok(())
}

fn known(rows: u64, id: &str) -> Result<(), ControlError> {
    if rows == 0 { Err(ControlError::Unknown(id.to_owned())) } else { Ok(()) }
}

fn json(value: &impl Serialize) -> Result<String, ControlError> {
    serde_json::to_string(value)
        .map_err(|error| ControlError::Invalid(format!("a value cannot be written as JSON: {error}")))
}

fn integer(number: u64) -> Result<i64, ControlError> {
    i64::try_from(number).map_err(|_| ControlError::Invalid(format!("`{number}` is over 2^63 - 1")))
}

#[cfg(test)]
mod tests;
