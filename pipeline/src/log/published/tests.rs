//! What a node shows of another one's commits: each request whole.

use super::*;
use crate::Clock;
use crate::event::{Event, Kind};
use crate::log::Log;
use crate::log::frame::{self, Batch, Frame, Origin};
use crate::log::rows::Rows;
use crate::log::store::Store;
use crate::log::table::{CompactionPolicy, HoleReason, TableAppend};
use crate::log::tests::config;

const NOW: i64 = 1_768_478_400_000_000;
/// Events in each of the other node's requests.
const EVENTS: u64 = 10;
/// Four files become one.
const POLICY: CompactionPolicy =
    CompactionPolicy { files_min: 4, bytes_max: 128_000_000, copied_rows_min: 16_384 };

/// A node, and the tables as another one has them.
struct Nodes {
    _dir: tempfile::TempDir,
    log: Log,
    theirs: Vec<Table>,
}

fn other() -> PartitionId {
    PartitionId("00000000000000bb".into())
}

impl Nodes {
    async fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::given(NOW));
        let config = config(dir.path());
        let store = Store::open(&config.store).await.unwrap();
        let log = Log::open(config, clock.clone()).await.unwrap();
        let mut theirs = Vec::new();
        for kind in TableKind::ALL {
            theirs.push(Table::open_or_create(&store, kind, clock.clone(), None).await.unwrap());
        }
        Self { _dir: dir, log, theirs }
    }

    /// The other node's request number `nth`, committed to these tables.
    async fn commit(&self, nth: u64, kinds: &[TableKind]) {
        let mut batch = Batch::new(Origin { source: "web".into(), test: false }, EVENTS as u32);
        for number in 0..EVENTS {
            batch.push_event(&Event::new(Kind::Track, format!("{nth}-{number}")));
        }
        let mut bytes = Vec::new();
        let offset = nth * (EVENTS + 1);
        frame::encode(&batch, &[], offset, NOW + nth as i64 * 1_000, &mut bytes);
        let frame = Frame::decode(&mut bytes.as_slice()).unwrap();
        let mut rows = Rows::after(other(), [None; 3]);
        rows.push(&frame).unwrap();
        let rows = rows.finish();
        for kind in kinds {
            let table = &self.theirs[kind.index()];
            table.refresh().await.unwrap();
            let batches = rows.get(*kind).to_vec();
            if batches.is_empty() {
                continue;
            }
            let done = table.append(&other(), batches, offset + EVENTS).await.unwrap();
            assert!(matches!(done, TableAppend::Committed { .. }), "{done:?}");
        }
    }

    /// Compacts the events as the node does whose turn it is.
    async fn compact(&self) -> bool {
        let [events, receipts] =
            [TableKind::Events, TableKind::Receipts].map(|kind| &self.theirs[kind.index()]);
        receipts.refresh().await.unwrap();
        events.refresh().await.unwrap();
        let whole = receipts.snapshot().committed.clone();
        events.compact_once(POLICY, Some(&whole)).await.unwrap().is_some()
    }

    /// How many of the other node's requests and events this node shows.
    fn shown(&self) -> (u64, u64) {
        let snapshot = self.log.snapshot();
        let [events, receipts] = [TableKind::Events, TableKind::Receipts].map(|kind| {
            let files = snapshot.tables[kind.index()].table.files.iter();
            files.filter(|file| file.partition == other()).map(|file| file.rows).sum()
        });
        (receipts, events)
    }
}

#[tokio::test]
async fn a_request_that_is_half_committed_is_not_shown_and_not_compacted() {
    let nodes = Nodes::new().await;
    for nth in 0..3 {
        nodes.commit(nth, &TableKind::ALL).await;
    }
    nodes.commit(3, &[TableKind::Events]).await;
    assert!(!nodes.compact().await, "three of four files are whole");
    nodes.log.refresh().await.unwrap();
    assert_eq!(nodes.shown(), (3, 3 * EVENTS));
    nodes.commit(3, &[TableKind::Receipts]).await;
    assert!(nodes.compact().await);
    assert_eq!(nodes.shown(), (3, 3 * EVENTS), "until the next look");
    nodes.log.refresh().await.unwrap();
    assert_eq!(nodes.shown(), (4, 4 * EVENTS));
}

#[tokio::test]
async fn commits_that_are_met_between_two_looks_are_shown_whole() {
    let nodes = Nodes::new().await;
    for nth in 0..3 {
        nodes.commit(nth, &TableKind::ALL).await;
    }
    nodes.log.refresh().await.unwrap();
    nodes.commit(3, &TableKind::ALL).await;
    assert!(nodes.compact().await);
    // With a commit of its own this node meets the others', table by table.
    let mut batch = Batch::new(Origin { source: "app".into(), test: false }, 1);
    batch.push_event(&Event::new(Kind::Track, "own"));
    nodes.log.append(batch).await.unwrap();
    nodes.log.flush().await.unwrap();
    let events = nodes.log.published.table(TableKind::Events).snapshot();
    assert!(events.files.iter().any(|file| file.rows == 4 * EVENTS), "the compacted file was met");
    assert_eq!(nodes.shown(), (3, 3 * EVENTS));
    nodes.log.refresh().await.unwrap();
    assert_eq!(nodes.shown(), (4, 4 * EVENTS));
    let own = nodes.log.snapshot().tables[TableKind::Events.index()]
        .table
        .files
        .iter()
        .any(|file| file.partition == *nodes.log.partition());
    assert!(own, "its own commit is there");
}

#[tokio::test]
async fn a_hole_is_shown_once_its_rows_are_not() {
    let nodes = Nodes::new().await;
    nodes.commit(0, &TableKind::ALL).await;
    nodes.log.refresh().await.unwrap();
    let theirs = &nodes.theirs[TableKind::Events.index()];
    theirs.refresh().await.unwrap();
    let files = theirs.snapshot().files.to_vec();
    assert!(theirs.take_out(&files, HoleReason::Retention).await.unwrap());
    // As this node's own commits and removals do, which look at one table only.
    nodes.log.published.table(TableKind::Events).refresh().await.unwrap();
    let holes = || nodes.log.snapshot().tables[TableKind::Events.index()].table.holes.len();
    assert_eq!((nodes.shown(), holes()), ((1, EVENTS), 0));
    nodes.log.refresh().await.unwrap();
    assert_eq!((nodes.shown(), holes()), ((1, 0), 1));
}
