//! The owner and the adopters of a partition, over a store that breaks.

mod crashes;

use super::{Kind, Objects, owner::Kept};
use crate::Clock;
use crate::clock::SECOND;
use crate::event::{Event, Kind as EventKind};
use crate::log::store::Store;
use crate::log::table::test_store::{Fate, Operation, TestStore};
use crate::log::table::{Table, TableKind};
use crate::log::tests::config;
use crate::log::{AppendError, Batch, Durability, Log, LogConfig, LogError, Origin, PartitionId};
use crate::log::{adopt, recovery, stored};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const NOW: crate::Micros = 1_768_478_400 * SECOND;

/// A shared store and the disk of one node.
struct Machines {
    shared: tempfile::TempDir,
    disk: tempfile::TempDir,
    clock: Clock,
}

impl Machines {
    fn new() -> Self {
        let dir = || tempfile::tempdir().unwrap();
        Self { shared: dir(), disk: dir(), clock: Clock::given(NOW) }
    }

    fn config(&self, durability: Durability) -> LogConfig {
        LogConfig {
            store: url::Url::from_directory_path(self.shared.path()).unwrap().into(),
            durability,
            ..config(&self.disk.path().join("data"))
        }
    }

    async fn store(&self) -> Store {
        Store::open(&self.config(Durability::Object).store).await.unwrap()
    }

    async fn open(&self, durability: Durability) -> Result<Log, LogError> {
        Log::open(self.config(durability), self.clock.clone()).await
    }

    /// A log whose store does what `decide` says.
    async fn open_over(
        &self,
        decide: impl Fn(Operation, &Path) -> Fate + Send + Sync + 'static,
    ) -> Result<Log, LogError> {
        let config = self.config(Durability::Object);
        let store = self.store().await.wrap(|inner| TestStore::over(inner, decide));
        let wal = recovery::open_wal(&config).await?;
        recovery::open_on(store, wal, config, self.clock.clone()).await
    }

    async fn adopt(&self, partition: &PartitionId) -> Result<adopt::Adopted, LogError> {
        adopt::adopt_on(&self.store().await, partition, self.clock.clone()).await
    }

    /// Every message id in the tables, with how often it is there.
    async fn stored(&self) -> BTreeMap<String, usize> {
        let store = self.store().await;
        let mut ids = BTreeMap::new();
        let Some(table) = Table::read(&store, TableKind::Events).await.unwrap() else { return ids };
        for file in table.files.iter() {
            let count = |_: &str, id: &str, _, _| {
                *ids.entry(id.to_owned()).or_insert(0) += 1;
                Ok(())
            };
            stored::ids(&table, file, 0, count).await.unwrap();
        }
        ids
    }

    /// The offsets of all records of a partition in the tables.
    async fn offsets(&self, partition: &PartitionId) -> Vec<i64> {
        let store = self.store().await;
        let mut offsets = Vec::new();
        for kind in TableKind::ALL {
            let table = Table::read(&store, kind).await.unwrap().unwrap();
            for file in table.files.iter().filter(|file| file.partition == *partition) {
                let mut rows = stored::Rows::open(&table, file, &["log_offset"], 0).await.unwrap();
                while let Some(batch) = rows.next().await.unwrap() {
                    offsets.extend(batch.column(0).as_primitive::<Int64Type>().values());
                }
            }
        }
        offsets.sort_unstable();
        offsets
    }

    async fn objects(&self, partition: &PartitionId) -> Vec<Kind> {
        let objects = Objects::of(&self.store().await, partition);
        let mut kinds = Vec::new();
        for object in objects.list().await.unwrap() {
            kinds.push(objects.header(object.n).await.unwrap().unwrap().kind);
        }
        kinds
    }

    fn lose_disk(&self) {
        std::fs::remove_dir_all(self.disk.path().join("data")).unwrap();
    }
}

fn batch(id: &str) -> Batch {
    let mut batch = Batch::new(Origin { source: "web".into(), test: false }, 1);
    batch.push_event(&Event::new(EventKind::Track, id));
    batch
}

fn is_of_wal(path: &Path) -> bool {
    path.as_ref().contains("/wal/")
}

fn once(ids: &[&str]) -> BTreeMap<String, usize> {
    ids.iter().map(|id| ((*id).to_owned(), 1)).collect()
}

#[tokio::test]
async fn everything_acknowledged_survives_the_loss_of_the_machine() {
    let machines = Machines::new();
    let log = machines.open(Durability::Object).await.unwrap();
    let partition = log.partition().clone();
    log.append(batch("a")).await.unwrap();
    log.append(batch("b")).await.unwrap();
    log.flush().await.unwrap();
    log.append(batch("c")).await.unwrap();
    log.append(batch("d")).await.unwrap();
    log.abandon().await;
    machines.lose_disk();
    assert_eq!(machines.stored().await, once(&["a", "b"]));
    let adopted = machines.adopt(&partition).await.unwrap();
    assert_eq!((adopted.end, adopted.records, adopted.was_sealed), (8, 4, false));
    assert_eq!(machines.stored().await, once(&["a", "b", "c", "d"]));
    assert_eq!(machines.offsets(&partition).await, (0..8).collect::<Vec<_>>());
    assert_eq!(machines.objects(&partition).await, [Kind::Sealed]);
    let again = machines.adopt(&partition).await.unwrap();
    assert_eq!((again.end, again.records, again.was_sealed), (8, 0, true));
    // A new node on an empty disk knows what the lost one had kept.
    let log = machines.open(Durability::Object).await.unwrap();
    assert_ne!(*log.partition(), partition);
    assert_eq!(log.append(batch("d")).await.unwrap().duplicates, [0]);
    assert_eq!(log.append(batch("e")).await.unwrap().duplicates, [0_u32; 0]);
}

#[tokio::test]
async fn an_owner_whose_partition_was_adopted_stops_and_then_begins_a_new_one() {
    let machines = Machines::new();
    let log = machines.open(Durability::Object).await.unwrap();
    let partition = log.partition().clone();
    log.append(batch("a")).await.unwrap();
    machines.adopt(&partition).await.unwrap();
    for id in ["b", "c"] {
        match log.append(batch(id)).await {
            Err(AppendError::Failed(why)) => assert!(why.contains("was adopted"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(log.status().failed.is_some());
    log.close().await.unwrap();
    let log = machines.open(Durability::Object).await.unwrap();
    assert_ne!(*log.partition(), partition);
    // Of the old WAL nothing is left but what the objects held.
    assert_eq!(log.append(batch("b")).await.unwrap().duplicates, [0_u32; 0]);
    assert_eq!(log.append(batch("a")).await.unwrap().duplicates, [0]);
    log.close().await.unwrap();
    assert_eq!(machines.stored().await, once(&["a", "b"]));
    let names = std::fs::read_dir(machines.disk.path().join("data")).unwrap();
    assert!(names.map(Result::unwrap).all(|entry| !entry.file_name().to_str().unwrap().starts_with("wal.")));
}

#[tokio::test]
async fn while_the_store_is_down_nothing_is_acknowledged_and_nothing_is_seen() {
    let machines = Machines::new();
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let log = machines
        .open_over(move |operation, path| {
            let fails = operation == Operation::Put && is_of_wal(path) && is_down.load(SeqCst);
            if fails { Fate::Fails } else { Fate::Done }
        })
        .await
        .unwrap();
    log.append(batch("a")).await.unwrap();
    down.store(true, SeqCst);
    for _ in 0..5 {
        let refused = log.append(batch("b")).await;
        assert!(
            matches!(refused, Err(AppendError::StoreUnavailable { retry_after_s: 5, .. })),
            "{refused:?}"
        );
    }
    assert!(log.status().waiting.is_some());
    assert_eq!(log.status().end, 2, "the group that waits is not seen");
    log.flush().await.unwrap();
    assert_eq!(machines.stored().await, once(&["a"]));
    down.store(false, SeqCst);
    let appended = until_taken(&log, "b").await;
    assert!(appended.duplicates == [0], "it was kept: {appended:?}");
    assert_eq!(log.status().waiting, None);
    log.close().await.unwrap();
    assert_eq!(machines.stored().await, once(&["a", "b"]));
}

async fn until_taken(log: &Log, id: &str) -> crate::log::Appended {
    loop {
        match log.append(batch(id)).await {
            Ok(appended) => return appended,
            Err(AppendError::StoreUnavailable { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_adopters_and_a_living_owner_end_well() {
    for _ in 0..10 {
        let machines = Machines::new();
        let log = machines.open(Durability::Object).await.unwrap();
        let partition = log.partition().clone();
        log.append(batch("first")).await.unwrap();
        let owner = async {
            let mut acknowledged = vec!["first".to_owned()];
            for n in 0..200 {
                let id = format!("{n}");
                match log.append(batch(&id)).await {
                    Ok(_) => acknowledged.push(id),
                    Err(AppendError::Failed(_)) => break,
                    Err(error) => panic!("{error}"),
                }
                if n % 10 == 0 {
                    log.flush().await.unwrap();
                }
            }
            acknowledged
        };
        let (acknowledged, one, two) =
            tokio::join!(owner, machines.adopt(&partition), machines.adopt(&partition));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.end, two.end);
        assert_eq!(machines.objects(&partition).await, [Kind::Sealed]);
        let ids: Vec<&str> = acknowledged.iter().map(String::as_str).collect();
        assert_eq!(machines.stored().await, once(&ids));
        log.close().await.unwrap();
        assert_eq!(machines.stored().await, once(&ids));
    }
}

#[tokio::test]
async fn durability_can_be_changed_at_a_start() {
    let machines = Machines::new();
    let log = machines.open(Durability::Local).await.unwrap();
    let partition = log.partition().clone();
    log.append(batch("a")).await.unwrap();
    log.abandon().await;
    let refused = machines.adopt(&partition).await.unwrap_err().to_string();
    assert!(refused.contains("wait for its node's disk"), "{refused}");
    // What only the disk held is in the store when the log is open.
    let log = machines.open(Durability::Object).await.unwrap();
    log.append(batch("b")).await.unwrap();
    assert_eq!(machines.objects(&partition).await, [Kind::Group, Kind::Group]);
    log.abandon().await;
    let log = machines.open(Durability::Local).await.unwrap();
    log.append(batch("c")).await.unwrap();
    log.abandon().await;
    let refused = machines.adopt(&partition).await.unwrap_err().to_string();
    assert!(refused.contains("local"), "{refused}");
    let log = machines.open(Durability::Object).await.unwrap();
    assert_eq!(*log.partition(), partition);
    log.abandon().await;
    machines.lose_disk();
    machines.adopt(&partition).await.unwrap();
    assert_eq!(machines.stored().await, once(&["a", "b", "c"]));
    assert_eq!(machines.offsets(&partition).await, (0..6).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_disk_that_is_older_than_the_objects_is_refused() {
    let machines = Machines::new();
    let log = machines.open(Durability::Object).await.unwrap();
    let partition = log.partition().clone();
    log.close().await.unwrap();
    let (data, old) = (machines.disk.path().join("data"), machines.disk.path().join("old"));
    let copied = std::process::Command::new("cp").arg("-a").args([&data, &old]).status().unwrap();
    assert!(copied.success());
    let log = machines.open(Durability::Object).await.unwrap();
    log.append(batch("a")).await.unwrap();
    log.abandon().await;
    machines.lose_disk();
    std::fs::rename(&old, &data).unwrap();
    let refused = machines.open(Durability::Object).await.map(|_| ()).unwrap_err();
    assert!(matches!(&refused, LogError::Damaged(why) if why.contains("adopt")), "{refused}");
    machines.adopt(&partition).await.unwrap();
    let log = machines.open(Durability::Object).await.unwrap();
    assert_eq!(log.append(batch("a")).await.unwrap().duplicates, [0]);
}

#[tokio::test]
async fn objects_that_the_tables_hold_are_removed_but_for_the_newest() {
    let machines = Machines::new();
    let log = machines.open(Durability::Object).await.unwrap();
    for id in ["a", "b", "c"] {
        log.append(batch(id)).await.unwrap();
    }
    let objects = Objects::of(&machines.store().await, log.partition());
    let kept = Kept::new(objects.clone());
    for (n, end) in [(0, 2), (1, 4), (2, 6)] {
        kept.add(n, end);
    }
    kept.remove_below(3).await.unwrap();
    assert_eq!(objects.list().await.unwrap().iter().map(|o| o.n).collect::<Vec<_>>(), [1, 2]);
    kept.remove_below(6).await.unwrap();
    assert_eq!(objects.list().await.unwrap().iter().map(|o| o.n).collect::<Vec<_>>(), [2]);
    log.close().await.unwrap();
    // The next start goes on behind it.
    let log = machines.open(Durability::Object).await.unwrap();
    log.append(batch("d")).await.unwrap();
    assert_eq!(objects.list().await.unwrap().iter().map(|o| o.n).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let machines = Machines::new();
    let log = machines.open(Durability::Object).await.unwrap();
    let partition = log.partition().clone();
    log.append(batch("a")).await.unwrap();
    log.append(batch("b")).await.unwrap();
    log.abandon().await;
    machines.lose_disk();
    let path = machines.shared.path().join(format!("wal/{partition}/{:020}", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = machines.adopt(&partition).await.unwrap_err();
    let named = format!("wal/{partition}/{:020}", 0);
    assert!(matches!(&refused, LogError::Damaged(why) if why.contains(&named)), "{refused}");
    std::fs::remove_file(&path).unwrap();
    let refused = machines.adopt(&partition).await.unwrap_err();
    assert!(matches!(&refused, LogError::Damaged(why) if why.contains("missing")), "{refused}");
}
