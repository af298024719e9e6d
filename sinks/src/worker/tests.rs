//! The worker against a scripted sink, with the events and the control store in memory. Time is
//! the test's own: a pause is recorded and over at once.

mod fakes;

use super::*;
use fakes::{Bench, event, ids};
use pipeline::clock::HOUR;
use proptest::prelude::*;
use tokio::runtime::Builder;

#[tokio::test]
async fn events_are_delivered_in_order_and_the_cursor_follows() {
    let bench = Bench::new((0..10).map(event).collect());
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(0..4), ids(4..8), ids(8..10)]);
    assert_eq!(bench.control.cursor(), Some(100), "the offset after the last");
    assert!(bench.waits().is_empty());
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_vendor_asked_and_sends_the_same_events() {
    let bench = Bench::new((0..6).map(event).collect());
    bench.sink.answer([
        Outcome::RateLimited { retry_after: Some(Duration::from_secs(7)) },
        Outcome::Unavailable { reason: "503".to_owned(), retry_after: Some(Duration::from_secs(9000)) },
        Outcome::TimedOut,
    ]);
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(0..4), ids(0..4), ids(0..4), ids(0..4), ids(4..6)]);
    let waits = bench.waits();
    assert_eq!(waits[..2], [Duration::from_secs(7), Duration::from_secs(3600)]);
    assert!(waits.len() == 3 && waits[2] <= Duration::from_secs(4), "{waits:?}");
}

#[tokio::test]
async fn an_unavailable_destination_is_never_given_up_and_loses_nothing() {
    let bench = Bench::new((0..6).map(event).collect());
    bench.sink.answer((0..500).map(|_| Outcome::Unavailable { reason: "down".into(), retry_after: None }));
    bench.run().await;
    assert_eq!(bench.waits().len(), 500);
    assert!(bench.clock.now() > fakes::START + 10 * HOUR, "an outage of many hours");
    assert_eq!(bench.sink.delivered(), ids(0..6));
    assert!(bench.control.dead().is_empty());
}

#[tokio::test]
async fn a_refused_credential_holds_the_destination_and_loses_nothing() {
    let bench = Bench::new((0..6).map(event).collect());
    bench.sink.answer((0..3).map(|_| Outcome::Unauthorized { status: 401 }));
    bench.run().await;
    assert_eq!(bench.waits(), [Retry::default().hold; 3]);
    assert_eq!(bench.sink.delivered(), ids(0..6));
    assert!(bench.control.dead().is_empty());
}

#[tokio::test]
async fn a_refused_batch_is_split_until_the_refused_event_is_found() {
    let bench = Bench::new((0..8).map(event).collect());
    bench.sink.refuse(&["m5"]);
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(0..4), ids(4..8), ids(4..6), ids(4..5), ids(5..6), ids(6..8)]);
    let dead = bench.control.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].offset, dead[0].message_id.as_str(), dead[0].status), (50, "m5", 400));
    assert_eq!((dead[0].reason.as_str(), dead[0].destination.as_str()), ("`m5` is bad", "shop"));
    assert_eq!(bench.control.cursor(), Some(80));
    assert!(bench.waits().is_empty(), "a refusal needs no pause");
}

#[tokio::test]
async fn an_event_over_the_vendors_limit_is_kept_aside_without_asking() {
    let mut events: Vec<_> = (0..4).map(event).collect();
    events[1].record.message_id = "x".repeat(200).into();
    let bench = Bench::new(events);
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(0..1), ids(2..4)]);
    assert_eq!(bench.control.dead()[0].status, 413);
}

#[tokio::test]
async fn a_restart_goes_on_at_the_cursor_and_repeats_only_the_batch_that_was_not_settled() {
    let bench = Bench::new((0..12).map(event).collect());
    bench.control.fail_settle_from(2);
    bench.stop_at_pause();
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(0..4), ids(4..8)], "nothing newer goes out before the cursor moved");
    bench.control.fail_settle_from(usize::MAX);
    bench.run().await;
    assert_eq!(bench.sink.sent()[2..], [ids(4..8), ids(8..12)]);
}

#[tokio::test]
async fn events_not_meant_for_the_destination_are_passed_over() {
    let mut events: Vec<_> = (0..5).map(event).collect();
    events[0].test = true;
    events[2].record.integrations = Some(r#"{"All":false}"#.into());
    events[3].record.integrations = Some(r#"{"Vendor":false}"#.into());
    events[4].record.integrations = Some(r#"{"shop":false}"#.into());
    let bench = Bench::new(events);
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(1..2)]);
    assert_eq!(bench.control.cursor(), Some(50));
}

#[tokio::test]
async fn stopping_ends_a_pause_at_once() {
    let bench = Bench::new((0..4).map(event).collect());
    bench.sink.answer([Outcome::TimedOut]);
    bench.stop_at_pause();
    bench.run().await;
    assert_eq!((bench.sink.sent().len(), bench.control.cursor()), (1, None));
}

#[tokio::test]
async fn stopping_leaves_a_request_that_hangs_and_the_next_start_repeats_it() {
    let bench = Bench::new((0..6).map(event).collect());
    bench.sink.hang_once();
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = bench.worker().deliver((0..4).map(event).collect(), 0, 40, &stop).await;
    assert!(stopped.is_break());
    assert_eq!((bench.waits(), bench.control.cursor()), (vec![GRACE], None));
    bench.run().await;
    assert_eq!(bench.sink.sent(), [ids(0..4), ids(0..4), ids(4..6)]);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_waited_for_and_a_damaged_one_stops_the_worker() {
    let bench = Bench::new((0..6).map(event).collect());
    bench.fail_read(LogError::store("a read", std::io::Error::other("disk")));
    bench.run().await;
    assert_eq!((bench.sink.delivered(), bench.waits().len()), (ids(0..6), 1));

    let bench = Bench::new((0..6).map(event).collect());
    bench.fail_read(LogError::Damaged("a file is missing".into()));
    let error = bench.worker().run(CancellationToken::new()).await.expect_err("it stops");
    assert_eq!(error.to_string(), "delivery to `shop` stopped at offset 0");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Delivered),
        1 => Just(Outcome::TimedOut),
        1 => Just(Outcome::Unauthorized { status: 403 }),
        1 => Just(Outcome::RateLimited { retry_after: Some(Duration::from_secs(1)) }),
        1 => Just(Outcome::Unavailable { reason: String::new(), retry_after: None }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_event_is_delivered_or_kept_aside_whatever_fails_and_however_often_it_restarts(
        count in 1..60_usize,
        refused in proptest::collection::btree_set(0..60_usize, 0..5),
        outcomes in proptest::collection::vec(outcome(), 0..60),
        stops in proptest::collection::vec(1..4_usize, 0..6),
    ) {
        let bench = Bench::new((0..count).map(event).collect());
        let refused: Vec<String> = refused.iter().map(|i| format!("m{i}")).collect();
        bench.sink.refuse(&refused.iter().map(String::as_str).collect::<Vec<_>>());
        bench.sink.answer(outcomes);
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        for after in stops {
            bench.stop_at_pauses(after);
            runtime.block_on(bench.run());
        }
        bench.stop_at_pauses(usize::MAX);
        runtime.block_on(bench.run());

        let (kept, lost): (Vec<String>, Vec<String>) =
            ids(0..count).into_iter().partition(|id| !refused.contains(id));
        prop_assert_eq!(bench.sink.delivered(), kept, "in order of their first arrival");
        let dead: Vec<String> = bench.control.dead().into_iter().map(|dead| dead.message_id).collect();
        prop_assert_eq!(dead, lost);
        prop_assert_eq!(bench.control.cursor(), Some(count as u64 * 10));
    }
}
