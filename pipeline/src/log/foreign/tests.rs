use super::*;
use crate::Clock;
use crate::clock::SECOND;
use crate::event::Kind;
use crate::log::store::Store;
use crate::log::table::CompactionPolicy;
use crate::log::table::test_store::{Fate, TestStore};
use crate::log::tests::config;
use crate::log::{Batch, Durability, Log, LogConfig, Origin, recovery};

/// Nodes that share a store.
struct Nodes {
    shared: tempfile::TempDir,
    clock: Clock,
}

impl Nodes {
    fn new() -> Self {
        Self { shared: tempfile::tempdir().unwrap(), clock: Clock::given(1_768_478_400 * SECOND) }
    }

    fn config(&self, name: &str) -> LogConfig {
        LogConfig {
            store: url::Url::from_directory_path(self.shared.path().join("store")).unwrap().into(),
            durability: Durability::Object,
            ..config(&self.shared.path().join(name))
        }
    }

    async fn open(&self, name: &str) -> Log {
        Log::open(self.config(name), self.clock.clone()).await.unwrap()
    }
}

fn batch(ids: &[String]) -> Batch {
    let mut batch = Batch::new(Origin { source: "web".into(), test: false }, ids.len() as u32);
    for id in ids {
        batch.push_event(&Event::new(Kind::Track, id.clone()));
    }
    batch
}

/// Everything between the reader's place and the end of what is committed.
async fn read_on(reader: &mut ForeignReader, max: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while reader.next < reader.of.end() || !reader.ready.is_empty() {
        let before = reader.next - reader.ready.len() as u64;
        let (events, position) = reader.next(max).await.unwrap().unwrap();
        assert!(events.len() <= max && events.iter().all(|event| event.offset < position));
        assert!(events.iter().all(|event| event.partition == reader.of.partition));
        assert!(position > before || !events.is_empty());
        ids.extend(events.into_iter().map(|event| event.record.message_id.into_owned()));
    }
    ids
}

#[tokio::test]
async fn commits_of_another_node_are_read_in_order_and_once_until_it_is_adopted() {
    let nodes = Nodes::new();
    let (lost, here) = (nodes.open("lost").await, nodes.open("here").await);
    let partition = lost.partition().clone();
    let foreign = here.foreign(&partition);
    let mut reader = foreign.reader(0);
    let (mut read, mut sent) = (Vec::new(), Vec::new());
    for round in 0..12 {
        for request in 0..3 {
            let ids: Vec<_> = (0..4).map(|item| format!("{round}-{request}-{item}")).collect();
            lost.append(batch(&ids)).await.unwrap();
            sent.extend(ids);
        }
        here.append(batch(&[format!("ours-{round}")])).await.unwrap();
        lost.flush().await.unwrap();
        here.flush().await.unwrap();
        if round % 4 == 3 {
            let policy = CompactionPolicy { files_min: 2, ..CompactionPolicy::default() };
            let compacted = lost.published.table(TableKind::Events).compact_once(policy, None).await.unwrap();
            assert!(compacted.is_some());
        }
        if round % 3 == 2 {
            here.published.refresh().await.unwrap();
            read.extend(read_on(&mut reader, 7).await);
            assert_eq!(read, sent, "round {round}");
        }
    }
    lost.append(batch(&["last".to_owned()])).await.unwrap();
    sent.push("last".to_owned());
    lost.abandon().await;
    adopt::adopt(&nodes.config("any").store, &partition, nodes.clock.clone()).await.unwrap();
    // It waits for this, and then finds that there will be no more.
    let (more, ()) = tokio::join!(reader.next(100), async { here.published.refresh().await.unwrap() });
    read.extend(more.unwrap().unwrap().0.into_iter().map(|event| event.record.message_id.into_owned()));
    assert_eq!(read, sent);
    reader.looks = 0;
    assert!(reader.next(100).await.unwrap().is_none());
    assert_eq!(
        read_on(&mut foreign.reader(7), 5).await,
        sent[5..],
        "offset 7 is the third event's of the second request"
    );
    let mut known = here.partitions();
    known.sort();
    let mut both = [partition, here.partition().clone()];
    both.sort();
    assert_eq!(known, both);
}

#[tokio::test]
async fn events_whose_receipt_is_not_committed_are_not_read() {
    let nodes = Nodes::new();
    let config = nodes.config("half");
    let store = Store::open(&config.store).await.unwrap();
    let (failing, fails) = tokio::sync::watch::channel(false);
    let store = store.wrap(|inner| {
        TestStore::over(inner, move |_, path| {
            let receipts = path.as_ref().contains("/receipts/_delta_log/");
            if receipts && *fails.borrow() { Fate::Fails } else { Fate::Done }
        })
    });
    let wal = recovery::open_wal(&config).await.unwrap();
    let half = recovery::open_on(store, wal, config, nodes.clock.clone()).await.unwrap();
    let here = nodes.open("here").await;
    let ids = |name: &str| (0..3).map(|item| format!("{name}-{item}")).collect::<Vec<_>>();
    half.append(batch(&ids("whole"))).await.unwrap();
    half.flush().await.unwrap();
    failing.send_replace(true);
    half.append(batch(&ids("half"))).await.unwrap();
    half.flush().await.unwrap_err();
    here.published.refresh().await.unwrap();
    let foreign = here.foreign(half.partition());
    assert_eq!(foreign.end(), 4);
    assert_eq!(here.published.table(TableKind::Events).committed(half.partition()), Some(7));
    let mut reader = foreign.reader(0);
    assert_eq!(read_on(&mut reader, 100).await, ids("whole"));
    failing.send_replace(false);
    half.flush().await.unwrap();
    here.published.refresh().await.unwrap();
    assert_eq!(read_on(&mut reader, 100).await, ids("half"));
}
