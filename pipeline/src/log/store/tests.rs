use super::*;
use crate::log::table::test_store::{Fate, TestStore};

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let root = Url::from_directory_path(dir.path().join("new/tables")).unwrap();
    let store = Store::open(&root.into()).await.unwrap();
    (dir, store)
}

fn path(store: &Store, name: &str) -> Path {
    Path::from_url_path(format!("{}{name}", store.root.path())).unwrap()
}

#[tokio::test]
async fn only_the_first_of_two_creates_wins() {
    let (_dir, store) = store().await;
    let path = path(&store, "a/b/c");
    store.object_store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
    let second = store.object_store.put_opts(&path, "two".into(), PutMode::Create.into()).await;
    assert!(matches!(second, Err(object_store::Error::AlreadyExists { .. })), "{second:?}");
    let bytes = store.object_store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"one");
    store.object_store.put(&path, "three".into()).await.unwrap();
    let bytes = store.object_store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"three");
}

#[tokio::test]
async fn a_write_leaves_nothing_but_its_object() {
    let (dir, store) = store().await;
    for mode in [PutMode::Create, PutMode::Overwrite, PutMode::Create] {
        let _ = store.object_store.put_opts(&path(&store, "a"), "x".into(), mode.into()).await;
    }
    let mut upload = store.object_store.put_multipart(&path(&store, "b")).await.unwrap();
    upload.put_part("part".into()).await.unwrap();
    upload.complete().await.unwrap();
    store.object_store.rename(&path(&store, "b"), &path(&store, "d/c")).await.unwrap();
    let names: Vec<_> = std::fs::read_dir(dir.path().join("new/tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(dir.path().join("new/tables/d/c").exists());
}

#[tokio::test]
async fn a_store_of_another_kind_is_refused() {
    let error = Store::open(&Url::parse("ftp://host/x").unwrap().into()).await.unwrap_err();
    assert!(error.to_string().contains("ftp://host/x"), "{error}");
}

#[tokio::test]
async fn a_store_that_lets_two_writers_win_is_refused() {
    let (_dir, store) = store().await;
    let error =
        store.wrap(|inner| TestStore::over(inner, |_, _| Fate::Overwrites)).probe().await.unwrap_err();
    assert!(error.to_string().contains("cannot hold the log"), "{error}");
}

#[tokio::test]
async fn an_object_of_several_pieces_is_what_was_put() {
    let (_dir, store) = store().await;
    let path = path(&store, "large");
    let byte = |at: usize| (at / 251 + at) as u8;
    // Parts that end within a piece, at its end, and behind several of them.
    let lengths = [300_000, (1 << 20) - 300_000, 3 << 20, 1, (2 << 20) + 7];
    let mut at = 0;
    let parts = lengths.map(|length| {
        at += length;
        (at - length..at).map(byte).collect::<Vec<u8>>()
    });
    let expected = parts.concat();
    let payload = parts.into_iter().map(bytes::Bytes::from).collect::<object_store::PutPayload>();
    store.object_store.put_opts(&path, payload, PutMode::Create.into()).await.unwrap();
    let read = store.object_store.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(read == expected, "{} bytes for {}", read.len(), expected.len());
}
