//! Processes that end at the wrong moment, and those that end as they should.

use crate::harness::{Server, Start, WRITE_KEY, count, number, sql, until, verify};
use crate::http::Request;
use crate::load::{Sender, check_stored_once, event, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Offsets are dense: receipts, events and rejected events take one each and leave no hole.
pub(crate) const HOLES: &str = "SELECT sum(holes) AS holes FROM (\
    SELECT max(log_offset) + 1 - min(log_offset) - count(DISTINCT log_offset) + count(*) - count(DISTINCT log_offset) \
    AS holes FROM (SELECT log_partition, log_offset FROM events \
    UNION ALL SELECT log_partition, log_offset FROM rejected \
    UNION ALL SELECT log_partition, log_offset FROM receipts) AS records GROUP BY log_partition) AS partitions";

#[test]
fn acknowledged_events_survive_kill_9_and_are_stored_once() {
    let rounds = count("FLOWSTATE_KILL_ROUNDS", 50);
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed, 4);
    for round in 0..rounds {
        // Small and changing limits, so that the kill meets writes, commits and recycling alike.
        let age = ["0.05", "0.1", "0.3"][rng.random_range(0..3)];
        // Commits of the smallest are slower than the senders: with these alone the WAL fills up in the end.
        let bytes = ["20000", "200000", "2000000"][rng.random_range(0..3)];
        let server = Start::on(dir.path()).set("COMMIT_AGE_S", age).set("COMMIT_BYTES", bytes).run();
        let moment = (rng.random_range(1..1_500_u64), Duration::from_micros(rng.random_range(0..30_000)));
        run_until(server, &mut senders, moment.0, |server| {
            std::thread::park_timeout(moment.1);
            server.kill();
        });
        if round % 10 == 9 {
            let acknowledged: usize = senders.iter().map(|sender| sender.acknowledged.len()).sum();
            eprintln!("round {} of {rounds}: {acknowledged} events acknowledged", round + 1);
        }
    }
    // After hundreds of rounds a sender has more ids than an answer may have rows by default.
    let server = Start::on(dir.path()).set("SQL_ROWS_MAX", "10000000").run();
    check_stored_once(&server, &mut senders);
    assert_eq!(server.number(HOLES), 0, "offsets are not dense");
    check_accounts(&server);
    assert!(server.stop().success());
    verify(dir.path());
}

#[test]
fn a_graceful_stop_under_load_loses_nothing() {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed, 4);
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "3600").run();
    run_until(server, &mut senders, 2_000, |server| assert!(server.stop().success(), "it ends with success"));
    // It committed before it ended: nothing is left in the WAL alone.
    let committed = number(&sql(dir.path(), "SELECT count(*) FROM events"), "committed");
    let server = Start::on(dir.path()).run();
    assert_eq!(server.number("SELECT count(*) FROM events"), committed);
    check_stored_once(&server, &mut senders);
    check_accounts(&server);
}

#[test]
fn an_event_is_in_sql_as_soon_as_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "3600").run();
    for round in 1..=20 {
        let id = format!("fresh-{round}");
        let reply = server.send(&Request::post("/v1/track").write_key(WRITE_KEY).json(&event(&id)));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(server.number("SELECT count(*) FROM events"), round);
        let found = server.api(&format!("/api/v1/events/{id}"));
        assert!(found.to_string().contains(&id), "{found}");
    }
    server.kill();
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "3600").run();
    assert_eq!(
        server.number("SELECT count(*) FROM events"),
        20,
        "a restart serves rows that are in the WAL only"
    );
}

#[test]
fn events_stay_visible_while_they_are_committed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "0.05").run();
    for round in 1..=60 {
        let reply = server.batch(&[event(&format!("moving-{round}"))]);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(server.number("SELECT count(*) FROM events"), round, "a row showed twice or not at all");
    }
}

#[test]
fn a_crash_between_the_data_and_its_commit_loses_and_repeats_nothing() {
    crash_at("after_data_before_commit");
}

#[test]
fn a_crash_between_the_commit_and_the_release_of_the_wal_loses_and_repeats_nothing() {
    crash_at("after_commit_before_release");
}

#[test]
fn a_second_process_on_one_data_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let (status, said) = Start::on(dir.path()).try_run().err().expect("the second process is refused");
    assert!(!status.success());
    assert!(said.contains("in use"), "the refusal says why: {said}");
    assert!(said.contains(&dir.path().display().to_string()), "the refusal names the directory: {said}");
    assert_eq!(server.batch(&[event("still-here-1")]).status, 200, "the first goes on");
    server.kill();
    let again = Start::on(dir.path()).run();
    assert_eq!(again.number("SELECT count(*) FROM events"), 1);
}

#[test]
fn a_repeat_is_a_duplicate_in_its_source_only_and_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let other = server.add_source("other", &[]);
    assert_eq!(server.batch(&[event("same-1")]).json()["accepted"], 1);
    let foreign = Request::post("/v1/track").write_key(&other).json(&event("same-1"));
    // The server sees a source that another process has added within a second.
    until("the new source to be known", || (server.send(&foreign).status == 200).then_some(()));
    assert_eq!(server.number("SELECT count(*) FROM events"), 2, "another source, another event");
    assert!(server.stop().success());
    let server = Start::on(dir.path()).run();
    assert_eq!(server.send(&foreign).status, 200);
    assert_eq!(server.batch(&[event("same-1")]).json()["accepted"], 0);
    assert_eq!(server.number("SELECT count(*) FROM events"), 2);
    check_accounts(&server);
}

/// Loads the server until so many events are acknowledged, then ends it; the senders come back
/// when it is gone.
pub(crate) fn run_until(server: Server, senders: &mut [Sender], target: u64, end: impl FnOnce(Server)) {
    let acks = AtomicU64::new(0);
    let address = server.address;
    std::thread::scope(|scope| {
        for sender in senders.iter_mut() {
            scope.spawn(|| sender.send_until_it_ends(address, &acks));
        }
        until("acknowledgements", || (acks.load(Ordering::Relaxed) >= target).then_some(()));
        end(server);
    });
}

/// Debug builds abort at the fail point named by `FLOWSTATE_FAILPOINT`.
fn crash_at(point: &str) {
    let seed = seed();
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed, 2);
    for round in 0..3 {
        let start = Start::on(dir.path()).set("FAILPOINT", point).set("COMMIT_AGE_S", "0.1");
        let mut server = match start.try_run() {
            Ok(server) => server,
            // What the crash before left in the WAL may be committed before the server listens.
            Err((_, said)) if round > 0 && said.contains(&format!("failpoint `{point}`")) => continue,
            Err((status, said)) => panic!("it ended with {status}:\n{said}"),
        };
        let acks = AtomicU64::new(0);
        for sender in &mut senders {
            sender.send_until_it_ends(server.address, &acks);
        }
        assert!(!server.wait().success(), "the server aborts at `{point}`");
    }
    let server = Start::on(dir.path()).run();
    check_stored_once(&server, &mut senders);
    assert_eq!(server.number(HOLES), 0, "offsets are not dense");
    check_accounts(&server);
    assert!(server.stop().success());
    verify(dir.path());
}

/// received = accepted + duplicate + rejected, for every source and hour.
pub(crate) fn check_accounts(server: &Server) {
    let accounts = server.api("/api/v1/accounting");
    let mut lines = 0;
    visit(&accounts, &mut |key, value| {
        if key == "unaccounted" {
            lines += 1;
            assert_eq!(value.as_i64(), Some(0), "{accounts}");
        }
    });
    assert!(lines > 0, "the accounts are empty: {accounts}");
}

fn visit(value: &serde_json::Value, look: &mut impl FnMut(&str, &serde_json::Value)) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            look(key, value);
            visit(value, look);
        }),
        serde_json::Value::Array(values) => values.iter().for_each(|value| visit(value, look)),
        _ => {}
    }
}
