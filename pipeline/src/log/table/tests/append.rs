use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_out_are_the_rows_in() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 5).await;
    let snapshot = table.snapshot();
    assert_eq!(rows(&snapshot).await, expected(0, 5));
    assert_eq!((snapshot.version, table.committed(&partition())), (5, Some(54)));
    assert_eq!(as_the_library_sees_it(&table).await, (5, paths(&snapshot), Some(54)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_are_appended_once() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    let (batches, last) = frame(0, 10, NOON);
    let again = batches.clone();
    table.append(&partition(), batches, last).await.unwrap();
    assert_eq!(table.append(&partition(), again.clone(), last).await.unwrap(), TableAppend::Already);
    let reopened = setup.open().await;
    assert_eq!(reopened.append(&partition(), again, last).await.unwrap(), TableAppend::Already);
    let (more, end) = frame(11, 10, NOON + 1_000);
    let both = [frame(0, 10, NOON).0, more].concat();
    let done = reopened.append(&partition(), both, end).await.unwrap();
    assert_eq!(done, TableAppend::Committed { version: 2 });
    let (mut batches, _) = frame(11, 20, NOON + 1_000);
    assert_eq!(
        reopened.append(&partition(), batches.clone(), end).await.unwrap(),
        TableAppend::Committed { version: 3 }
    );
    batches.clear();
    assert_eq!(reopened.append(&partition(), batches, 40).await.unwrap(), TableAppend::Already);
    let ids: Vec<_> = rows(&reopened.snapshot()).await.into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(ids, (1..=10).chain(12..=31).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reopened_table_is_the_same() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 7).await;
    let before = table.snapshot();
    let after = setup.open().await.snapshot();
    assert_eq!(
        (before.version, &before.files, &before.committed),
        (after.version, &after.files, &after.committed)
    );
    let read = Table::read(&setup.store, TableKind::Events).await.unwrap().unwrap();
    assert_eq!((read.version, &read.files), (after.version, &after.files));
    assert!(Table::read(&setup.store, TableKind::Rejected).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_around_midnight_go_to_their_own_days() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    let midnight = NOON + DAY / 2;
    let (batches, last) = frame(0, 10, midnight - 4);
    table.append(&partition(), batches, last).await.unwrap();
    let snapshot = table.snapshot();
    let days: Vec<_> = snapshot.files.iter().map(|file| (file.received_date, file.rows)).collect();
    assert_eq!(days, [(20_468, 3), (20_469, 7)]);
    assert_eq!(snapshot.version, 1);
    assert!(
        snapshot.files[1].path.starts_with("received_date=2026-01-16/part-"),
        "{}",
        snapshot.files[1].path
    );
    assert_eq!(rows(&snapshot).await, expected(0, 1));
}
