use super::*;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const POLICY: CompactionPolicy =
    CompactionPolicy { files_min: 4, bytes_max: 128_000_000, copied_rows_min: 16_384 };
/// Row groups are copied, however small.
const COPIED: CompactionPolicy = CompactionPolicy { copied_rows_min: 0, ..POLICY };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_keeps_every_row_in_its_place() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 5).await;
    let done = table.compact_once(POLICY, None).await.unwrap().unwrap();
    assert_eq!((done.files_in, done.rows), (5, 50));
    assert_eq!(rows(&table.snapshot()).await, expected(0, 5));
    assert_eq!(table.compact_once(POLICY, None).await.unwrap(), None);

    append_frames(&table, 55, 8).await;
    let done = table.compact_once(POLICY, None).await.unwrap().unwrap();
    assert_eq!(done.files_in, 9);
    let snapshot = table.snapshot();
    assert_eq!(rows(&snapshot).await, expected(0, 13));
    assert_eq!((snapshot.files.len(), table.committed(&partition())), (1, Some(142)));
    assert_eq!(as_the_library_sees_it(&table).await, (15, paths(&snapshot), Some(142)));
    let reopened = setup.open().await.snapshot();
    assert_eq!((&reopened.files, &reopened.committed), (&snapshot.files, &snapshot.committed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_groups_that_are_copied_keep_their_place_among_small_files() {
    for policy in [COPIED, CompactionPolicy { copied_rows_min: 11, ..POLICY }] {
        let setup = Setup::new().await;
        let table = setup.open().await;
        append_frames(&table, 0, 2).await;
        let (batches, last) = frame(22, 20, NOON + 2_000);
        table.append(&partition(), batches, last).await.unwrap();
        append_frames(&table, 43, 2).await;
        let before = rows(&table.snapshot()).await;
        let done = table.compact_once(policy, None).await.unwrap().unwrap();
        assert_eq!((done.files_in, done.rows), (5, 60));
        assert_eq!(rows(&table.snapshot()).await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_over_becomes_one_file() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 2).await;
    assert_eq!(table.compact_once(POLICY, None).await.unwrap(), None);
    setup.clock.advance(DAY);
    assert_eq!(table.compact_once(POLICY, None).await.unwrap().unwrap().files_in, 2);
    assert_eq!(table.compact_once(POLICY, None).await.unwrap(), None);
    assert_eq!(rows(&table.snapshot()).await, expected(0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_file_has_the_same_statistics_and_filters() {
    for (policy, row_groups) in [(POLICY, 1), (COPIED, 4)] {
        has_the_same_statistics_and_filters(policy, row_groups).await;
    }
}

async fn has_the_same_statistics_and_filters(policy: CompactionPolicy, row_groups: usize) {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 4).await;
    table.compact_once(policy, None).await.unwrap().unwrap();
    let file = table.snapshot().files[0].clone();
    let stats: serde_json::Value = serde_json::from_str(&file.stats).unwrap();
    assert_eq!(stats["numRecords"], 40);
    for (column, min, max) in [
        ("log_offset", 1.into(), 43.into()),
        ("log_partition", "00000000000000aa".into(), "00000000000000aa".into()),
        ("received_at", "2026-01-15T12:00:00.000Z".into(), "2026-01-15T12:00:00.004Z".into()),
        ("event", "Order Completed".into(), "Order Completed".into()),
        ("message_id", "0-0".into(), serde_json::json!("33-9")),
        ("user_id", "user-0".into(), serde_json::json!("user-6")),
    ] {
        assert_eq!((&stats["minValues"][column], &stats["maxValues"][column]), (&min, &max), "{column}");
        assert_eq!(stats["nullCount"][column], 0, "{column}");
    }
    assert_eq!(stats["nullCount"]["anonymous_id"], 40);
    assert_eq!(stats["minValues"]["anonymous_id"], serde_json::Value::Null);

    let snapshot = table.snapshot();
    let bytes = snapshot.store.get(&Path::from(file.path)).await.unwrap().bytes().await.unwrap();
    let index = PageIndexPolicy::Required;
    let metadata =
        ParquetMetaDataReader::new().with_page_index_policy(index).parse_and_finish(&bytes).unwrap();
    assert_eq!(metadata.num_row_groups(), row_groups);
    for group in metadata.row_groups() {
        let columns = group.columns();
        let filtered = columns.iter().filter(|column| column.bloom_filter_offset().is_some());
        let filtered: Vec<_> = filtered.map(|column| column.column_path().string()).collect();
        assert_eq!(filtered, ["message_id", "anonymous_id", "user_id"]);
        let ids = columns.iter().find(|column| column.column_path().string() == "message_id").unwrap();
        let filter = Sbbf::read_from_column_chunk(ids, &bytes).unwrap().unwrap();
        let first = std::str::from_utf8(ids.statistics().unwrap().min_bytes_opt().unwrap()).unwrap();
        assert!(filter.check(first) && !filter.check("no-such-id"), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_breaks_off_changes_nothing() {
    let setup = Setup::new().await;
    append_frames(&setup.open().await, 0, 4).await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let store = setup.with_store(move |operation, path| {
        let fails = operation == Operation::Put && is_commit(path) && is_broken.load(SeqCst);
        if fails { Fate::Fails } else { Fate::Done }
    });
    let table = setup.open_on(&store).await;
    let before = table.snapshot();
    table.compact_once(POLICY, None).await.unwrap_err();
    assert_eq!(table.snapshot().files, before.files);
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 4));
    broken.store(false, SeqCst);
    table.compact_once(POLICY, None).await.unwrap().unwrap();
    assert_eq!(rows(&table.snapshot()).await, expected(0, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_whose_answer_is_lost_counts_once() {
    let setup = Setup::new().await;
    append_frames(&setup.open().await, 0, 4).await;
    let store = setup.with_store(|operation, path| {
        if operation == Operation::Put && is_commit(path) { Fate::LosesAnswer } else { Fate::Done }
    });
    let table = setup.open_on(&store).await;
    assert_eq!(table.compact_once(POLICY, None).await.unwrap().unwrap().rows, 40);
    assert_eq!(rows(&table.snapshot()).await, expected(0, 4));
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_compactions_one_counts() {
    let setup = Setup::new().await;
    let first = setup.open().await;
    append_frames(&first, 0, 4).await;
    let second = setup.open().await;
    assert!(first.compact_once(POLICY, None).await.unwrap().is_some());
    assert_eq!(second.compact_once(POLICY, None).await.unwrap(), None);
    for table in [&first, &second] {
        assert_eq!(rows(&table.snapshot()).await, expected(0, 4));
    }
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(0, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_other_rows_than_it_should_have_is_not_compacted() {
    let setup = Setup::new().await;
    let table = setup.open().await;
    append_frames(&table, 0, 4).await;
    let snapshot = table.snapshot();
    let [one, two] = [1, 2].map(|at| Path::from(snapshot.files[at].path.as_str()));
    let bytes = snapshot.store.get(&one).await.unwrap().bytes().await.unwrap();
    snapshot.store.put(&two, bytes.into()).await.unwrap();
    for policy in [POLICY, COPIED] {
        let error = table.compact_once(policy, None).await.unwrap_err();
        assert!(matches!(&error, LogError::Damaged(text) if text.contains(two.as_ref())), "{error}");
        assert_eq!(table.snapshot().files, snapshot.files);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_compaction_and_a_removal_one_counts() {
    let setup = Setup::new().await;
    let first = setup.open().await;
    append_frames(&first, 0, 4).await;
    let second = setup.open().await;
    let files = second.snapshot().files.to_vec();
    assert!(first.compact_once(POLICY, None).await.unwrap().is_some());
    assert!(
        !second.take_out(&files, HoleReason::Retention).await.unwrap(),
        "they are no files of it any more"
    );
    assert_eq!(rows(&second.snapshot()).await, expected(0, 4));

    let files = second.snapshot().files.to_vec();
    assert!(second.take_out(&files, HoleReason::Retention).await.unwrap());
    assert!(!first.take_out(&files, HoleReason::Retention).await.unwrap());
    for table in [&first, &second, &setup.open().await] {
        let table = table.snapshot();
        assert_eq!((table.files.len(), table.holes.len(), table.holes[0].rows), (0, 1, 40));
    }
    // The library reads the same, and whoever appends goes on behind the last row.
    let (_, files, txn) = as_the_library_sees_it(&first).await;
    assert_eq!((files.len(), txn), (0, Some(43)));
    append_frames(&first, 44, 1).await;
    assert_eq!(rows(&setup.open().await.snapshot()).await, expected(44, 1));
}
