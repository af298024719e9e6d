use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const KEPT: i64 = 30;

fn table(kind: TableKind, files: Vec<DataFile>) -> Arc<TableSnapshot> {
    Arc::new(TableSnapshot {
        kind,
        version: 1,
        root: url::Url::parse("file:///tables/").unwrap(),
        store: Arc::new(object_store::memory::InMemory::new()),
        files: Arc::new(files),
        committed: HashMap::from(["a", "b"].map(|name| (PartitionId(name.into()), 1_000))),
        promoted: Arc::default(),
        holes: Arc::default(),
    })
}

/// A file of a day with ten offsets, from `first` on.
fn file(partition: &str, day: i32, first: Offset) -> DataFile {
    DataFile {
        path: format!("{partition}-{first}"),
        bytes: 100,
        rows: 10,
        received_date: day,
        partition: PartitionId(partition.into()),
        offsets: (first, first + 9),
        promoted: Arc::default(),
        stats: "{}".into(),
    }
}

fn need(partition: &str, offset: Offset, passed_over: Option<&str>) -> Need {
    let partitions = Partitions::One(PartitionId(partition.into()));
    let passed_over = passed_over.map(Into::into);
    Need { partitions, offset, from: None, by: "destination `x`".into(), passed_over }
}

/// What a replay needs of the partitions that it has not come to: all but these.
fn to_come(come_to: &[&str], from: Option<Micros>, passed_over: Option<&str>) -> Need {
    let come_to = come_to.iter().map(|&name| PartitionId(name.into())).collect();
    let passed_over = passed_over.map(Into::into);
    Need { partitions: Partitions::AllBut(come_to), offset: 0, from, by: "replay `y`".into(), passed_over }
}

fn limits() -> Limits {
    let limit = Some(KEPT * DAY);
    Limits { events: limit, rejected: limit, receipts: limit, deliveries: limit }
}

/// Table, partition, files and whether they wait.
fn outline(due: &[Due]) -> Vec<(TableKind, &str, usize, bool)> {
    due.iter().map(|due| (due.table, &*due.partition.0, due.files.len(), !due.waits_for.is_empty())).collect()
}

fn at(day: i64) -> Micros {
    day * DAY
}

#[test]
fn a_day_is_due_once_its_last_moment_is_older_than_the_limit() {
    let tables = [table(TableKind::Events, vec![file("a", 100, 0), file("a", 101, 20)])];
    let due = |now| due(&tables, &limits(), &[], now);
    assert_eq!(due(at(101 + KEPT) - 1), []);
    assert_eq!(outline(&due(at(101 + KEPT))), [(TableKind::Events, "a", 1, false)]);
    let both = due(at(102 + KEPT));
    assert_eq!(outline(&both), [(TableKind::Events, "a", 2, false)]);
    assert_eq!(
        (both[0].days, both[0].offsets, both[0].rows(), both[0].bytes()),
        ((100, 101), (0, 29), 20, 200)
    );
    assert_eq!(super::due(&tables, &Limits::default(), &[], at(1_000_000)), []);
}

#[test]
fn events_wait_by_whole_days_for_those_who_need_them_and_tell_who() {
    let files = vec![
        file("a", 100, 0),
        file("a", 101, 20),
        file("a", 101, 40),
        file("a", 102, 60),
        file("b", 100, 0),
    ];
    let tables = [table(TableKind::Events, files)];
    let now = at(200);
    let waiting = due(&tables, &limits(), &[need("a", 45, None)], now);
    let expected = [
        (TableKind::Events, "a", 1, false),
        (TableKind::Events, "a", 3, true),
        (TableKind::Events, "b", 1, false),
    ];
    assert_eq!(
        outline(&waiting),
        expected,
        "the day of the offset waits as a whole, other partitions do not"
    );
    assert_eq!(waiting[1].waits_for, ["destination `x`"]);
    assert_eq!(
        outline(&due(&tables, &limits(), &[need("a", 70, None)], now))[0],
        (TableKind::Events, "a", 4, false)
    );

    let missed = due(&tables, &limits(), &[need("a", 45, Some("it is paused"))], now);
    assert_eq!(outline(&missed), [(TableKind::Events, "a", 4, false), (TableKind::Events, "b", 1, false)]);
    assert_eq!(missed[0].missed_by, ["destination `x`: it is paused"]);
    assert_eq!(missed[1].missed_by, [""; 0]);
}

#[test]
fn a_replay_keeps_what_it_has_not_come_to_and_no_more_than_it_has_left_where_it_was() {
    let files = vec![file("a", 100, 0), file("a", 101, 20), file("b", 100, 0), file("b", 101, 20)];
    let tables = [table(TableKind::Events, files)];
    let due = |needs: &[Need]| due(&tables, &limits(), needs, at(200));
    let all = |waits: bool| [(TableKind::Events, "a", 2, waits), (TableKind::Events, "b", 2, waits)];
    let none_opened = due(&[to_come(&[], None, None)]);
    assert_eq!(outline(&none_opened), all(true));
    assert_eq!(none_opened[1].waits_for, ["replay `y`"]);

    let place = Need { by: "replay `y`".into(), ..need("a", 30, None) };
    let expected = [(TableKind::Events, "a", 2, false), (TableKind::Events, "b", 2, true)];
    let needs = [place, to_come(&["a"], None, None)];
    assert_eq!(outline(&due(&needs)), expected, "it is through with `a`");
    let of_lost_server = needs[0].clone();
    let restored = [of_lost_server, to_come(&[], None, None)];
    assert_eq!(outline(&due(&restored)), all(true), "a replay of the same id that has yet to come to `a`");

    let part = |due: &Due| (due.files.len(), due.waits_for.is_empty());
    let from = due(&[to_come(&[], Some(at(101)), None)]);
    let halves: Vec<_> = from.iter().map(part).collect();
    assert_eq!(halves, [(1, true), (1, false), (1, true), (1, false)], "days before its range may go");
    assert_eq!(outline(&due(&[to_come(&[], Some(at(102)), None)])), all(false));

    let missed = due(&[to_come(&[], Some(at(101)), Some("it is paused"))]);
    assert_eq!(outline(&missed), all(false));
    assert_eq!(missed[1].missed_by, ["replay `y`: it is paused"]);
    assert_eq!(due(&[to_come(&[], Some(at(102)), Some("it is paused"))])[0].missed_by, [""; 0]);
}

#[test]
fn receipts_stay_for_a_day_longer_than_what_they_account_for() {
    let receipts =
        || table(TableKind::Receipts, vec![file("a", 100, 0), file("a", 101, 100), file("a", 102, 200)]);
    let goes = |events: Vec<DataFile>, rejected: Vec<DataFile>| {
        let tables = [table(TableKind::Events, events), table(TableKind::Rejected, rejected), receipts()];
        let due = due(&tables, &Limits { events: None, rejected: None, ..limits() }, &[], at(200));
        due.iter().filter(|due| due.waits_for.is_empty()).map(|due| due.files.len()).sum::<usize>()
    };
    assert_eq!(goes(vec![], vec![]), 3);
    assert_eq!(goes(vec![file("a", 100, 1)], vec![]), 0);
    assert_eq!(goes(vec![file("a", 102, 201)], vec![]), 1, "a request of day 101 may reach into day 102");
    assert_eq!(goes(vec![file("a", 103, 301)], vec![file("a", 102, 220)]), 1);
    assert_eq!(goes(vec![file("b", 90, 0)], vec![]), 3, "other partitions account for themselves");
}

#[tokio::test]
async fn nodes_tell_each_other_what_they_need_and_one_that_is_gone_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&url::Url::from_directory_path(dir.path()).unwrap().into()).await.unwrap();
    let clock = crate::Clock::given(at(100));
    let mut nodes = ["a", "b"].map(|name| Notices::new(&store, PartitionId(name.into()), clock.clone()));
    assert_eq!(nodes[0].of_others().await.unwrap(), []);
    let needs = [need("b", 7, None), need("b", 3, Some("it is paused")), to_come(&["a", "c"], Some(9), None)];
    nodes[0].tell(&[need("a", 5, None)]).await.unwrap();
    nodes[1].tell(&[need("b", 1, None)]).await.unwrap();
    nodes[1].tell(&needs).await.unwrap();
    assert_eq!(nodes[0].of_others().await.unwrap(), needs);
    assert_eq!(nodes[1].of_others().await.unwrap(), [need("a", 5, None)]);
    let mut all = Notices::read(&store, None, clock.now()).await.unwrap();
    all.sort_by_key(|need| need.offset);
    assert_eq!(all, [needs[2].clone(), needs[1].clone(), need("a", 5, None), needs[0].clone()]);

    clock.advance(6 * DAY);
    nodes[1].tell(&needs).await.unwrap();
    clock.advance(2 * DAY);
    assert_eq!(nodes[1].of_others().await.unwrap(), [], "it has not been heard of for a week");
    assert_eq!(nodes[0].of_others().await.unwrap(), needs);

    let path = dir.path().join("_retention/b.json");
    std::fs::write(path, "{").unwrap();
    assert!(nodes[0].of_others().await.is_err(), "nobody knows what it needs");
}

proptest! {
    /// Whatever is there and needed: what goes is due, nobody needs it, and it is a prefix by whole days.
    #[test]
    fn only_what_is_due_and_needed_by_nobody_goes(
        mut days in proptest::collection::vec(0..40_i32, 1..40),
        needed in proptest::option::of(0..2_000_u64),
        replayed_from in proptest::option::of(0..40_i64),
        now in 0..90_i64,
    ) {
        days.sort_unstable();
        let files: Vec<_> = days.iter().enumerate().map(|(n, &day)| file("a", day, n as u64 * 50)).collect();
        let tables = [table(TableKind::Events, files.clone())];
        let replay = replayed_from.map(|day| to_come(&[], Some(at(day)), None));
        let needs: Vec<_> = needed.map(|offset| need("a", offset, None)).into_iter().chain(replay).collect();
        let due = due(&tables, &limits(), &needs, at(now));
        let goes: Vec<_> = due.iter().filter(|due| due.waits_for.is_empty()).flat_map(|due| &due.files).collect();
        for file in &goes {
            prop_assert!(i64::from(file.received_date) + 1 + KEPT <= now);
            prop_assert!(needed.is_none_or(|offset| file.offsets.1 < offset));
            prop_assert!(replayed_from.is_none_or(|day| i64::from(file.received_date) < day));
        }
        prop_assert!(goes.iter().map(|file| &file.path).eq(files[..goes.len()].iter().map(|file| &file.path)));
        if let (Some(last), Some(next)) = (goes.last(), files.get(goes.len())) {
            prop_assert!(last.received_date < next.received_date);
        }
        let all = due.iter().map(|due| due.files.len()).sum::<usize>();
        prop_assert_eq!(all, days.iter().filter(|&&day| i64::from(day) + 1 + KEPT <= now).count());
    }
}
