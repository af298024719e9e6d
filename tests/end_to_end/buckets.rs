//! Tables in a bucket: the same promises, and what a bucket can do to them.

use crate::crashes::{HOLES, check_accounts, run_until};
use crate::harness::{Bucket, Server, Start, count, flowstate_on_bucket, until};
use crate::load::{Sender, check_stored_once, event, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use s3::Operation;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_bucket_holds_the_log_and_anyone_can_read_it_there() {
    holds_the_log_for_anyone(&s3::Server::start().unwrap(), "a/prefix");
}

/// Events come in and are read, by a server, after restarts, after a compaction, and without a server.
pub(crate) fn holds_the_log_for_anyone(bucket: &dyn Bucket, prefix: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed(), 2);
    let server = Start::on(dir.path()).in_bucket(bucket, prefix).run();
    senders[0].send(&server, 30);
    check_stored_once(&server, &mut senders[..1]);
    assert!(server.stop().success());
    assert!(!dir.path().join("tables").exists(), "nothing of the tables lies on the disk");
    verify(dir.path(), bucket, prefix);

    // Another machine has no data directory; the bucket alone is enough to read.
    let elsewhere = tempfile::tempdir().unwrap();
    let answer = flowstate_on_bucket(
        elsewhere.path(),
        bucket,
        prefix,
        &["sql", "SELECT count(*) FROM events", "--format", "csv"],
    );
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let stored = said.lines().last().and_then(|line| line.parse::<usize>().ok());
    assert_eq!(stored, Some(senders[0].acknowledged.len()), "{said}");

    let server = Start::on(dir.path()).in_bucket(bucket, prefix).set("COMMIT_AGE_S", "0.02").run();
    until("a compaction", || {
        senders[1].send(&server, 1);
        (server.metric("flowstate_log_compactions_total") > 0.0).then_some(())
    });
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
    assert!(server.stop().success());
    verify(dir.path(), bucket, prefix);
}

#[test]
fn acknowledged_events_survive_kill_9_with_a_bucket_that_fails() {
    let bucket = s3::Server::start().unwrap();
    let disturb = |rng: &mut StdRng| {
        bucket.faults(|faults| {
            faults.slow_down_every = rng.random_range(5..12);
            faults.lose_answer_every = rng.random_range(3..8);
            faults.latency = Duration::from_millis(rng.random_range(0..5));
        });
    };
    let calm = || bucket.faults(|faults| *faults = s3::Faults::default());
    let rounds = count("FLOWSTATE_KILL_ROUNDS", 50).div_ceil(5);
    kills_lose_and_repeat_nothing(&bucket, "log", rounds, disturb, calm);
}

/// Rounds of `kill -9` under load. `disturb` is called when a server has started, and `calm` when it is gone.
pub(crate) fn kills_lose_and_repeat_nothing(
    bucket: &dyn Bucket,
    prefix: &str,
    rounds: usize,
    disturb: impl Fn(&mut StdRng),
    calm: impl Fn(),
) {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed, 4);
    for round in 0..rounds {
        let server = Start::on(dir.path())
            .in_bucket(bucket, prefix)
            .set("COMMIT_AGE_S", "0.05")
            .set("COMMIT_BYTES", "20000")
            .run();
        disturb(&mut rng);
        let moment = rng.random_range(1..1_500_u64);
        run_until(server, &mut senders, moment, Server::kill);
        calm();
        eprintln!("round {} of {rounds}", round + 1);
    }
    let server = Start::on(dir.path()).in_bucket(bucket, prefix).run();
    check_stored_once(&server, &mut senders);
    assert_eq!(server.number(HOLES), 0, "offsets are not dense");
    check_accounts(&server);
    assert!(server.stop().success());
    verify(dir.path(), bucket, prefix);
}

#[test]
fn an_outage_of_the_bucket_stops_no_event() {
    let bucket = s3::Server::start().unwrap();
    let begin = || bucket.faults(|faults| faults.outage = true);
    let end = || bucket.faults(|faults| faults.outage = false);
    outage_stops_no_event(&bucket, "log", begin, end);
}

/// Events are acknowledged while the store is away, and committed when it is back.
pub(crate) fn outage_stops_no_event(bucket: &dyn Bucket, prefix: &str, begin: impl Fn(), end: impl Fn()) {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).in_bucket(bucket, prefix).run();
    assert_eq!(server.batch(&[event("before-1")]).status, 200);
    begin();
    for number in 1..=20 {
        assert_eq!(server.batch(&[event(&format!("meanwhile-{number}"))]).status, 200, "{}", server.said());
    }
    let told = until("the outage to be told", || {
        let ready = server.send(&crate::http::Request::get("/ready")).json();
        ready["commit_error"].as_str().map(str::to_owned)
    });
    assert!(told.contains("bucket `flowstate` cannot be"), "{told}");
    end();
    until("the commits to go on", || {
        let ready = server.send(&crate::http::Request::get("/ready")).json();
        ready["commit_error"].is_null().then_some(())
    });
    assert_eq!(server.number("SELECT count(*) FROM events"), 21);
    assert!(server.stop().success());
    verify(dir.path(), bucket, prefix);
}

#[test]
fn a_bucket_that_lies_or_denies_is_refused_with_what_to_do() {
    let bucket = s3::Server::start().unwrap();
    bucket.faults(|faults| faults.lies = true);
    let said = refused(&bucket, |start| start);
    assert!(said.contains("cannot hold the log") && said.contains("If-None-Match"), "{said}");
    bucket.faults(|faults| faults.lies = false);

    for (operation, permission) in [
        (Operation::Put, "s3:PutObject on arn:aws:s3:::flowstate/log/*"),
        (Operation::Get, "s3:GetObject on arn:aws:s3:::flowstate/log/*"),
        (Operation::List, "s3:ListBucket on arn:aws:s3:::flowstate"),
        (Operation::Delete, "s3:DeleteObject on arn:aws:s3:::flowstate/log/*"),
    ] {
        bucket.faults(|faults| faults.denied = [operation].into());
        let said = refused(&bucket, |start| start);
        assert!(said.contains(&format!("grant {permission}")), "{operation:?}: {said}");
    }
    bucket.faults(|faults| faults.denied.clear());
    wrong_settings_are_refused_with_what_to_do(&bucket);
}

/// What the start says when it is refused; `change` is what is wrong about it.
fn refused(bucket: &dyn Bucket, change: fn(Start) -> Start) -> String {
    let dir = tempfile::tempdir().unwrap();
    let start = change(Start::on(dir.path()).in_bucket(bucket, "log"));
    let (status, said) = start.try_run().err().expect("it does not start");
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

/// Keys, buckets and addresses that are not the bucket's.
pub(crate) fn wrong_settings_are_refused_with_what_to_do(bucket: &dyn Bucket) {
    let said = refused(bucket, |start| start.variable("AWS_SECRET_ACCESS_KEY", "wrong"));
    assert!(said.contains("check AWS_SECRET_ACCESS_KEY"), "{said}");
    let said = refused(bucket, |start| start.variable("AWS_ACCESS_KEY_ID", "unknown"));
    assert!(said.contains("check AWS_ACCESS_KEY_ID"), "{said}");
    let said = refused(bucket, |start| start.set("STORE", "s3://other/log"));
    assert!(said.contains("there is no such bucket"), "{said}");
    let said = refused(bucket, |start| start.variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1"));
    assert!(said.contains("http://127.0.0.1:1 cannot be reached"), "{said}");
    // With the right ones, it starts.
    let dir = tempfile::tempdir().unwrap();
    assert!(Start::on(dir.path()).in_bucket(bucket, "log").run().stop().success());
}

/// Runs `flowstate verify` and demands that it finds nothing wrong.
pub(crate) fn verify(dir: &Path, bucket: &dyn Bucket, prefix: &str) {
    let output = flowstate_on_bucket(dir, bucket, prefix, &["verify"]);
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(0), "`flowstate verify` found:\n{said}");
}

#[test]
fn three_nodes_append_to_the_same_tables_and_nothing_is_lost_or_stored_twice() {
    let rounds = count("FLOWSTATE_KILL_ROUNDS", 50).div_ceil(10);
    three_nodes_share_tables(&s3::Server::start().unwrap(), rounds);
}

/// Rounds of three nodes under load, each of which is killed at a moment of its own.
pub(crate) fn three_nodes_share_tables(bucket: &dyn Bucket, rounds: usize) {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |node: usize| {
        Start::on(dirs[node].path())
            .in_bucket(bucket, "shared")
            .set("COMMIT_AGE_S", "0.1")
            .set("COMMIT_BYTES", "20000")
    };
    let mut teams: Vec<_> = (0..3_u64).map(|node| Sender::team(seed.wrapping_add(node << 8), 2)).collect();
    for round in 0..rounds {
        let moments: Vec<u64> = (0..3).map(|_| rng.random_range(1..1_000)).collect();
        // All three make the tables at once in the first round; later each is killed on its own.
        std::thread::scope(|scope| {
            for ((node, team), moment) in teams.iter_mut().enumerate().zip(moments) {
                let start = &start;
                scope.spawn(move || run_until(start(node).run(), team, moment, Server::kill));
            }
        });
        eprintln!("round {} of {rounds}", round + 1);
    }
    let servers: Vec<_> = (0..3).map(|node| start(node).run()).collect();
    let mut acknowledged = 0;
    for (server, team) in servers.iter().zip(&mut teams) {
        check_stored_once(server, team);
        acknowledged += team.iter().map(|sender| sender.acknowledged.len() as i64).sum::<i64>();
    }
    for server in &servers {
        until("a node to see what the others have committed", || {
            (server.number("SELECT count(*) FROM events") == acknowledged).then_some(())
        });
        assert_eq!(server.number("SELECT count(DISTINCT log_partition) FROM receipts"), 3);
        assert_eq!(server.number(HOLES), 0);
        check_accounts(server);
    }
    for (server, dir) in servers.into_iter().zip(&dirs) {
        assert!(server.stop().success());
        verify(dir.path(), bucket, "shared");
    }
}
