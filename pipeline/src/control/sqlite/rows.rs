//! Rows of the control store as values.

use crate::control::{ApiKey, ControlError, KeyHash, Scope, Source, SourceKind};
use crate::log::Offset;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub(super) fn source(row: &SqliteRow) -> Result<Source, ControlError> {
    let name: String = row.try_get("name")?;
    let kind: &str = row.try_get("kind")?;
    let kind = SourceKind::parse(kind).ok_or_else(|| unreadable("kind", &name))?;
    Ok(Source {
        kind,
        test: row.try_get("test")?,
        enabled: row.try_get("enabled")?,
        write_key_hash: hash(row.try_get("write_key_hash")?, &name)?,
        write_key_prefix: row.try_get("write_key_prefix")?,
        created_at: row.try_get("created_at")?,
        name,
    })
}

pub(super) fn api_key(row: &SqliteRow) -> Result<ApiKey, ControlError> {
    let name: String = row.try_get("name")?;
    Ok(ApiKey {
        hash: hash(row.try_get("hash")?, &name)?,
        prefix: row.try_get("prefix")?,
        scopes: scopes(row.try_get("scopes")?).ok_or_else(|| unreadable("scope", &name))?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        created_at: row.try_get("created_at")?,
        name,
    })
}

fn scopes(words: &str) -> Option<Vec<Scope>> {
    words.split(',').filter(|word| !word.is_empty()).map(Scope::parse).collect()
}

/// Scopes as the column has them.
pub(super) fn scope_words(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

/// An offset out of SQLite's signed integer.
pub(super) fn offset(integer: i64) -> Result<Offset, ControlError> {
    Offset::try_from(integer).map_err(|_| unreadable("offset", &integer.to_string()))
}

/// SQLite's signed integer for an offset.
pub(super) fn integer(offset: Offset) -> Result<i64, ControlError> {
    i64::try_from(offset).map_err(|_| ControlError::Invalid(format!("offset `{offset}` is over 2^63 - 1")))
}

fn hash(bytes: &[u8], name: &str) -> Result<KeyHash, ControlError> {
    bytes.try_into().map(KeyHash).map_err(|_| unreadable("hash", name))
}

fn unreadable(what: &str, of: &str) -> ControlError {
    ControlError::Invalid(format!("the control store holds a {what} of `{of}` that cannot be read"))
}
