//! The promises on Ceph's object gateway, an S3 that shares no code with the one of `tests/s3`.

mod cluster;

use crate::adoption::{Place, machines_are_lost};
use crate::buckets::{
    holds_the_log_for_anyone, kills_lose_and_repeat_nothing, outage_stops_no_event, three_nodes_share_tables,
};
use crate::harness::{count, skip};
use cluster::{Gateway, is_installed};

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
        machines_are_lost(&Place::Bucket(&ceph), rounds(20));
    });
}
