use super::*;

fn commit(version: u64) -> String {
    format!("events/_delta_log/{version:020}.json")
}

async fn read(setup: &Setup, name: &str) -> String {
    let bytes = setup.store.object_store.get(&setup.path(name)).await.unwrap().bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn write(setup: &Setup, name: &str, text: String) {
    setup.store.object_store.put(&setup.path(name), text.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_last_commit_is_set_aside_and_replayed() {
    for cut in ["empty", "torn", "without its last line"] {
        let setup = Setup::new().await;
        append_frames(&setup.open().await, 0, 3).await;
        let text = read(&setup, &commit(3)).await;
        let text = match cut {
            "empty" => "",
            "torn" => &text[..text.len() / 2],
            _ => text.trim_end().rsplit_once('\n').unwrap().0,
        };
        write(&setup, &commit(3), text.to_owned()).await;

        let late = WalCover { partition: partition(), first: 33 };
        for wal in [None, Some(&late)] {
            let error = setup.open_with(wal).await.unwrap_err();
            assert!(matches!(&error, LogError::Damaged(text) if text.contains(&commit(3))), "{cut}: {error}");
        }
        let error = Table::read(&setup.store, TableKind::Events).await.unwrap_err();
        assert!(matches!(error, LogError::Damaged(_)), "{cut}: {error}");

        let cover = WalCover { partition: partition(), first: 22 };
        let table = setup.open_with(Some(&cover)).await.unwrap();
        assert_eq!(table.committed(&partition()), Some(21), "{cut}");
        append_frames(&table, 22, 1).await;
        assert_eq!(rows(&table.snapshot()).await, expected(0, 3), "{cut}");
        assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 3), "{cut}");
        assert_eq!(as_the_library_sees_it(&table).await.1, paths(&table.snapshot()), "{cut}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_elsewhere_is_an_error_that_names_the_file() {
    let setup = Setup::new().await;
    append_frames(&setup.open().await, 0, 3).await;
    let cover = WalCover { partition: partition(), first: 0 };
    let text = read(&setup, &commit(2)).await;
    write(&setup, &commit(2), String::new()).await;
    let error = setup.open_with(Some(&cover)).await.unwrap_err();
    assert!(matches!(&error, LogError::Damaged(text) if text.contains(&commit(2))), "{error}");
    setup.store.object_store.delete(&setup.path(&commit(2))).await.unwrap();
    let error = setup.open_with(Some(&cover)).await.unwrap_err();
    assert!(matches!(&error, LogError::Damaged(text) if text.contains("missing")), "{error}");
    write(
        &setup,
        &commit(2),
        text.replace("\"maxValues\"", "\"others\"").replace("\\\"maxValues\\\"", "\\\"others\\\""),
    )
    .await;
    let error = setup.open_with(Some(&cover)).await.unwrap_err();
    assert!(error.to_string().contains("do not say where its rows belong"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_a_newer_program_is_refused() {
    let setup = Setup::new().await;
    drop(setup.open().await);
    let text = read(&setup, &commit(0)).await;
    for (from, to) in [
        (r#""flowstate.format":"1""#, r#""flowstate.format":"2""#),
        (r#""minReaderVersion":1"#, r#""minReaderVersion":3"#),
        (r#"\"name\":\"user_id\",\"type\":\"string\""#, r#"\"name\":\"user_id\",\"type\":\"long\""#),
        (r#"\"name\":\"user_id\""#, r#"\"name\":\"user\""#),
    ] {
        assert!(text.contains(from), "{text}");
        write(&setup, &commit(0), text.replace(from, to)).await;
        let error = setup.open_with(None).await.unwrap_err();
        assert!(matches!(error, LogError::Damaged(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_commit_that_may_hold_rows_of_others_is_not_set_aside() {
    let setup = Setup::new().await;
    append_frames(&setup.open().await, 0, 2).await;
    write(&setup, &commit(2), String::new()).await;
    let name = "events/received_date=2026-01-15/part-00000000000000ab-1-2-00000000-x.parquet";
    write(&setup, name, "rows".to_owned()).await;
    let cover = WalCover { partition: partition(), first: 0 };
    let error = setup.open_with(Some(&cover)).await.unwrap_err();
    assert!(error.to_string().contains("part-00000000000000ab-1-2-00000000-x"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_with_the_same_rows_are_an_error() {
    let setup = Setup::new().await;
    append_frames(&setup.open().await, 0, 2).await;
    let text = read(&setup, &commit(2)).await;
    write(&setup, &commit(3), text.replace("part-", "copy-")).await;
    let error = setup.open_with(None).await.unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_opened_for_reading_is_not_written() {
    let setup = Setup::new().await;
    append_frames(&setup.open().await, 0, 2).await;
    let store = Store::open_read_only(&setup.store.root.clone().into()).unwrap();
    let read = Table::read(&store, TableKind::Events).await.unwrap().unwrap();
    assert_eq!(rows(&read).await, expected(0, 2));
    let names = std::fs::read_dir(setup.store.root.to_file_path().unwrap()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["events"]);
    let missing = setup.store.root.join("nowhere/").unwrap();
    assert!(Store::open_read_only(&missing.into()).is_err());
}
