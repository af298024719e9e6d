use super::*;
use crate::clock::HOUR;
use crate::log::maintenance::Maintenance;
use crate::log::retention::{KeepingCell, Remover};
use std::sync::Mutex;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_opened_from_its_checkpoint() {
    let mut setup = Setup::new().await;
    // The library asks the machine's clock which tombstones a checkpoint leaves out.
    setup.clock = Clock::given(Clock::system().now());
    let table = setup.open().await;
    append_frames(&table, 0, 19).await;
    assert!(!table.checkpoint().await.unwrap());
    append_frames(&table, 19 * 11, 1).await;
    table
        .compact_once(CompactionPolicy { files_min: 15, ..CompactionPolicy::default() }, None)
        .await
        .unwrap()
        .unwrap();
    assert!(table.checkpoint().await.unwrap());
    assert!(!table.checkpoint().await.unwrap());
    append_frames(&table, 20 * 11, 2).await;

    let read = Arc::new(Mutex::new(Vec::new()));
    let reads = Arc::clone(&read);
    let store = setup.with_store(move |operation, path| {
        if operation == Operation::Get {
            reads.lock().unwrap().push(path.filename().unwrap().to_owned());
        }
        Fate::Done
    });
    let reopened = setup.open_on(&store).await;
    let names = [21, 22, 23].map(|version| match version {
        21 => format!("{version:020}.checkpoint.parquet"),
        _ => format!("{version:020}.json"),
    });
    assert_eq!(*read.lock().unwrap(), names);
    let (before, after) = (table.snapshot(), reopened.snapshot());
    assert_eq!(
        (before.version, &before.files, &before.committed),
        (after.version, &after.files, &after.committed)
    );
    assert_eq!(rows(&after).await, expected(0, 22));
    assert_eq!(as_the_library_sees_it(&reopened).await, (23, paths(&after), Some(241)));
    let tombstones = |state: &State| {
        state.tombstones.iter().map(|tombstone| tombstone.path.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(tombstones(&*table.state.lock().await), tombstones(&*reopened.state.lock().await));
}

/// On one thread: the log's own background threads have no more.
#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 20).await;
    assert!(table.checkpoint().await.unwrap());
    let path = setup.path(&format!("events/_delta_log/{:020}.checkpoint.parquet", 20));
    setup.store.object_store.put(&path, "PAR1".into()).await.unwrap();
    assert_eq!(setup.open().await.snapshot().files, table.snapshot().files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_files_stay_until_no_query_can_read_them() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 16).await;
    let before = table.snapshot();
    table.compact_once(CompactionPolicy::default(), None).await.unwrap().unwrap();
    assert_eq!(table.clean(Retention::default()).await.unwrap(), Cleaned::default());
    assert_eq!(rows(&before).await, expected(0, 16));
    setup.clock.advance(HOUR);
    assert_eq!(table.clean(Retention::default()).await.unwrap().files, 16);
    assert_eq!(table.clean(Retention::default()).await.unwrap().files, 0);
    let path = Path::from(before.files[0].path.as_str());
    assert!(matches!(before.store.head(&path).await, Err(object_store::Error::NotFound { .. })));
    assert_eq!(rows(&table.snapshot()).await, expected(0, 16));
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 16));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_cleaned_up_to_a_checkpoint() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 10).await;
    setup.clock.advance(1_000 * DAY);
    let retention = Retention { orphans: 10_000 * DAY, ..Retention::default() };
    assert_eq!(table.clean(retention).await.unwrap().log_entries, 0);
    append_frames(&table, 110, 11).await;
    assert!(table.checkpoint().await.unwrap());
    append_frames(&table, 231, 1).await;
    assert_eq!(table.clean(retention).await.unwrap().log_entries, 21);
    let reopened = setup.open().await;
    assert_eq!(rows(&reopened.snapshot()).await, expected(0, 22));
    assert_eq!(as_the_library_sees_it(&reopened).await.0, 22);
    append_frames(&reopened, 242, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_other_nodes_are_seen_while_a_compaction_does_not_end() {
    let setup = Setup::new().await;
    let other = setup.open().await;
    append_frames(&other, 0, 20).await;
    let (begun, mut is_begun) = tokio::sync::watch::channel(false);
    let store = setup.with_store(move |operation, path| {
        if operation == Operation::Get && path.as_ref().ends_with(".parquet") {
            begun.send_replace(true);
            return Fate::Hangs;
        }
        Fate::Done
    });
    let table = Arc::new(setup.open_on(&store).await);
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let maintenance = Maintenance {
        tick: std::time::Duration::from_millis(1),
        tables: vec![Arc::clone(&table)],
        lease: table.lease("log", "a"),
        stopped,
        published: None,
        promotion: Default::default(),
        keeping: KeepingCell::default(),
        remover: Remover::new(vec![Arc::clone(&table)], setup.clock.clone()),
        notices: None,
    };
    let running = tokio::spawn(maintenance.run());
    is_begun.wait_for(|begun| *begun).await.unwrap();
    append_frames(&other, 20 * 11, 1).await;
    let seen = async {
        while table.snapshot().version < other.snapshot().version {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), seen).await.unwrap();
    running.abort();
}
