//! `durability = "object"`: a machine is lost, disk and all, and another takes its partition over.

use crate::crashes::{HOLES, check_accounts, run_until};
use crate::harness::{Bucket, Server, Start, count, flowstate_on, until};
use crate::http::Request;
use crate::load::{Sender, check_stored_once, event, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::path::Path;

/// Where the tables and the objects lie.
pub(crate) enum Place<'a> {
    Directory(tempfile::TempDir),
    /// Below a prefix, which the test has for itself.
    Bucket(&'a dyn Bucket, &'static str),
}

impl Place<'_> {
    /// A server on `dir` that acknowledges what the store has.
    fn start(&self, dir: &Path) -> Start {
        let start = Start::on(dir).set("DURABILITY", "object");
        match self {
            Self::Directory(shared) => start.set("STORE", shared.path().to_str().unwrap()),
            Self::Bucket(bucket, prefix) => start.in_bucket(*bucket, prefix),
        }
    }

    /// Runs `flowstate` on a machine that has nothing but access to the store; returns its results, and
    /// where it failed what it said, too.
    fn flowstate(&self, words: &[&str]) -> (Option<i32>, String) {
        let elsewhere = tempfile::tempdir().unwrap();
        let output = match self {
            Self::Directory(shared) => {
                flowstate_on(elsewhere.path(), shared.path().to_str().unwrap(), &[], words)
            }
            Self::Bucket(bucket, prefix) => {
                crate::harness::flowstate_on_bucket(elsewhere.path(), *bucket, prefix, words)
            }
        };
        let [results, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), if output.status.success() { results } else { results + &said })
    }

    /// The partitions that `flowstate adopt` calls so.
    fn partitions(&self, state: &str) -> Vec<String> {
        let (code, said) = self.flowstate(&["adopt"]);
        assert_eq!(code, Some(0), "{said}");
        let words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = words.filter(|words| words.len() == 7 && words[1] == state);
        found.map(|words| words[0].to_owned()).collect()
    }

    fn adopt(&self, partition: &str) {
        let (code, said) = self.flowstate(&["adopt", partition, "--now"]);
        assert_eq!(code, Some(0), "{said}");
    }

    fn verify(&self) {
        let (code, said) = self.flowstate(&["verify"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn acknowledged_events_survive_machines_that_are_lost_with_a_directory() {
    let rounds = count("FLOWSTATE_KILL_ROUNDS", 50).div_ceil(5);
    machines_are_lost(&Place::Directory(tempfile::tempdir().unwrap()), rounds);
}

#[test]
fn acknowledged_events_survive_machines_that_are_lost_with_a_bucket() {
    let rounds = count("FLOWSTATE_KILL_ROUNDS", 50).div_ceil(10);
    machines_are_lost(&Place::Bucket(&s3::Server::start().unwrap(), "log"), rounds);
}

/// Rounds of `kill -9` after which the data directory is gone.
pub(crate) fn machines_are_lost(place: &Place, rounds: usize) {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut senders = Sender::team(seed, 4);
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let age = ["0.05", "0.3", "3600"][rng.random_range(0..3)];
        let server = place.start(dir.path()).set("COMMIT_AGE_S", age).set("COMMIT_BYTES", "20000").run();
        run_until(server, &mut senders, rng.random_range(1..600), Server::kill);
        drop(dir);
        let open = place.partitions("open");
        assert_eq!(open.len(), 1, "round {round}");
        place.adopt(&open[0]);
        if rng.random_bool(0.3) {
            place.adopt(&open[0]);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let server = place.start(dir.path()).run();
    check_stored_once(&server, &mut senders);
    assert_eq!(server.number(HOLES), 0, "offsets are not dense");
    check_accounts(&server);
    assert!(server.stop().success());
    assert_eq!(place.partitions("adopted").len(), rounds);
    place.verify();
}

#[test]
fn of_three_nodes_one_is_lost_and_adopted_and_comes_back() {
    let bucket = s3::Server::start().unwrap();
    let place = Place::Bucket(&bucket, "log");
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut senders = Sender::team(seed(), 3);
    let mut nodes: Vec<_> = dirs.iter().map(|dir| place.start(dir.path()).run()).collect();
    for (node, sender) in nodes.iter().zip(&mut senders) {
        sender.send(node, 20);
    }
    let lost = nodes.pop().unwrap();
    let partition = lost.partition();
    lost.signal(rustix::process::Signal::STOP);
    let (code, said) = place.flowstate(&["adopt", &partition]);
    assert_eq!(code, Some(1), "it was written to just now: {said}");
    assert!(said.contains("--now"), "{said}");
    place.adopt(&partition);
    for (node, sender) in nodes.iter().zip(&mut senders) {
        sender.send(node, 20);
    }
    // It was not lost, only cut off: it must not acknowledge anything any more.
    lost.signal(rustix::process::Signal::CONT);
    let refused = lost.batch(&[event("too-late-1")]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("adopted"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let ready = lost.send(&Request::get("/ready"));
    assert_eq!((ready.status, &ready.json()["status"]), (503, &"failed".into()));
    lost.kill();
    // Started again on its old disk, it begins a new partition.
    let back = place.start(dirs[2].path()).run();
    assert_ne!(back.partition(), partition);
    nodes.push(back);
    for (node, sender) in nodes.iter().zip(&mut senders) {
        sender.send(node, 20);
    }
    for node in nodes {
        assert!(node.stop().success());
    }
    let acknowledged = senders.iter().flat_map(|sender| &sender.acknowledged);
    let once: BTreeSet<String> = acknowledged.map(|id| format!("{id},1")).collect();
    let copies = "SELECT message_id, count(*) AS copies FROM events GROUP BY message_id";
    let (code, said) = place.flowstate(&["sql", copies, "--format", "csv", "--log-level", "error"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>(), once);
    let (_, holes) = place.flowstate(&["sql", HOLES, "--format", "csv", "--log-level", "error"]);
    assert_eq!(holes.lines().last(), Some("0"), "offsets are not dense: {holes}");
    place.verify();
}

#[test]
fn a_bucket_that_is_down_refuses_events_and_loses_none() {
    let bucket = s3::Server::start().unwrap();
    let begin = || bucket.faults(|faults| faults.slow_down_every = 1);
    let end = || bucket.faults(|faults| *faults = s3::Faults::default());
    outage_refuses_events_and_loses_none(&Place::Bucket(&bucket, "log"), begin, end);
}

/// What cannot be an object is not acknowledged, and once the store is back the same event is, once.
pub(crate) fn outage_refuses_events_and_loses_none(place: &Place, begin: impl Fn(), end: impl Fn()) {
    let dir = tempfile::tempdir().unwrap();
    let server = place.start(dir.path()).run();
    assert_eq!(server.batch(&[event("before-1")]).status, 200);
    begin();
    let refused = server.batch(&[event("during-2")]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["code"], "storage_unavailable");
    assert!(refused.header("retry-after").is_some());
    let ready = server.send(&Request::get("/ready"));
    assert_eq!((ready.status, &ready.json()["status"]), (503, &"waiting".into()));
    end();
    until("the store to be used again", || {
        (server.batch(&[event("during-2"), event("after-3")]).status == 200).then_some(())
    });
    assert_eq!(server.number("SELECT count(*) FROM events"), 3);
    until("objects to be removed", || (server.metric("flowstate_log_objects") == 1.0).then_some(()));
    assert!(server.stop().success());
    place.verify();
}
