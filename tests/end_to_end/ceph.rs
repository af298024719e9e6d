//! The promises on Ceph's object gateway, an S3 that shares no code with the one of `tests/s3`.

mod cluster;

use crate::adoption::{Place, machines_are_lost, outage_refuses_events_and_loses_none};
use crate::buckets::{
    holds_the_log_for_anyone, kills_lose_and_repeat_nothing, outage_stops_no_event, three_nodes_share_tables,
    verify, wrong_settings_are_refused_with_what_to_do,
};
use crate::crashes::{HOLES, check_accounts, run_until};
use crate::harness::{Start, count, skip, until};
use crate::load::{Sender, check_stored_once, seed};
use cluster::{Gateway, is_installed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Runs a test on a gateway of its own, where there is Ceph.
fn on_ceph(test: &str, run: impl FnOnce(Gateway)) {
    if !is_installed() {
        return skip(test, "it needs Ceph, which `tests/run` could not install");
    }
    run(Gateway::start());
}

fn rounds(share: usize) -> usize {
    count("FLOWSTATE_KILL_ROUNDS", 50).div_ceil(share)
}

#[test]
fn ceph_holds_the_log_and_anyone_can_read_it_there() {
    on_ceph("ceph_holds_the_log_and_anyone_can_read_it_there", |ceph| {
        holds_the_log_for_anyone(&ceph, "ceph/log");
    });
}

#[test]
fn acknowledged_events_survive_kill_9_with_ceph() {
    on_ceph("acknowledged_events_survive_kill_9_with_ceph", |ceph| {
        kills_lose_and_repeat_nothing(&ceph, "killed", rounds(10), |_| {}, || {});
    });
}

#[test]
fn three_nodes_append_to_the_same_tables_on_ceph() {
    on_ceph("three_nodes_append_to_the_same_tables_on_ceph", |ceph| {
        three_nodes_share_tables(&ceph, rounds(20));
    });
}

#[test]
fn a_gateway_that_is_killed_stops_no_event() {
    on_ceph("a_gateway_that_is_killed_stops_no_event", |ceph| {
        outage_stops_no_event(&ceph, "outage", || ceph.kill(), || ceph.restart());
    });
}

#[test]
fn acknowledged_events_survive_machines_that_are_lost_with_ceph() {
    on_ceph("acknowledged_events_survive_machines_that_are_lost_with_ceph", |ceph| {
        machines_are_lost(&Place::Bucket(&ceph, "lost"), rounds(20));
    });
}

/// Each kill leaves requests without an answer, commits among them.
#[test]
fn gateways_that_are_killed_under_load_lose_and_repeat_nothing() {
    on_ceph("gateways_that_are_killed_under_load_lose_and_repeat_nothing", |ceph| {
        let seed = seed();
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut senders = Sender::team(seed, 2);
        let start = || Start::on(dir.path()).in_bucket(&ceph, "interrupted").set("COMMIT_AGE_S", "0.02");
        run_until(start().run(), &mut senders, 1, |server| {
            let committed = || server.metric("flowstate_log_committed_offset");
            for _ in 0..rounds(10) {
                let before = committed();
                until("a commit", || (committed() > before).then_some(()));
                std::thread::park_timeout(Duration::from_micros(rng.random_range(0..200_000)));
                ceph.kill();
                ceph.restart();
            }
            server.kill();
        });
        let server = start().run();
        check_stored_once(&server, &mut senders);
        assert_eq!(server.number(HOLES), 0, "offsets are not dense");
        check_accounts(&server);
        assert!(server.stop().success());
        verify(dir.path(), &ceph, "interrupted");
    });
}

#[test]
fn a_gateway_that_is_killed_refuses_what_is_to_be_an_object_and_loses_none() {
    on_ceph("a_gateway_that_is_killed_refuses_what_is_to_be_an_object_and_loses_none", |ceph| {
        outage_refuses_events_and_loses_none(
            &Place::Bucket(&ceph, "refused"),
            || ceph.kill(),
            || ceph.restart(),
        );
    });
}

#[test]
fn wrong_settings_for_ceph_are_refused_with_what_to_do() {
    on_ceph("wrong_settings_for_ceph_are_refused_with_what_to_do", |ceph| {
        wrong_settings_are_refused_with_what_to_do(&ceph);
    });
}
