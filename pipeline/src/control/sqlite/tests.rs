use super::*;
use crate::control::{Scope, conformance};
use sqlx::Connection;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

async fn open(dir: &TempDir) -> Sqlite {
    Sqlite::open(&dir.path().join("control.db")).await.unwrap()
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance::one_handle(&open(&dir).await).await;
}

#[tokio::test]
async fn two_processes_see_each_others_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = tokio::join!(open(&dir), open(&dir));
    conformance::two_handles(&one, &other).await;
}

#[tokio::test]
async fn writes_outlive_the_handle() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).await;
    first.add_source(conformance::source("web", 1)).await.unwrap();
    first.close().await;
    let version = open(&dir).await.version().await.unwrap();
    let again = open(&dir).await;
    assert_eq!(again.sources().await.unwrap(), [conformance::source("web", 1)]);
    assert_eq!(again.version().await.unwrap(), version);
}

#[tokio::test]
async fn only_its_owner_can_read_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    control.add_source(conformance::source("web", 1)).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.file_name().display());
    }
}

#[tokio::test]
async fn a_file_of_the_first_version_keeps_its_sources_and_loses_what_nothing_reads() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("control.db"));
    let mut raw =
        sqlx::SqliteConnection::connect_with(&options.clone().create_if_missing(true)).await.unwrap();
    sqlx::raw_sql(include_str!("0001.sql")).execute(&mut raw).await.unwrap();
    let old = "INSERT INTO cursors VALUES ('segment', '00000000000000aa', 7);
               INSERT INTO sources VALUES ('web', 'server', 0, 1, zeroblob(32), 'fs_write_1', 5);
               INSERT INTO api_keys VALUES ('admin', zeroblob(32), 'fs_api_1', 5);
               PRAGMA user_version = 1";
    sqlx::raw_sql(old).execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();

    let control = open(&dir).await;
    let sources = control.sources().await.unwrap();
    assert_eq!(sources.iter().map(|source| &*source.name).collect::<Vec<_>>(), ["web"]);
    let keys = control.api_keys().await.unwrap();
    assert_eq!((keys[0].scopes.as_slice(), keys[0].expires_at), ([Scope::Admin].as_slice(), None));
    control.close().await;
    let mut raw = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name IN ('cursors', 'dead_letters')";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&mut raw).await.unwrap(), 0);
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    open(&dir).await.close().await;
    let mut raw =
        sqlx::SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let message = Sqlite::open(&path).await.map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("schema version 99") && message.contains("newer program"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    std::fs::write(&path, "this is no database, and long enough to have a header".repeat(4)).unwrap();
    assert!(Sqlite::open(&path).await.is_err());
    let missing = Sqlite::open(&dir.path().join("no/such/control.db")).await.map(|_| ()).unwrap_err();
    assert!(missing.to_string().contains("no/such/control.db"), "{missing}");
}
