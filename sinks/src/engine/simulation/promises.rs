//! What a lane promises, one promise after the other, each in a world made for it.

use super::plan::{Plan, Storm, StormKind};
use super::{Report, simulate};
use crate::engine::RetryProfile;
use pipeline::Micros;
use pipeline::clock::{HOUR, SECOND};
use pipeline::connection::WhenAmbiguous;
use pipeline::delivery::{Class, Outcome, Record};
use pipeline::log::Offset;

const PEOPLE: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// Runs a plan in which nothing may be wrong.
fn run(plan: Plan) -> Report {
    let report = run_whatever_happens(plan);
    assert!(report.problems.is_empty(), "{}", report.problems.join("\n"));
    report
}

/// Runs a plan, and keeps the lane's own records.
fn run_whatever_happens(plan: Plan) -> Report {
    let mut report = simulate(7, plan);
    report.records.retain(|record| record.lane == report.lane);
    report
}

impl Report {
    fn of(&self, outcome: Outcome) -> Vec<&Record> {
        self.records.iter().filter(|record| record.outcome == outcome).collect()
    }

    /// When an event was sent last.
    fn sent_at(&self, offset: Offset) -> Micros {
        let sent = self.requests.iter().filter(|(_, offsets)| offsets.contains(&offset));
        sent.map(|(at, _)| *at).max().expect("it was sent")
    }
}

#[test]
fn a_vendor_that_is_well_gets_every_event_once_and_in_full_requests() {
    let report = run(Plan::calm(&PEOPLE, 0));
    assert_eq!(report.requests.iter().map(|(_, offsets)| offsets.len()).collect::<Vec<_>>(), [5, 5]);
    assert_eq!(report.of(Outcome::Delivered).iter().map(|record| record.attempt).max(), Some(1));
}

#[test]
fn events_of_one_person_share_a_request_in_their_order() {
    let report = run(Plan::calm(&["a", "b", "a", "a", "b"], 0));
    let [(_, offsets)] = &report.requests[..] else { panic!("{:?}", report.requests) };
    assert!(offsets.iter().filter(|offset| [0, 2, 3].contains(*offset)).is_sorted(), "{offsets:?}");
    assert_eq!(offsets.len(), 5);
}

#[test]
fn six_hours_of_outage_lose_nothing_and_use_up_few_attempts() {
    for kind in [StormKind::Unavailable, StormKind::Timeout, StormKind::Dns, StormKind::Refused] {
        let mut plan = Plan::calm(&PEOPLE.repeat(20), 60 * SECOND);
        plan.storms.push(Storm { from: 600 * SECOND, until: 600 * SECOND + 6 * HOUR, kind });
        let report = run(plan);
        assert!(report.of(Outcome::Dead).is_empty());
        let most = report.records.iter().map(|record| record.attempt).max();
        assert!(most <= Some(12), "{kind:?}: an event had {most:?} attempts");
        let tried = report.requests.iter().filter(|(at, _)| (600 * SECOND..6 * HOUR).contains(at)).count();
        assert!(tried < 120, "{kind:?}: {tried} requests to a vendor that is down");
    }
}

/// Each attempt may have been taken, so the number of them counts in an outage, too; time does not.
#[test]
fn where_repeats_count_an_outage_uses_up_attempts_and_no_time() {
    let outage = |people: &[&'static str], retry| {
        let mut plan = Plan::calm(people, SECOND);
        plan.ambiguous = Some(WhenAmbiguous::Resend);
        plan.retry = retry;
        plan.storms.push(Storm { from: 0, until: 24 * HOUR, kind: StormKind::Timeout });
        run_whatever_happens(plan)
    };
    let stream = outage(&["a"], RetryProfile::Stream);
    assert!(stream.problems.is_empty(), "{}", stream.problems.join("\n"));
    assert_eq!(stream.of(Outcome::Delivered).len(), 1);
    let few = outage(&PEOPLE, RetryProfile::Few(3));
    let times = |offset| few.requests.iter().filter(|(_, offsets)| offsets.contains(&offset)).count();
    assert!((0..10).all(|offset| times(offset) == 3), "{:?}", few.requests);
}

#[test]
fn throttling_uses_up_no_attempt() {
    let mut plan = Plan::calm(&PEOPLE, SECOND);
    plan.storms.push(Storm { from: 0, until: 600 * SECOND, kind: StormKind::Throttled });
    let report = run(plan);
    assert!(report.of(Outcome::Retry).is_empty() && report.of(Outcome::Dead).is_empty());
    assert!(report.of(Outcome::Delivered).iter().all(|record| record.attempt == 1));
    assert!(report.requests.len() < 60, "{} requests", report.requests.len());
}

#[test]
fn behind_an_event_that_fails_wait_those_of_its_person_and_nobody_elses() {
    let mut plan = Plan::calm(&["a", "b", "a", "c", "a"], SECOND);
    plan.stuck = Some((0, 60 * SECOND));
    let report = run(plan);
    let last = report.sent_at(0);
    assert!(last >= 60 * SECOND);
    assert!(report.sent_at(2) > last && report.sent_at(4) > last);
    assert!(report.sent_at(1) < 2 * SECOND && report.sent_at(3) < 4 * SECOND);
    assert!(report.of(Outcome::Released).is_empty());
}

#[test]
fn an_event_that_keeps_its_person_back_for_half_an_hour_is_let_go_of_and_a_record_says_so() {
    let mut plan = Plan::calm(&["a", "a", "b", "a"], SECOND);
    plan.stuck = Some((0, 2 * HOUR));
    let report = run(plan);
    let [released] = &report.of(Outcome::Released)[..] else { panic!("{:?}", report.records) };
    assert_eq!(released.offsets, [0]);
    assert!(report.sent_at(1) > 1_500 * SECOND && report.sent_at(3) < 2 * HOUR);
    assert!(report.sent_at(0) >= 2 * HOUR);
}

#[test]
fn an_event_that_keeps_200_others_back_is_let_go_of() {
    let mut plan = Plan::calm(&["a"; 240], 0);
    plan.stuck = Some((0, 600 * SECOND));
    let report = run(plan);
    assert_eq!(report.of(Outcome::Released).len(), 1);
    assert!(report.sent_at(239) < 600 * SECOND, "at {}", report.sent_at(239));
}

#[test]
fn a_refused_request_is_halved_until_the_event_that_is_refused_is_alone() {
    let mut plan = Plan::calm(&PEOPLE, 0);
    plan.poison.insert(3);
    let report = run(plan);
    let [dead] = &report.of(Outcome::Dead)[..] else { panic!("{:?}", report.records) };
    assert_eq!((dead.offsets.as_slice(), dead.class), ([3].as_slice(), Some(Class::Validation)));
    let delivered: usize = report.of(Outcome::Delivered).iter().map(|record| record.offsets.len()).sum();
    assert_eq!(delivered, 9);
}

#[test]
fn dead_events_are_sent_again_when_somebody_asks() {
    let mut plan = Plan::calm(&PEOPLE, 0);
    plan.poison.extend([3, 4]);
    plan.revive = true;
    let report = run(plan);
    let revived: Vec<Offset> =
        report.of(Outcome::Revived).iter().flat_map(|record| record.offsets.clone()).collect();
    assert_eq!(revived, [3, 4]);
    let delivered: usize = report.of(Outcome::Delivered).iter().map(|record| record.offsets.len()).sum();
    assert_eq!(delivered, 10);
}

#[test]
fn a_credential_that_is_refused_holds_the_lane_and_loses_nothing() {
    let mut plan = Plan::calm(&PEOPLE, SECOND);
    plan.credential = Some((4 * SECOND, false));
    let report = run(plan);
    assert!(report.of(Outcome::Retry).is_empty() && report.of(Outcome::Dead).is_empty());
    assert!(report.of(Outcome::Delivered).iter().all(|record| record.attempt == 1));
}

#[test]
fn a_credential_that_is_too_old_is_renewed_and_the_request_repeated() {
    let mut plan = Plan::calm(&PEOPLE, SECOND);
    plan.credential = Some((4 * SECOND, true));
    let report = run(plan);
    assert!(report.of(Outcome::Retry).is_empty() && report.of(Outcome::Dead).is_empty());
    assert!(report.requests.last().is_some_and(|(at, _)| *at < 12 * SECOND), "nobody had to do anything");
}

#[test]
fn a_replay_ends_by_itself_when_everything_is_decided() {
    let mut plan = Plan::calm(&PEOPLE, 0);
    plan.replay = true;
    plan.stuck = Some((2, 30 * SECOND));
    let report = run(plan);
    assert_eq!(report.records.last().map(|record| record.cursor), Some(10));
}

#[test]
fn what_a_lost_answer_leaves_unclear_waits_for_a_person_or_is_sent_again() {
    for (ambiguous, again) in [(WhenAmbiguous::Hold, 0), (WhenAmbiguous::Resend, 1)] {
        let mut plan = Plan::calm(&["a", "b", "c"], 10 * SECOND);
        plan.ambiguous = Some(ambiguous);
        plan.storms.push(Storm { from: 0, until: SECOND, kind: StormKind::Timeout });
        let report = run(plan);
        let unclear = report.of(Outcome::Ambiguous);
        let [record] = &unclear[..] else { panic!("{:?}", report.records) };
        assert_eq!((record.offsets.as_slice(), record.class), ([0].as_slice(), Some(Class::Timeout)));
        assert_eq!(record.next_at.is_some(), again == 1);
        let sent = report.requests.iter().filter(|(_, offsets)| offsets.contains(&0)).count();
        assert_eq!(sent, 1 + again);
        let delivered: usize = report.of(Outcome::Delivered).iter().map(|record| record.offsets.len()).sum();
        assert_eq!(delivered, 2 + again);
    }
}

#[test]
fn a_clock_that_is_set_loses_nothing_and_draws_no_wait_out() {
    for jump in [HOUR, -HOUR] {
        let mut plan = Plan::calm(&PEOPLE, SECOND);
        plan.stuck = Some((3, 8 * SECOND));
        plan.jumps.push((4 * SECOND, jump));
        let report = run(plan);
        assert!(report.of(Outcome::Dead).is_empty());
        let last = report.requests.last().map(|(at, _)| *at);
        assert!(last < Some(60 * SECOND), "the last request left at {last:?}");
    }
}
