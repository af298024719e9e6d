//! The tables of the control store, and how an older file becomes a newer one.

use crate::control::ControlError;
use sqlx::{AssertSqlSafe, SqlitePool};
use std::path::Path;

/// The steps from one version of the schema to the next. Only ever add to the end.
const STEPS: [&str; 5] = [
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
    include_str!("0005.sql"),
];

/// Brings the file up to this program's schema: one step in one transaction, the version in it.
pub(super) async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), ControlError> {
    let known = STEPS.len() as i64;
    let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *write).await?;
    if !(0..=known).contains(&version) {
        return Err(ControlError::Invalid(format!(
            "the control store `{}` has schema version {version} and this program knows versions up to \
             {known}: use the newer program that wrote it",
            path.display()
        )));
    }
    if version == known {
        return Ok(());
    }
    for step in &STEPS[version as usize..] {
        sqlx::raw_sql(*step).execute(&mut *write).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {known}"))).execute(&mut *write).await?;
    Ok(write.commit().await?)
}
