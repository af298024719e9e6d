//! Records come into the table once, whatever breaks on the way, and can be read all the time.

use super::flush::RECORDS;
use super::*;
use crate::clock::DAY;
use crate::control::ControlError;
use crate::delivery::journal::Records;
use crate::delivery::lane_store::{Checkpoint, Dead, DeadFilter, DeadPage, LaneSummary, Parked};
use crate::delivery::testing::{lane, record};
use crate::delivery::{Class, LaneId, Outcome, Record, Trigger};
use crate::log::Offset;
use crate::log::table::test_store::{Fate, Operation, TestStore};
use crate::log::wal::crash_fs::CrashFs;
use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Where the lanes stand.
#[derive(Default)]
struct Positions(Mutex<Vec<LaneSummary>>);

impl Positions {
    fn set(&self, positions: &[(&str, u64)]) {
        let summary = |&(destination, journal): &(&str, u64)| LaneSummary {
            lane: lane(destination),
            cursor: 0,
            journal,
        };
        *self.0.lock().unwrap() = positions.iter().map(summary).collect();
    }
}

#[async_trait]
impl LaneStore for Positions {
    async fn load(&self, _: &LaneId) -> Result<Option<Checkpoint>, ControlError> {
        unreachable!("only lanes load their checkpoints")
    }
    async fn save(
        &self,
        _: &LaneId,
        _: Offset,
        _: u64,
        _: &[Parked],
        _: &[Offset],
        _: &[Dead],
        _: &[Offset],
    ) -> Result<(), ControlError> {
        unreachable!("only lanes save their checkpoints")
    }
    async fn dead(&self, _: &str, _: &DeadFilter) -> Result<DeadPage, ControlError> {
        unreachable!("only lanes and people ask for dead events")
    }
    async fn resolve(&self, _: &LaneId, _: &[Offset]) -> Result<(), ControlError> {
        unreachable!("only replays resolve dead events")
    }
    async fn lanes(&self) -> Result<Vec<LaneSummary>, ControlError> {
        Ok(self.0.lock().unwrap().clone())
    }
    async fn forget(&self, _: &str) -> Result<(), ControlError> {
        unreachable!("only people remove destinations")
    }
}

struct Setup {
    dir: tempfile::TempDir,
    fs: CrashFs,
    lanes: Arc<Positions>,
    store: Store,
}

impl Setup {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&url::Url::from_directory_path(dir.path()).unwrap().into()).await.unwrap();
        let lanes = Arc::new(Positions::default());
        lanes.set(&[("slack", 0)]);
        Self { dir, fs: CrashFs::new(seed), lanes, store }
    }

    async fn open(&self) -> Result<Arc<Deliveries>, LogError> {
        self.open_on(&self.store).await
    }

    async fn open_on(&self, store: &Store) -> Result<Arc<Deliveries>, LogError> {
        let config = DeliveriesConfig {
            dir: "deliveries".into(),
            store: store.root.clone().into(),
            segment_bytes: 16 << 10,
        };
        let lanes: Arc<dyn LaneStore> = Arc::<Positions>::clone(&self.lanes);
        let clock = Clock::given(record(0).at);
        Deliveries::open_on(self.fs.clone(), store, config, lanes, clock).await
    }

    /// The same store, of which the operation `nth` and all behind it fail; the counter of operations.
    fn breaking(&self, nth: usize, fate: Fate) -> (Store, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let decide = move |operation: Operation, _: &Path| match counted.fetch_add(1, SeqCst) {
            number if number < nth => Fate::Done,
            number if number == nth && operation == Operation::Put => fate,
            _ => Fate::Fails,
        };
        (self.store.wrap(|inner| TestStore::over(inner, decide)), count)
    }
}

async fn append(deliveries: &Deliveries, numbers: std::ops::Range<u64>) {
    for number in numbers {
        deliveries.journal().append(vec![record(number)]).await.unwrap();
    }
}

/// The batches of a view: of its files, and those that wait.
async fn batches(view: &TableView) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let mut files = Vec::new();
    for file in view.table.files.iter() {
        let found = view.table.store.get(&Path::from(file.path.as_str())).await.unwrap();
        let bytes = found.bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        files.extend(reader.map(|batch| batch.unwrap()));
    }
    let fresh = view.fresh().batches(TableKind::Deliveries).try_collect().await.unwrap();
    (files, fresh)
}

fn sequences(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| {
        batch.column_by_name("journal_sequence").unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

/// The sequence numbers of all rows of a view, files first.
async fn all(view: &TableView) -> Vec<i64> {
    let (files, fresh) = batches(view).await;
    let fresh = sequences(&fresh);
    assert_eq!(view.fresh().records(), fresh.len() as u64);
    [sequences(&files), fresh].concat()
}

async fn in_files(deliveries: &Deliveries) -> Vec<i64> {
    sequences(&batches(&deliveries.snapshot()).await.0)
}

fn to(last: i64) -> Vec<i64> {
    (1..=last).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_seen_at_once_and_once_before_and_after_they_are_flushed() {
    let setup = Setup::new(1).await;
    let deliveries = setup.open().await.unwrap();
    assert_eq!(all(&deliveries.snapshot()).await, to(0));
    append(&deliveries, 0..7).await;
    let before = deliveries.snapshot();
    assert_eq!((all(&before).await, in_files(&deliveries).await), (to(7), to(0)));
    deliveries.flush().await.unwrap();
    append(&deliveries, 7..9).await;
    let between = deliveries.snapshot();
    assert_eq!((all(&between).await, in_files(&deliveries).await), (to(9), to(7)));
    setup.lanes.set(&[("slack", 9)]);
    deliveries.flush().await.unwrap();
    assert_eq!(deliveries.journal().first(), 7, "three records fit into a segment");
    assert_eq!(in_files(&deliveries).await, to(9));
    assert_eq!((all(&before).await, all(&between).await), (to(7), to(9)), "snapshots stay what they were");
    let status = deliveries.status();
    assert_eq!((status.last, status.flushed, status.flush_error), (9, 9, None));
    deliveries.close().await.unwrap();
    let read = read_only(&setup.store.root.clone().into()).await.unwrap().unwrap();
    assert_eq!(all(&read).await, to(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_in_the_table_once_wherever_a_flush_breaks_off() {
    for fate in [Fate::Fails, Fate::LosesAnswer] {
        let mut broken = 0;
        for nth in 0.. {
            let setup = Setup::new(nth as u64).await;
            let deliveries = setup.open().await.unwrap();
            append(&deliveries, 0..5).await;
            deliveries.flush().await.unwrap();
            deliveries.close().await.unwrap();
            drop(deliveries);
            let (store, operations) = setup.breaking(usize::MAX, fate);
            drop(setup.open_on(&store).await.unwrap());
            let opening = operations.load(SeqCst);
            setup.fs.kill();
            let (store, operations) = setup.breaking(opening + nth, fate);
            let deliveries = setup.open_on(&store).await.unwrap();
            append(&deliveries, 5..15).await;
            let flushed = deliveries.flush().await.is_ok();
            assert_eq!(flushed, deliveries.status().flush_error.is_none());
            assert_eq!(deliveries.journal().append(vec![record(15)]).await.unwrap(), 16, "delivery goes on");
            drop(deliveries);
            if nth % 2 == 0 {
                setup.fs.crash()
            } else {
                setup.fs.kill()
            }

            let deliveries = setup.open().await.unwrap();
            assert_eq!(all(&deliveries.snapshot()).await, to(16), "operation {nth} {fate:?}");
            deliveries.flush().await.unwrap();
            assert_eq!(in_files(&deliveries).await, to(16), "operation {nth} {fate:?}");
            deliveries.flush().await.unwrap();
            assert_eq!(all(&deliveries.snapshot()).await, to(16), "operation {nth} {fate:?}");
            broken += usize::from(!flushed);
            if operations.load(SeqCst) <= opening + nth {
                break;
            }
        }
        assert!(broken >= 2 || fate == Fate::LosesAnswer, "{broken} operations broke a flush");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_keeps_what_is_not_flushed_or_not_in_a_checkpoint() {
    let setup = Setup::new(3).await;
    let deliveries = setup.open().await.unwrap();
    append(&deliveries, 0..20).await;
    let other = Record { lane: lane("mail"), ..record(20) };
    deliveries.journal().append(vec![other]).await.unwrap();
    setup.lanes.set(&[("slack", 20), ("mail", 0)]);
    deliveries.flush().await.unwrap();
    append(&deliveries, 21..40).await;
    assert_eq!(deliveries.journal().first(), 1, "`mail` has not folded in its record");
    setup.lanes.set(&[("slack", 40), ("mail", 21)]);
    assert_eq!(deliveries.journal().first(), 1, "nothing is let go without a flush");

    // The same is known after a restart.
    deliveries.journal().close().await.unwrap();
    let deliveries = setup.open().await.unwrap();
    setup.lanes.set(&[("slack", 20), ("mail", 20)]);
    deliveries.flush().await.unwrap();
    assert_eq!(deliveries.journal().first(), 1);
    setup.lanes.set(&[("slack", 40), ("mail", 21)]);
    append(&deliveries, 40..41).await;
    deliveries.flush().await.unwrap();
    assert_eq!(deliveries.journal().first(), 41, "`slack` has not folded in the last one");
    assert_eq!(all(&deliveries.snapshot()).await, to(41));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_last_commit_is_replayed_from_the_journal() {
    let setup = Setup::new(4).await;
    let deliveries = setup.open().await.unwrap();
    append(&deliveries, 0..5).await;
    deliveries.flush().await.unwrap();
    append(&deliveries, 5..8).await;
    deliveries.flush().await.unwrap();
    deliveries.close().await.unwrap();
    std::fs::write(setup.dir.path().join("deliveries/_delta_log/00000000000000000002.json"), "").unwrap();
    let deliveries = setup.open().await.unwrap();
    assert_eq!(deliveries.status().flushed, 5);
    assert_eq!(all(&deliveries.snapshot()).await, to(8));
    deliveries.flush().await.unwrap();
    assert_eq!(in_files(&deliveries).await, to(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_was_lost_is_begun_anew_and_repeats_no_number_of_a_checkpoint() {
    let setup = Setup::new(5).await;
    let deliveries = setup.open().await.unwrap();
    append(&deliveries, 0..5).await;
    deliveries.close().await.unwrap();
    let id = deliveries.journal().id().clone();
    setup.lanes.set(&[("slack", 4)]);
    let lost = Setup { fs: CrashFs::new(6), ..setup };
    let deliveries = lost.open().await.unwrap();
    assert_ne!(*deliveries.journal().id(), id);
    assert_eq!(all(&deliveries.snapshot()).await, to(5));
    append(&deliveries, 4..6).await;
    deliveries.flush().await.unwrap();
    let mut found = in_files(&deliveries).await;
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4, 5, 5, 6], "the same number of two journals names two records");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_a_record_has_its_column() {
    let setup = Setup::new(7).await;
    let deliveries = setup.open().await.unwrap();
    let mut full = record(3);
    full.lane.replay = Some("r1".into());
    full.offsets = vec![5, 6, 1_000];
    (full.outcome, full.trigger, full.attempt) = (Outcome::Retry, Trigger::Replay, 4);
    (full.next_at, full.class, full.status) = (Some(full.at + 9), Some(Class::RateLimited), Some(429));
    (full.vendor_code, full.reason) = (Some("slow".into()), Some("it is too much".into()));
    (full.sent, full.answered, full.version) = (Some("{}".into()), Some("no".into()), 12);
    let empty = Record { offsets: Vec::new(), status: None, latency_us: None, request: None, ..record(4) };
    deliveries.journal().append(vec![full.clone(), empty]).await.unwrap();
    let (_, fresh) = batches(&deliveries.snapshot()).await;
    deliveries.flush().await.unwrap();
    let (files, _) = batches(&deliveries.snapshot()).await;
    assert_eq!(deliveries.snapshot().table.files[0].path.split('/').next(), Some("date=2023-11-14"));
    let (file, fresh) = (&files[0], &fresh[0]);
    for (index, column) in file.columns().iter().enumerate() {
        assert_eq!(column.to_data(), fresh.column(index).to_data(), "column {index}");
    }
    assert_eq!(*fresh.schema(), *TableKind::Deliveries.schema());
    let text = |name: &str| {
        let column = fresh.column_by_name(name).unwrap().as_string::<i32>();
        column.iter().map(|value| value.map(ToOwned::to_owned)).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(text("journal"), vec![some(&deliveries.journal().id().0); 2]);
    assert_eq!(text("destination"), vec![some("slack"); 2]);
    assert_eq!(text("log_partition"), vec![some("00000000000000aa"); 2]);
    assert_eq!(text("replay"), [some("r1"), None]);
    assert_eq!(text("outcome"), [some("retry"), some("delivered")]);
    assert_eq!(text("trigger"), [some("replay"), some("live")]);
    assert_eq!(text("class"), [some("rate_limited"), None]);
    assert_eq!(text("vendor_code"), [some("slow"), None]);
    assert_eq!(text("reason"), [some("it is too much"), None]);
    assert_eq!(text("sent"), [some("{}"), None]);
    assert_eq!(text("answered"), [some("no"), None]);
    let int = |name: &str| {
        fresh.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
    };
    assert_eq!(int("journal_sequence"), [Some(1), Some(2)]);
    assert_eq!(int("first_offset"), [Some(5), None]);
    assert_eq!(int("last_offset"), [Some(1_000), None]);
    assert_eq!(int("events"), [Some(3), Some(0)]);
    assert_eq!(int("attempt"), [Some(4), Some(1)]);
    assert_eq!(int("status"), [Some(429), None]);
    assert_eq!(int("latency_us"), [Some(1_000), None]);
    assert_eq!(int("request"), [Some(3), None]);
    assert_eq!(int("version"), [Some(12), Some(1)]);
    let time = |name: &str| {
        let column = fresh.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>();
        column.iter().collect::<Vec<_>>()
    };
    assert_eq!(time("at"), [Some(full.at), Some(full.at + 1)]);
    assert_eq!(time("next_at"), [full.next_at, None]);
    let offsets = fresh.column_by_name("offsets").unwrap().as_list::<i32>();
    assert_eq!(offsets.value(0).as_primitive::<Int64Type>().values(), &[5, 6, 1_000]);
    assert_eq!(offsets.value_length(1), 0);
    let date = fresh.column_by_name("date").unwrap().as_primitive::<Date32Type>();
    assert_eq!(i64::from(date.value(0)), full.at / DAY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_wrong_clocks_stop_no_flush_and_stay_in_their_order() {
    let setup = Setup::new(8).await;
    let deliveries = setup.open().await.unwrap();
    let at = [0, DAY, 0, i64::MAX, i64::MIN, 3 * DAY];
    let records = at.map(|at| Record { at, ..record(1) }).to_vec();
    deliveries.journal().append(records).await.unwrap();
    deliveries.flush().await.unwrap();
    assert_eq!(in_files(&deliveries).await, to(6));
    let reopened = Table::read(&setup.store, TableKind::Deliveries).await.unwrap().unwrap();
    assert_eq!(reopened.files.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_delivered_in_a_batch_takes_about_a_byte() {
    let setup = Setup::new(9).await;
    let deliveries = setup.open().await.unwrap();
    let record = |number: u64| Record {
        // Every third event was meant for another destination.
        offsets: (number * 1_500..(number + 1) * 1_500).filter(|offset| offset % 3 != 1).collect(),
        ..record(number)
    };
    deliveries.journal().append((0..100).map(record).collect()).await.unwrap();
    deliveries.flush().await.unwrap();
    let bytes: u64 = deliveries.snapshot().table.files.iter().map(|file| file.bytes).sum();
    assert!(bytes < 100_000, "{bytes} bytes for 100,000 events");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_become_one_and_a_running_flusher_stops_when_it_is_told() {
    // Encoded anew, and with their row groups copied.
    for copied_rows_min in [u64::MAX, 1] {
        let setup = Setup::new(10).await;
        let deliveries = setup.open().await.unwrap();
        let running = tokio::spawn(Arc::clone(&deliveries).run());
        let policy =
            crate::log::table::CompactionPolicy { files_min: 8, copied_rows_min, ..Default::default() };
        for number in 0..8 {
            append(&deliveries, number..number + 1).await;
            deliveries.flush().await.unwrap();
        }
        assert!(deliveries.table.compact_once(policy, None).await.unwrap().is_some());
        assert_eq!((deliveries.status().files, in_files(&deliveries).await), (1, to(8)));
        append(&deliveries, 8..9).await;
        deliveries.close().await.unwrap();
        running.await.unwrap();
        assert_eq!(in_files(&deliveries).await, to(9));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_records_are_flushed_without_being_asked() {
    let setup = Setup::new(11).await;
    let deliveries = setup.open().await.unwrap();
    let running = tokio::spawn(Arc::clone(&deliveries).run());
    deliveries.journal().append((0..RECORDS).map(record).collect()).await.unwrap();
    while deliveries.status().flushed < RECORDS {
        tokio::task::yield_now().await;
    }
    deliveries.close().await.unwrap();
    running.await.unwrap();
}
