//! Promises of retention over a whole log.

use super::*;
use crate::log::retention::{Limits, Need, Partitions, Remover};
use crate::log::table::{Hole, Retention, Table};
use proptest::prelude::*;

const ALL: Limits =
    Limits { events: Some(10 * DAY), rejected: Some(10 * DAY), receipts: Some(10 * DAY), deliveries: None };

async fn remove(log: &Log, limits: Limits, needs: &[Need]) {
    let tables = TableKind::ALL.map(|kind| Arc::clone(log.published.table(kind))).to_vec();
    Remover::new(tables, log.clock.clone()).remove(&limits, needs).await.unwrap();
}

fn need(log: &Log, offset: Offset) -> Need {
    let (partitions, by) = (Partitions::One(log.partition().clone()), "destination `x`".into());
    Need { partitions, offset, from: None, by, passed_over: None }
}

fn rejected() -> Rejected<'static> {
    Rejected {
        code: "event_not_defined".into(),
        field: Some("event".into()),
        message: "`event` is missing".into(),
        message_id: None,
        body: Some("{}".into()),
        body_bytes: 2,
    }
}

/// Two events and a rejected one, committed: four offsets.
async fn request(log: &Log, name: &str) {
    let mut batch = batch("web", &[&format!("{name}-1"), &format!("{name}-2")]);
    batch.received += 1;
    batch.push_rejected(&rejected());
    log.append(batch).await.unwrap();
    log.flush().await.unwrap();
}

fn holes(log: &Log, kind: TableKind) -> Vec<Hole> {
    log.snapshot().tables[kind.index()].table.holes.to_vec()
}

/// All events from `from` on, as a reader gives them.
async fn read(log: &Log, from: Offset) -> Vec<Offset> {
    let (mut reader, mut next, mut found) = (log.reader(from), from, Vec::new());
    while next < log.status().end {
        let (events, position) = reader.next(7).await.unwrap();
        assert!(position > next);
        found.extend(events.iter().map(|event| event.offset));
        next = position;
    }
    found
}

async fn faults(fixture: &Fixture) -> Vec<String> {
    let report = verify::verify(&fixture.config()).await.unwrap();
    report.checks.into_iter().flat_map(|check| check.faults).collect()
}

async fn detail(fixture: &Fixture) -> String {
    let report = verify::verify(&fixture.config()).await.unwrap();
    report.checks.into_iter().find(|check| check.name.starts_with("partition ")).unwrap().detail
}

#[tokio::test]
async fn old_days_go_with_a_hole_and_everything_else_stays_as_it_was() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    for day in 0..4 {
        request(&log, &format!("day-{day}")).await;
        fixture.clock.advance(DAY);
    }
    // Days 0 and 1 are older than ten days from now on.
    fixture.clock.advance(8 * DAY);
    remove(&log, Limits { receipts: None, ..ALL }, &[]).await;
    assert_eq!(offsets(&log, TableKind::Events).await, [9, 10, 13, 14]);
    assert_eq!(offsets(&log, TableKind::Rejected).await, [11, 15]);
    assert_eq!(offsets(&log, TableKind::Receipts).await, [0, 4, 8, 12]);
    let hole = &holes(&log, TableKind::Events)[..];
    let [hole] = hole else { panic!("{hole:?}") };
    assert_eq!((hole.first, hole.last, hole.rows, hole.last_day - hole.first_day), (1, 6, 4, 1));
    assert_eq!((hole.at, &hole.partition), (fixture.clock.now(), log.partition()));
    assert_eq!(read(&log, 0).await, [9, 10, 13, 14], "the WAL still has the others");
    assert_eq!(read(&log, 5).await, [9, 10, 13, 14]);

    remove(&log, ALL, &[]).await;
    assert_eq!(offsets(&log, TableKind::Receipts).await, [4, 8, 12], "a day longer than its records");
    log.close().await.unwrap();
    assert_eq!(faults(&fixture).await, [""; 0]);
    let detail = detail(&fixture).await;
    for part in
        ["retention removed 4 of `events` at offsets 1 to 6", "removed 1 of `receipts` at offsets 0 to 0"]
    {
        assert!(detail.contains(part), "{detail}");
    }

    let log = fixture.open().await;
    assert_eq!(read(&log, 0).await, [9, 10, 13, 14]);
    let hole = holes(&log, TableKind::Events).remove(0);
    for (from, passed) in [(0, Some(1)), (5, Some(5)), (7, None)] {
        let passed: Vec<_> = passed.map(|from| Passed { from, hole: hole.clone() }).into_iter().collect();
        let mut reader = log.reader(from);
        reader.next(1).await.unwrap();
        assert_eq!(reader.passed(), passed, "from {from}");
        let mut foreign = log.foreign(log.partition()).reader(from);
        while foreign.next(1).await.unwrap().unwrap().0.is_empty() {}
        assert_eq!(foreign.passed(), passed, "as another node's, from {from}");
        assert_eq!((reader.passed(), foreign.passed()), (vec![], vec![]), "it is told once");
    }
    assert_eq!(holes(&log, TableKind::Rejected)[0].rows, 2);
    assert_eq!(log.append(batch("web", &["day-3-1", "day-0-1"])).await.unwrap().duplicates, [0_u32; 0]);
    fixture.clock.advance(2 * DAY);
    log.flush().await.unwrap();
    remove(&log, ALL, &[]).await;
    let [hole] = &holes(&log, TableKind::Events)[..] else { panic!("holes of days that follow become one") };
    assert_eq!((hole.first, hole.last, hole.rows), (1, 14, 8));
    assert_eq!(read(&log, 0).await, [17, 18]);
    log.close().await.unwrap();
    assert_eq!(faults(&fixture).await, [""; 0]);
}

#[tokio::test]
async fn events_that_a_destination_needs_wait_with_their_receipts() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    for day in 0..3 {
        request(&log, &format!("day-{day}")).await;
        fixture.clock.advance(DAY);
    }
    fixture.clock.advance(30 * DAY);
    remove(&log, ALL, &[need(&log, 6)]).await;
    assert_eq!(offsets(&log, TableKind::Events).await, [5, 6, 9, 10]);
    assert_eq!(offsets(&log, TableKind::Rejected).await, [0_i64; 0]);
    assert_eq!(offsets(&log, TableKind::Receipts).await, [0, 4, 8]);
    remove(&log, ALL, &[need(&log, 12)]).await;
    for kind in TableKind::ALL {
        assert_eq!(offsets(&log, kind).await, [0_i64; 0], "{}", kind.name());
    }
    request(&log, "later").await;
    assert_eq!(read(&log, 0).await, [13, 14]);
    log.close().await.unwrap();
    assert_eq!(faults(&fixture).await, [""; 0]);
}

#[tokio::test]
async fn a_reader_within_a_hole_at_the_end_of_the_log_is_told_where_to_go_on() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    log.append(batch("web", &["a", "b"])).await.unwrap();
    log.flush().await.unwrap();
    fixture.clock.advance(30 * DAY);
    remove(&log, ALL, &[]).await;
    assert_eq!(log.status().end, 3);
    let mut reader = log.reader(1);
    assert_eq!(reader.next(10).await.unwrap(), (vec![], 3), "it does not wait for what comes next");
}

#[tokio::test]
async fn a_request_at_midnight_may_lose_the_half_of_the_day_before() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    // The receipt and one event on one day; another event and the rejected one on the next.
    fixture.clock.advance(DAY / 2 - 2);
    request(&log, "midnight").await;
    fixture.clock.advance(DAY / 2);
    request(&log, "next").await;
    fixture.clock.advance(10 * DAY - HOUR);
    remove(&log, ALL, &[]).await;
    assert_eq!(offsets(&log, TableKind::Events).await, [2, 5, 6]);
    assert_eq!(offsets(&log, TableKind::Receipts).await, [0, 4]);
    assert_eq!(read(&log, 0).await, [2, 5, 6]);
    log.close().await.unwrap();
    assert_eq!(faults(&fixture).await, [""; 0]);
}

#[tokio::test]
async fn damage_inside_and_beside_a_hole_is_found() {
    for (kind, day) in [(TableKind::Events, 3), (TableKind::Rejected, 0), (TableKind::Receipts, 1)] {
        let fixture = Fixture::new();
        let log = fixture.open().await;
        for day in 0..5 {
            request(&log, &format!("day-{day}")).await;
            fixture.clock.advance(DAY);
        }
        fixture.clock.advance(8 * DAY);
        remove(&log, Limits { rejected: None, receipts: None, ..ALL }, &[]).await;
        log.close().await.unwrap();
        assert_eq!(faults(&fixture).await, [""; 0]);

        // A commit that somebody made by hand, which takes a file out and tells nothing.
        let store = store::Store::open(&fixture.config().store).await.unwrap();
        let table = Table::read(&store, kind).await.unwrap().unwrap();
        let first = table.files.iter().map(|file| file.received_date).min().unwrap();
        let removed = if kind == TableKind::Events { first + day - 3 } else { first + day };
        let file = table.files.iter().find(|file| file.received_date == removed).unwrap();
        let commit = format!(
            r#"{{"remove":{{"path":"{}","deletionTimestamp":0,"dataChange":true}}}}"#,
            file.path.replace('=', "%3D")
        );
        let path = format!("tables/{}/_delta_log/{:020}.json", kind.name(), table.version + 1);
        std::fs::write(fixture.dir.path().join(path), commit).unwrap();
        let faults = faults(&fixture).await;
        assert!(!faults.is_empty(), "{}", kind.name());
        assert!(
            faults.iter().any(|fault| fault.contains("missing") || fault.contains("receipt")),
            "{faults:#?}"
        );
    }
}

#[tokio::test]
async fn a_crash_around_the_removal_leaves_all_or_nothing_of_it() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    for day in 0..3 {
        request(&log, &format!("day-{day}")).await;
        fixture.clock.advance(DAY);
    }
    fixture.clock.advance(9 * DAY);
    // The tables one by one, with a crash behind each.
    for kind in TableKind::ALL {
        let tables = TableKind::ALL.map(|kind| Arc::clone(log.published.table(kind))).to_vec();
        let limit = |of: TableKind| (of.index() <= kind.index()).then_some(10 * DAY);
        let limits = Limits {
            events: limit(TableKind::Events),
            rejected: limit(TableKind::Rejected),
            receipts: limit(TableKind::Receipts),
            deliveries: None,
        };
        Remover::new(tables, log.clock.clone()).remove(&limits, &[]).await.unwrap();
        let mut crashed = after_a_crash(&fixture);
        crashed.clock = Clock::given(fixture.clock.now());
        assert_eq!(faults(&crashed).await, [""; 0], "{}", kind.name());
        let after = crashed.open().await;
        assert_eq!(read(&after, 0).await, [9, 10]);
        remove(&after, ALL, &[]).await;
        after.close().await.unwrap();
        assert_eq!(faults(&crashed).await, [""; 0], "{}", kind.name());
    }
}

#[tokio::test]
async fn removed_files_stay_for_queries_and_are_cleaned_away_later() {
    let fixture = Fixture::new();
    let log = fixture.open().await;
    request(&log, "a").await;
    let before = log.snapshot();
    fixture.clock.advance(30 * DAY);
    remove(&log, ALL, &[]).await;
    let view = &before.tables[TableKind::Events.index()];
    let file = &view.table.files[0];
    let mut rows = stored::Rows::open(&view.table, file, &["log_offset"], 0).await.unwrap();
    assert_eq!(rows.next().await.unwrap().unwrap().num_rows(), 2, "a query that runs goes on");

    let path = fixture.dir.path().join("tables/events").join(&file.path);
    let events = log.published.table(TableKind::Events);
    events.clean(Retention::default()).await.unwrap();
    assert!(path.exists());
    fixture.clock.advance(2 * HOUR);
    events.clean(Retention::default()).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn another_node_sees_the_hole_and_keeps_it_when_it_changes_columns() {
    use crate::log::table::promoted::{ColumnChange, PromotedType};
    let fixture = Fixture::new();
    let log = fixture.open().await;
    request(&log, "a").await;
    let store = store::Store::open(&fixture.config().store).await.unwrap();
    let other = Table::open_or_create(&store, TableKind::Events, fixture.clock.clone(), None).await.unwrap();
    fixture.clock.advance(30 * DAY);
    remove(&log, ALL, &[]).await;
    let pin = ColumnChange::Pin { key: "price".into(), kind: Some(PromotedType::Double) };
    other.change_columns(&pin).await.unwrap();
    let expected = holes(&log, TableKind::Events);
    assert_eq!(expected.len(), 1);
    assert_eq!(other.snapshot().holes.to_vec(), expected);
    log.refresh().await.unwrap();
    assert_eq!(holes(&log, TableKind::Events), expected);
    request(&log, "b").await;
    fixture.clock.advance(30 * DAY);
    remove(&log, ALL, &[]).await;
    let events = Arc::clone(&log.snapshot().tables[TableKind::Events.index()].table);
    assert_eq!((events.holes[0].rows, events.promoted.columns().len()), (4, 1));
}

/// One step of a random life.
#[derive(Clone, Debug)]
enum Step {
    Append { events: u8, rejected: u8 },
    Flush,
    Pass { hours: u16 },
    Compact,
    Remove { needed_back: Option<u8> },
    Checkpoint,
    Crash,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 0..3_u8).prop_map(|(events, rejected)| Step::Append { events, rejected }),
        3 => Just(Step::Flush),
        4 => (1..240_u16).prop_map(|hours| Step::Pass { hours }),
        2 => Just(Step::Compact),
        4 => proptest::option::of(0..30_u8).prop_map(|needed_back| Step::Remove { needed_back }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// Whatever comes: what is younger than the limit or needed is there, each event is read once and in
/// order, and the log verifies.
async fn live(steps: Vec<Step>) {
    let mut fixture = Fixture::new();
    let mut log = fixture.open().await;
    // Offset and time of receipt of each event, and how far events may be gone.
    let (mut events, mut names, mut gone_below) = (Vec::<(Offset, Micros)>::new(), 0, 0);
    for step in steps {
        match step {
            Step::Append { events: accepted, rejected: refused } => {
                let ids: Vec<String> = (0..accepted).map(|n| format!("{names}-{n}")).collect();
                names += 1;
                let mut batch = batch("web", &ids.iter().map(String::as_str).collect::<Vec<_>>());
                batch.received += u32::from(refused);
                (0..refused).for_each(|_| batch.push_rejected(&rejected()));
                let appended = log.append(batch).await.unwrap();
                let record =
                    |n: u8| (appended.offset + 1 + u64::from(n), appended.received_at + 1 + i64::from(n));
                events.extend((0..accepted).map(record));
            }
            Step::Flush => log.flush().await.unwrap(),
            Step::Pass { hours } => fixture.clock.advance(i64::from(hours) * HOUR),
            Step::Compact => {
                for kind in TableKind::ALL {
                    let table = log.published.table(kind);
                    while table.compact_once(Default::default(), None).await.unwrap().is_some() {}
                    table.clean(Retention::default()).await.unwrap();
                }
            }
            Step::Remove { needed_back } => {
                let end = log.status().end;
                let needs: Vec<_> =
                    needed_back.map(|back| need(&log, end.saturating_sub(back.into()))).into_iter().collect();
                remove(&log, ALL, &needs).await;
                let needed = needs.first().map_or(Offset::MAX, |need| need.offset);
                let is_due = |received_at: Micros| {
                    (received_at.div_euclid(DAY) + 1) * DAY + 10 * DAY <= fixture.clock.now()
                };
                let may_be_gone = events.iter().filter(|(offset, at)| *offset < needed && is_due(*at));
                gone_below = may_be_gone.map(|(offset, _)| offset + 1).fold(gone_below, Offset::max);
            }
            Step::Checkpoint => {
                for kind in TableKind::ALL {
                    log.published.table(kind).checkpoint().await.unwrap();
                }
            }
            Step::Crash => {
                let now = fixture.clock.now();
                let mut crashed = after_a_crash(&fixture);
                crashed.clock = Clock::given(now);
                log.abandon().await;
                fixture = crashed;
                log = fixture.open().await;
            }
            Step::Restart => {
                log.close().await.unwrap();
                let faults = faults(&fixture).await;
                assert!(faults.is_empty(), "{faults:#?}");
                log = fixture.open().await;
            }
        }
        let found = read(&log, 0).await;
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
        let all: Vec<Offset> = events.iter().map(|(offset, _)| *offset).collect();
        assert!(found.iter().all(|offset| all.contains(offset)));
        let kept: Vec<Offset> = all.into_iter().filter(|offset| *offset >= gone_below).collect();
        assert!(kept.iter().all(|offset| found.contains(offset)), "{found:?} lacks some of {kept:?}");
        let in_tables = offsets(&log, TableKind::Events).await;
        assert!(in_tables.iter().map(|&offset| offset as Offset).eq(found), "the tables and a reader agree");
    }
    log.close().await.unwrap();
    let faults = faults(&fixture).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

proptest! {
    // Each case syncs many files, so few are run; `tests/run --long` runs more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16, ..ProptestConfig::default() })]

    #[test]
    fn nothing_within_the_limit_is_lost_and_nothing_is_read_twice(
        steps in proptest::collection::vec(step(), 10..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live(steps));
    }
}
