//! Promises of [`Table`], on real files.

use super::*;
use crate::clock::DAY;
use crate::event::{Event, Kind};
use crate::log::LogError;
use crate::log::frame::{self, Batch, Frame, Origin};
use crate::log::rows::Rows;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use deltalake_core::DeltaTable;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use test_store::{Fate, Operation, TestStore};

mod append;
mod commit;
mod compact;
mod damage;
mod promoted;
mod upkeep;

/// Noon of a day.
const NOON: i64 = 20_468 * DAY + DAY / 2;

struct Setup {
    _dir: tempfile::TempDir,
    store: Store,
    clock: Clock,
}

impl Setup {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&url::Url::from_directory_path(dir.path()).unwrap().into()).await.unwrap();
        Self { _dir: dir, store, clock: Clock::given(NOON) }
    }

    /// The same store, whose operations are decided about by a function.
    fn with_store(&self, decide: impl Fn(Operation, &Path) -> Fate + Send + Sync + 'static) -> Store {
        self.store.wrap(|inner| TestStore::over(inner, decide))
    }

    async fn open_on(&self, store: &Store) -> Table {
        Table::open_or_create(store, TableKind::Events, self.clock.clone(), None).await.unwrap()
    }

    async fn open(&self) -> Table {
        self.open_with(None).await.unwrap()
    }

    async fn open_with(&self, wal: Option<&WalCover>) -> Result<Table, LogError> {
        Table::open_or_create(&self.store, TableKind::Events, self.clock.clone(), wal).await
    }

    fn path(&self, name: &str) -> Path {
        Path::from_url_path(format!("{}{name}", self.store.root.path())).unwrap()
    }
}

fn partition() -> PartitionId {
    PartitionId("00000000000000aa".into())
}

/// Whether a path is that of a commit.
fn is_commit(path: &Path) -> bool {
    path.as_ref().contains("/_delta_log/") && path.as_ref().ends_with(".json")
}

/// Batches of one frame with so many events, from `offset` on; the last offset, too.
fn frame(offset: Offset, events: u32, received_at: i64) -> (Vec<RecordBatch>, Offset) {
    let mut batch = Batch::new(Origin { source: "web".into(), test: false }, events);
    for number in 0..events {
        let mut event = Event::new(Kind::Track, format!("{offset}-{number}"));
        event.event = Some("Order Completed".into());
        event.user_id = Some(format!("user-{}", number % 7).into());
        event.properties = Some(format!(r#"{{"price":{number}}}"#).into());
        batch.push_event(&event);
    }
    let mut bytes = Vec::new();
    frame::encode(&batch, &[], offset, received_at, &mut bytes);
    let mut rows = Rows::after(partition(), [None; 3]);
    let frame = Frame::decode(&mut bytes.as_slice()).unwrap();
    rows.push(&frame).unwrap();
    (rows.finish().get(TableKind::Events).to_vec(), frame.end() - 1)
}

/// Appends frames of ten events each, from `offset` on.
async fn append_frames(table: &Table, offset: Offset, frames: u64) {
    for number in 0..frames {
        let (batches, last) = frame(offset + number * 11, 10, NOON + number as i64 * 1_000);
        let done = table.append(&partition(), batches, last).await.unwrap();
        assert!(matches!(done, TableAppend::Committed { .. }), "{done:?}");
    }
}

/// All offsets and message ids, file by file as the snapshot lists them.
async fn rows(table: &TableSnapshot) -> Vec<(i64, String)> {
    let mut rows = Vec::new();
    for file in table.files.iter() {
        let bytes = table.store.get(&Path::from(file.path.as_str())).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let before = rows.len();
        for batch in reader {
            let batch = batch.unwrap();
            let offsets = batch.column_by_name("log_offset").unwrap().as_primitive::<Int64Type>();
            let ids = batch.column_by_name("message_id").unwrap().as_string::<i32>();
            rows.extend(
                offsets.values().iter().zip(ids).map(|(offset, id)| (*offset, id.unwrap().to_owned())),
            );
        }
        assert_eq!((rows.len() - before) as u64, file.rows, "{}", file.path);
        let offsets = (rows[before].0 as u64, rows[rows.len() - 1].0 as u64);
        assert_eq!(offsets, file.offsets, "{}", file.path);
    }
    rows
}

/// The rows that [`append_frames`] appends.
fn expected(offset: Offset, frames: u64) -> Vec<(i64, String)> {
    (0..frames)
        .flat_map(|frame| {
            let offset = offset + frame * 11;
            (0..10).map(move |number| ((offset + 1 + number) as i64, format!("{offset}-{number}")))
        })
        .collect()
}

/// The table as the library sees it: its version, its files and the transaction of our partition.
async fn as_the_library_sees_it(table: &Table) -> (u64, BTreeSet<String>, Option<i64>) {
    let mut delta = DeltaTable::new(Arc::clone(&table.location.log));
    delta.load().await.unwrap();
    let state = delta.snapshot().unwrap();
    let files = state.log_data().iter().map(|file| file.path().into_owned()).collect();
    let app = replay::app_id(&partition());
    let txn = state.transaction_version(table.location.log.as_ref(), app).await.unwrap();
    (state.version(), files, txn)
}

fn paths(table: &TableSnapshot) -> BTreeSet<String> {
    table.files.iter().map(|file| file.path.clone()).collect()
}
