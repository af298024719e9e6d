//! The control store in SQLite: one file in the data directory, in WAL mode, every commit fsynced.
//!
//! Several processes may open it at the same time. Writes go through one connection and take the
//! write lock at their start (`BEGIN IMMEDIATE`), so that none fails half-way because another came
//! between; reads have connections of their own and never wait for writes.

mod connections;
mod lanes;
mod rows;
mod schema;

use super::{ApiKey, Control, ControlError, KeyHash, Source};
use crate::Micros;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite as Database, SqlitePool, Transaction};
use std::path::Path;
use std::time::Duration;

/// How long a write waits for the write of another process.
const BUSY: Duration = Duration::from_secs(10);
/// Connections for reading.
const READERS_MAX: u32 = 4;

/// The control store in one SQLite file.
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the store, makes it where there is none (readable by its owner only), and brings its
    /// schema up to this version.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when the file cannot be made, is no control store, or was written by
    /// a newer version; [`ControlError::Store`] when SQLite fails.
    pub async fn open(path: &Path) -> Result<Self, ControlError> {
        make_private(path).map_err(|error| {
            ControlError::Invalid(format!("the control store `{}` cannot be opened: {error}", path.display()))
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            // What is deleted is overwritten, so that an erased credential is gone from the file.
            .pragma("secure_delete", "ON");
        let writing = options.clone().journal_mode(SqliteJournalMode::Wal);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(2 * BUSY)
            .connect_with(writing)
            .await?;
        schema::migrate(&writer, path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(BUSY)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Writes the store as it is at one moment to a file that is not there yet, readable by its owner only. Other
    /// processes go on writing meanwhile.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when the file cannot be made; [`ControlError::Store`] when SQLite fails.
    pub async fn copy_to(&self, path: &Path) -> Result<(), ControlError> {
        let invalid = |why: &str| {
            ControlError::Invalid(format!(
                "the control store cannot be copied to `{}`: {why}",
                path.display()
            ))
        };
        let text = path.to_str().ok_or_else(|| invalid("the path is no text"))?;
        // SQLite writes into a file that is empty, and leaves its mode as it is.
        make_private(path).map_err(|error| invalid(&error.to_string()))?;
        sqlx::query("VACUUM INTO ?").bind(text).execute(&self.writer).await?;
        Ok(())
    }

    /// Closes all connections; the last process to do so also tidies up SQLite's own log.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Database>, ControlError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

#[async_trait]
impl Control for Sqlite {
    async fn add_source(&self, source: Source) -> Result<(), ControlError> {
        Source::check_name(&source.name)?;
        let mut write = self.begin().await?;
        sqlx::query(
            "INSERT INTO sources (name, kind, test, enabled, write_key_hash, write_key_prefix, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&source.name)
        .bind(source.kind.as_str())
        .bind(source.test)
        .bind(source.enabled)
        .bind(source.write_key_hash.0.as_slice())
        .bind(&source.write_key_prefix)
        .bind(source.created_at)
        .execute(&mut *write)
        .await
        .map_err(|error| exists(error, &source.name))?;
        count_change(&mut write).await?;
        Ok(write.commit().await?)
    }

    async fn sources(&self) -> Result<Vec<Source>, ControlError> {
        let rows = sqlx::query(
            "SELECT name, kind, test, enabled, write_key_hash, write_key_prefix, created_at
             FROM sources ORDER BY name",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(rows::source).collect()
    }

    async fn set_source_enabled(&self, name: &str, enabled: bool) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        let done = sqlx::query("UPDATE sources SET enabled = ? WHERE name = ?")
            .bind(enabled)
            .bind(name)
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            return Err(ControlError::Unknown(name.to_owned()));
        }
        count_change(&mut write).await?;
        Ok(write.commit().await?)
    }

    async fn version(&self) -> Result<i64, ControlError> {
        Ok(sqlx::query_scalar("SELECT number FROM changes").fetch_one(&self.readers).await?)
    }

    async fn add_api_key(&self, key: ApiKey) -> Result<(), ControlError> {
        ApiKey::check_name(&key.name)?;
        let mut write = self.begin().await?;
        sqlx::query(
            "INSERT INTO api_keys (name, hash, prefix, scopes, expires_at, last_used_at, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&key.name)
        .bind(key.hash.0.as_slice())
        .bind(&key.prefix)
        .bind(rows::scope_words(&key.scopes))
        .bind(key.expires_at)
        .bind(key.last_used_at)
        .bind(key.created_at)
        .execute(&mut *write)
        .await
        .map_err(|error| exists(error, &key.name))?;
        count_change(&mut write).await?;
        Ok(write.commit().await?)
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, ControlError> {
        let rows = sqlx::query(
            "SELECT name, hash, prefix, scopes, expires_at, last_used_at, created_at FROM api_keys ORDER BY name",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(rows::api_key).collect()
    }

    async fn revoke_api_key(&self, name: &str) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        let done = sqlx::query("DELETE FROM api_keys WHERE name = ?").bind(name).execute(&mut *write).await?;
        if done.rows_affected() == 0 {
            return Err(ControlError::Unknown(name.to_owned()));
        }
        count_change(&mut write).await?;
        Ok(write.commit().await?)
    }

    async fn api_keys_used(&self, used: &[(KeyHash, Micros)]) -> Result<(), ControlError> {
        let mut write = self.begin().await?;
        for (hash, at) in used {
            sqlx::query(
                "UPDATE api_keys SET last_used_at = max(ifnull(last_used_at, ?1), ?1) WHERE hash = ?2",
            )
            .bind(at)
            .bind(hash.0.as_slice())
            .execute(&mut *write)
            .await?;
        }
        Ok(write.commit().await?)
    }
}

async fn count_change(write: &mut Transaction<'_, Database>) -> Result<(), ControlError> {
    sqlx::query("UPDATE changes SET number = number + 1").execute(&mut **write).await?;
    Ok(())
}

fn exists(error: sqlx::Error, name: &str) -> ControlError {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => ControlError::Exists(name.to_owned()),
        _ => ControlError::Store(error),
    }
}

/// Makes the file so that only its owner can read it; SQLite gives its own files the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
