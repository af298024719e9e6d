use super::*;
use crate::connection::conformance::{self, connection, sealed};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

async fn open(dir: &TempDir) -> Sqlite {
    Sqlite::open(&dir.path().join("control.db")).await.unwrap()
}

/// Whether any file of the store holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn sqlite_keeps_the_contract_of_connections() {
    let dir = tempfile::tempdir().unwrap();
    conformance::one_handle(&open(&dir).await).await;
}

#[tokio::test]
async fn two_processes_see_each_others_connections() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(&dir).await, open(&dir).await);
    conformance::two_handles(&one, &other).await;
}

#[tokio::test]
async fn connections_outlive_the_handle() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).await;
    first.add_connection(&connection("con_a", "web")).await.unwrap();
    first.close().await;
    assert_eq!(open(&dir).await.connections().await.unwrap(), [connection("con_a", "web")]);
}

#[tokio::test]
async fn erased_and_replaced_ciphertext_is_gone_from_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    // Long enough for pages of its own beside the table's, too.
    let (short, long) = ("first-canary-ciphertext".to_owned(), "second-canary-".repeat(1_000));
    let mut first = connection("con_a", "web");
    first.credentials =
        BTreeMap::from([("token".to_owned(), sealed(&short)), ("key".to_owned(), sealed(&long))]);
    store.add_connection(&first).await.unwrap();
    assert!(holds(dir.path(), short.as_bytes()) && holds(dir.path(), b"second-canary-"), "they are there");

    let credentials = BTreeMap::from([("token".to_owned(), sealed("third-canary-ciphertext"))]);
    store.change_connection("con_a", Change { credentials, ..Change::default() }, 1).await.unwrap();
    assert!(!holds(dir.path(), short.as_bytes()), "replaced");
    assert!(holds(dir.path(), b"third-canary"));

    store.erase_connection("con_a").await.unwrap();
    assert!(!holds(dir.path(), b"third-canary") && !holds(dir.path(), b"second-canary-"), "erased");
}
