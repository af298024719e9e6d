use super::*;
use crate::clock::{DAY, HOUR, SECOND};
use crate::event::{Event, Kind, Rejected};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use std::time::Duration;

mod retention;

const NOW: Micros = 1_768_478_400 * SECOND;

struct Fixture {
    dir: tempfile::TempDir,
    clock: Clock,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: Clock::given(NOW) }
    }

    fn config(&self) -> LogConfig {
        config(self.dir.path())
    }

    async fn open(&self) -> Log {
        Log::open(self.config(), self.clock.clone()).await.unwrap()
    }
}

/// A log in `dir`, with its tables beside the WAL; it commits only when it is asked to.
pub(super) fn config(dir: &std::path::Path) -> LogConfig {
    LogConfig {
        dir: dir.to_path_buf(),
        store: url::Url::from_directory_path(dir.join("tables")).unwrap().into(),
        durability: Default::default(),
        wal_bytes_max: 64 << 20,
        segment_bytes: 1 << 20,
        commit_age: Duration::from_secs(3600),
        commit_bytes: 8 << 20,
        dedup_window: Duration::from_secs(7 * 86_400),
        dedup_memory_bytes_max: 16 << 20,
        promotion: Default::default(),
    }
}

fn batch(source: &str, ids: &[&str]) -> Batch {
    let mut batch = Batch::new(Origin { source: source.into(), test: false }, ids.len() as u32);
    for id in ids {
        let mut event = Event::new(Kind::Track, *id);
        event.event = Some("Order Completed".into());
        event.user_id = Some("ada".into());
        event.properties = Some(r#"{"revenue":42.5}"#.into());
        batch.push_event(&event);
    }
    batch
}

async fn offsets(log: &Log, kind: TableKind) -> Vec<i64> {
    let view = log.snapshot().tables[kind.index()].clone();
    let mut all = Vec::new();
    for file in view.table.files.iter() {
        let mut rows = stored::Rows::open(&view.table, file, &["log_offset"], 0).await.unwrap();
        while let Some(batch) = rows.next().await.unwrap() {
            all.extend(batch.column(0).as_primitive::<Int64Type>().values());
        }
    }
    let fresh: Vec<RecordBatch> = view.fresh.batches(kind).try_collect().await.unwrap();
    for batch in fresh {
        all.extend(batch.column_by_name("log_offset").unwrap().as_primitive::<Int64Type>().values());
    }
    all.sort_unstable();
    all
}

#[tokio::test]
async fn what_was_appended_is_seen_at_once_and_once_whatever_happens_between() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let first = log.append(batch("web", &["a", "b"])).await.unwrap();
    assert_eq!((first.offset, first.received_at, first.duplicates), (0, NOW, vec![]));
    assert_eq!(offsets(&log, TableKind::Events).await, [1, 2]);
    log.flush().await.unwrap();
    assert_eq!(offsets(&log, TableKind::Events).await, [1, 2]);
    let second = log.append(batch("web", &["b", "c", "c"])).await.unwrap();
    assert_eq!((second.offset, second.duplicates), (3, vec![0, 2]));
    assert_eq!(log.append(batch("app", &["a"])).await.unwrap().duplicates, [0_u32; 0]);
    assert_eq!(offsets(&log, TableKind::Events).await, [1, 2, 4, 6]);
    assert_eq!(offsets(&log, TableKind::Receipts).await, [0, 3, 5]);
    log.close().await.unwrap();
    assert!(matches!(log.append(batch("web", &["d"])).await, Err(AppendError::ShuttingDown)));

    let log = fixture.open().await;
    assert_eq!(offsets(&log, TableKind::Events).await, [1, 2, 4, 6]);
    assert_eq!(log.append(batch("web", &["c", "d"])).await.unwrap().duplicates, [0]);
    assert_eq!(offsets(&log, TableKind::Events).await, [1, 2, 4, 6, 8]);
}

#[tokio::test]
async fn a_reader_finds_every_event_in_order_in_files_and_in_memory() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    for round in 0..6 {
        for request in 0..20 {
            let ids: Vec<String> = (0..5).map(|item| format!("{round}-{request}-{item}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            log.append(batch("web", &ids)).await.unwrap();
        }
        if round < 4 {
            log.flush().await.unwrap();
        }
    }
    let log = if log.close().await.is_ok() { fixture.open().await } else { panic!("it did not close") };
    log.append(batch("web", &["last"])).await.unwrap();
    let mut reader = log.reader(7);
    let (mut ids, mut next) = (Vec::new(), 0);
    while next < log.status().end {
        let (events, position) = reader.next(17).await.unwrap();
        assert!(events.len() <= 17 && position > next);
        assert!(events.iter().all(|event| event.offset >= next && event.offset < position));
        ids.extend(events.into_iter().map(|event| event.record.message_id.into_owned()));
        next = position;
    }
    // Offset 6 is the receipt of the second request, so 7 is its first event.
    let expected = (0..6).flat_map(|round| {
        (0..20).flat_map(move |request| (0..5).map(move |item| format!("{round}-{request}-{item}")))
    });
    let expected: Vec<String> = expected.skip(5).chain(["last".to_owned()]).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn ids_are_forgotten_after_the_window_and_not_before() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(batch("web", &["a"])).await.unwrap();
    fixture.clock.advance(7 * DAY - HOUR);
    assert_eq!(log.append(batch("web", &["a"])).await.unwrap().duplicates, [0]);
    fixture.clock.advance(2 * HOUR);
    assert_eq!(log.append(batch("web", &["a"])).await.unwrap().duplicates, [0_u32; 0]);
}

#[tokio::test]
async fn a_log_verifies_while_closed_and_tells_a_missing_file() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    for id in ["a", "b", "a"] {
        let mut batch = batch("web", &[id]);
        batch.received += 1;
        batch.push_rejected(&Rejected {
            code: "event_not_defined".into(),
            field: Some("event".into()),
            message: "`event` is missing".into(),
            message_id: None,
            body: Some("{}".into()),
            body_bytes: 2,
        });
        log.append(batch).await.unwrap();
    }
    log.close().await.unwrap();
    let report = verify::verify(&fixture.config()).await.unwrap();
    assert!(report.is_sound(), "{report:#?}");
    let read_only = read_only(&fixture.config()).await.unwrap();
    assert_eq!(read_only.tables[TableKind::Rejected.index()].table.files.len(), 1);
    let file = &read_only.tables[0].table.files[0];
    std::fs::remove_file(fixture.dir.path().join("tables/events").join(&file.path)).unwrap();
    let report = verify::verify(&fixture.config()).await.unwrap();
    let faults: Vec<_> = report.checks.iter().flat_map(|check| &check.faults).collect();
    assert!(faults.iter().any(|fault| fault.contains(&file.path)), "{faults:#?}");
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let fixture = Fixture::new();
    let _log = fixture.open().await;
    assert!(matches!(Log::open(fixture.config(), Clock::system()).await, Err(LogError::InUse(_))));
}

#[tokio::test]
async fn a_table_whose_newest_commit_is_damaged_is_filled_from_the_wal() {
    for kind in TableKind::ALL {
        let fixture = Fixture::new();
        let log = fixture.open().await;
        for id in ["a", "b", "c"] {
            let mut batch = batch("web", &[id]);
            batch.push_rejected(&Rejected {
                code: "bad".into(),
                field: None,
                message: "it is wrong".into(),
                message_id: None,
                body: None,
                body_bytes: 0,
            });
            log.append(batch).await.unwrap();
            log.flush().await.unwrap();
        }
        let before = [TableKind::Events, TableKind::Rejected, TableKind::Receipts];
        let mut expected = Vec::new();
        for kind in before {
            expected.push(offsets(&log, kind).await);
        }
        log.close().await.unwrap();
        let commit = format!("tables/{}/_delta_log/{:020}.json", kind.name(), 3);
        std::fs::write(fixture.dir.path().join(commit), "").unwrap();

        for _ in 0..2 {
            let log = fixture.open().await;
            for kind in before {
                assert_eq!(offsets(&log, kind).await, expected[kind.index()], "{}", kind.name());
            }
            log.close().await.unwrap();
        }
    }
}

/// What a crash at this moment leaves: a copy of everything that was written.
fn after_a_crash(fixture: &Fixture) -> Fixture {
    fn copy(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let crashed = Fixture::new();
    copy(fixture.dir.path(), crashed.dir.path());
    crashed
}

#[tokio::test]
async fn a_damaged_commit_of_receipts_hides_no_event_that_was_not_committed() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(batch("web", &["a"])).await.unwrap();
    log.flush().await.unwrap();
    log.append(batch("web", &["b"])).await.unwrap();
    let crashed = after_a_crash(&fixture);
    let commit = format!("tables/receipts/_delta_log/{:020}.json", 1);
    std::fs::write(crashed.dir.path().join(commit), "").unwrap();
    for _ in 0..2 {
        let log = crashed.open().await;
        assert_eq!(offsets(&log, TableKind::Events).await, [1, 3]);
        assert_eq!(offsets(&log, TableKind::Receipts).await, [0, 2]);
        log.close().await.unwrap();
    }
    assert!(verify::verify(&crashed.config()).await.unwrap().is_sound());
}

#[tokio::test]
async fn a_commit_broken_off_between_two_tables_is_no_damage_and_is_completed() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(batch("web", &["a"])).await.unwrap();
    let before = after_a_crash(&fixture);
    log.flush().await.unwrap();
    // The events were committed, the receipts were not.
    let crashed = after_a_crash(&fixture);
    let receipts = "tables/receipts";
    std::fs::remove_dir_all(crashed.dir.path().join(receipts)).unwrap();
    let moved = after_a_crash(&before);
    std::fs::rename(moved.dir.path().join(receipts), crashed.dir.path().join(receipts)).unwrap();
    assert!(verify::verify(&crashed.config()).await.unwrap().is_sound());
    let log = crashed.open().await;
    assert_eq!(offsets(&log, TableKind::Events).await, [1]);
    log.close().await.unwrap();
    let log = crashed.open().await;
    assert_eq!(offsets(&log, TableKind::Events).await, [1]);
    assert_eq!(offsets(&log, TableKind::Receipts).await, [0]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_no_commit() {
    let fixture = Fixture::new();
    let config = LogConfig { commit_age: Duration::from_millis(1), ..fixture.config() };
    let log = Log::open(config, fixture.clock.clone()).await.unwrap();
    log.append(batch("web", &["a"])).await.unwrap();
    fixture.clock.advance(-400 * DAY);
    let second = log.append(batch("web", &["b"])).await.unwrap();
    assert_eq!(second.received_at, NOW + 2);
    let committed = async {
        while log.status().committed < log.status().end {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), committed).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_cannot_fit_is_refused_for_good_and_alone() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let mut huge = Batch::new(Origin { source: "web".into(), test: false }, 80);
    for id in 0..80 {
        let mut event = Event::new(Kind::Track, format!("huge-{id}"));
        event.properties = Some(format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20)).into());
        huge.push_event(&event);
    }
    let (refused, taken) = tokio::join!(log.append(huge), log.append(batch("web", &["a"])));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    assert_eq!(taken.unwrap().offset, 0);
}

#[tokio::test]
async fn a_reader_that_waits_is_told_when_the_log_closes() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(batch("web", &["a"])).await.unwrap();
    let mut reader = log.reader(0);
    assert_eq!(reader.next(10).await.unwrap().0.len(), 1);
    let waiting = tokio::spawn(async move { reader.next(10).await.map(|_| ()) });
    log.close().await.unwrap();
    let told = waiting.await.unwrap().unwrap_err();
    assert!(matches!(told, LogError::Store { .. }) && told.to_string().contains("nothing more to read"));
}

#[tokio::test]
async fn a_reader_goes_on_after_a_file_could_not_be_read() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    let ids: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    log.append(batch("web", &ids.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    log.flush().await.unwrap();
    // So much behind them that the WAL gives up its oldest segments.
    for id in 0..8 {
        let mut event = Event::new(Kind::Track, format!("large-{id}"));
        event.properties = Some(format!(r#"{{"text":"{}"}}"#, "x".repeat(512 << 10)).into());
        let mut batch = Batch::new(Origin { source: "web".into(), test: false }, 1);
        batch.push_event(&event);
        log.append(batch).await.unwrap();
        log.flush().await.unwrap();
    }
    log.close().await.unwrap();

    // After the restart the first events are in their file alone.
    let log = fixture.open().await;
    let file = log.snapshot().tables[TableKind::Events.index()].table.files[0].path.clone();
    let path = fixture.dir.path().join("tables/events").join(file);
    let whole = std::fs::read(&path).unwrap();
    let mut broken = whole.clone();
    broken[4..whole.len() / 2].fill(0xff);
    std::fs::write(&path, &broken).unwrap();
    let mut reader = log.reader(0);
    assert!(reader.next(1_000).await.is_err());
    assert!(reader.next(1_000).await.is_err(), "an error is no end");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(reader.next(1_000).await.unwrap().0.len(), 100);
}

#[tokio::test]
async fn a_background_thread_that_ends_shows_in_the_status() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    assert_eq!(log.status().failed, None);
    log.published.set_ended("committer");
    assert!(log.status().failed.is_some_and(|why| why.contains("`committer`") && why.contains("restart")));
}
