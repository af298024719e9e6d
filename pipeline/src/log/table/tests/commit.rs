use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let setup = Setup::new().await;
    let lost = AtomicUsize::new(0);
    let store = setup.with_store(move |operation, path| {
        if operation == Operation::Put && is_commit(path) && lost.fetch_add(1, SeqCst) % 2 == 1 {
            return Fate::LosesAnswer;
        }
        Fate::Done
    });
    let table = setup.open_on(&store).await;
    append_frames(&table, 0, 6).await;
    assert_eq!(table.snapshot().version, 6);
    assert_eq!(rows(&table.snapshot()).await, expected(0, 6));
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_of_unknown_outcome_can_be_repeated() {
    let setup = Setup::new().await;
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let store = setup.with_store(move |operation, path| match operation {
        Operation::Put if is_commit(path) && is_broken.load(SeqCst) => Fate::LosesAnswer,
        Operation::Get if is_broken.load(SeqCst) => Fate::Fails,
        _ => Fate::Done,
    });
    let table = setup.open_on(&store).await;
    append_frames(&table, 0, 1).await;
    let (batches, last) = frame(11, 10, NOON);
    broken.store(true, SeqCst);
    let error = table.append(&partition(), batches.clone(), last).await.unwrap_err();
    assert!(matches!(error, LogError::Store { .. }), "{error}");
    assert_eq!(table.snapshot().version, 1);
    broken.store(false, SeqCst);

    // More has come in meanwhile, so the repeat reaches further.
    let (more, end) = frame(22, 10, NOON + 1_000);
    let both = [batches.clone(), more].concat();
    let done = table.append(&partition(), both, end).await.unwrap();
    assert_eq!(done, TableAppend::Committed { version: 3 });
    assert_eq!(table.append(&partition(), batches, last).await.unwrap(), TableAppend::Already);
    assert_eq!(rows(&table.snapshot()).await, expected(0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_failed_leaves_no_row_and_its_file_is_cleaned() {
    let setup = Setup::new().await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    drop(setup.open().await);
    let store = setup.with_store(move |operation, path| {
        let fails = operation == Operation::Put && is_commit(path) && is_broken.load(SeqCst);
        if fails { Fate::Fails } else { Fate::Done }
    });
    let table = setup.open_on(&store).await;
    let (batches, last) = frame(0, 10, NOON);
    table.append(&partition(), batches.clone(), last).await.unwrap_err();
    assert!(table.snapshot().files.is_empty());
    assert!(setup.open().await.snapshot().files.is_empty());
    broken.store(false, SeqCst);
    table.append(&partition(), batches, last).await.unwrap();
    let staged = setup.store.root.to_file_path().unwrap().join("events/received_date=2026-01-15/part#1");
    std::fs::write(&staged, "torn").unwrap();

    assert_eq!(table.clean(Retention::default()).await.unwrap(), Cleaned::default());
    setup.clock.advance(1_000 * DAY);
    let cleaned = table.clean(Retention { log: 10_000 * DAY, ..Retention::default() }).await.unwrap();
    assert_eq!(cleaned, Cleaned { orphans: 1, ..Cleaned::default() });
    assert!(!staged.exists());
    assert_eq!(rows(&table.snapshot()).await, expected(0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_lose_and_repeat_nothing() {
    let setup = Setup::new().await;
    let tables = [setup.open().await, setup.open().await];
    for number in 0..6 {
        let table = &tables[number % 2];
        let (batches, last) = frame(number as u64 * 11, 10, NOON + number as i64 * 1_000);
        table.append(&partition(), batches.clone(), last).await.unwrap();
        let again = tables[(number + 1) % 2].append(&partition(), batches, last).await.unwrap();
        assert_eq!(again, TableAppend::Already);
    }
    tables[0].refresh().await.unwrap();
    for table in &tables {
        assert_eq!(table.snapshot().version, 6);
        assert_eq!(rows(&table.snapshot()).await, expected(0, 6));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_slept_while_the_log_was_cleaned_loses_nothing() {
    let setup = Setup::new().await;
    let asleep = setup.open().await;
    let awake = setup.open().await;
    append_frames(&awake, 0, 20).await;
    assert!(awake.checkpoint().await.unwrap());
    setup.clock.advance(1_000 * DAY);
    let retention = Retention { orphans: 10_000 * DAY, ..Retention::default() };
    assert_eq!(awake.clean(retention).await.unwrap().log_entries, 20);
    append_frames(&asleep, 220, 1).await;
    assert_eq!(rows(&asleep.snapshot()).await, expected(0, 21));
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_compactions_and_cleanings_do_not_disturb_each_other() {
    let setup = Setup::new().await;
    let table = Arc::new(setup.open().await);
    let upkeep = tokio::spawn({
        let (table, clock) = (Arc::clone(&table), setup.clock.clone());
        async move {
            let policy = CompactionPolicy { files_min: 3, ..CompactionPolicy::default() };
            let retention = Retention { files: 0, log: 10_000 * DAY, orphans: 10_000 * DAY };
            while table.committed(&partition()) != Some(30 * 11 - 1) {
                table.compact_once(policy, None).await.unwrap();
                table.checkpoint().await.unwrap();
                table.clean(retention).await.unwrap();
                clock.advance(1_000);
                tokio::task::yield_now().await;
            }
        }
    });
    append_frames(&table, 0, 30).await;
    upkeep.await.unwrap();
    assert_eq!(rows(&table.snapshot()).await, expected(0, 30));
    assert_eq!(setup.open().await.snapshot().files, table.snapshot().files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_have_their_own_cursors() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 2).await;
    let mut rows = Rows::after(PartitionId("00000000000000ab".into()), [None; 3]);
    let mut batch = Batch::new(Origin { source: "web".into(), test: false }, 1);
    batch.push_event(&Event::new(Kind::Track, "m"));
    let mut bytes = Vec::new();
    frame::encode(&batch, &[], 0, NOON, &mut bytes);
    rows.push(&Frame::decode(&mut bytes.as_slice()).unwrap()).unwrap();
    let other = PartitionId("00000000000000ab".into());
    table.append(&other, rows.finish().get(TableKind::Events).to_vec(), 1).await.unwrap();
    let reopened = setup.open().await;
    assert_eq!((reopened.committed(&partition()), reopened.committed(&other)), (Some(21), Some(1)));
    assert_eq!(reopened.snapshot().files[2].partition, other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_costs_the_same_however_many_files_there_are() {
    let setup = Setup::new().await;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let store = setup.with_store(move |_, _| {
        counter.fetch_add(1, SeqCst);
        Fate::Done
    });
    let kind = TableKind::Receipts;
    let table = Table::open_or_create(&store, kind, setup.clock.clone(), None).await.unwrap();
    for number in 0..60 {
        let before = count.load(SeqCst);
        let mut bytes = Vec::new();
        let batch = Batch::new(Origin { source: "web".into(), test: false }, 0);
        frame::encode(&batch, &[], number, NOON + number as i64, &mut bytes);
        let mut rows = Rows::after(partition(), [None; 3]);
        rows.push(&Frame::decode(&mut bytes.as_slice()).unwrap()).unwrap();
        table.append(&partition(), rows.finish().get(kind).to_vec(), number).await.unwrap();
        assert_eq!(count.load(SeqCst) - before, 2, "commit {number}");
    }
    let read = Table::read(&setup.store, kind).await.unwrap().unwrap();
    assert_eq!((read.files.len(), &read.files), (60, &table.snapshot().files));
}
