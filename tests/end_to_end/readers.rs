//! Readers of the Delta tables that share no code with Flowstate.

use crate::clients::python;
use crate::harness::{
    Start, bucket_access, bucket_url, flowstate_on_bucket, number, project, rows, skip, sql, until, verify,
};
use crate::load::{Sender, check_stored_once, seed};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// One row that changes with any row lost, repeated or altered.
const SUMS: &str = "count(*) AS records, count(DISTINCT message_id) AS ids, sum(log_offset) AS offsets, \
    max(log_offset) AS last, sum(length(properties)) AS characters, sum(length(user_id)) AS users, \
    count(DISTINCT received_date) AS days";

/// The other readers, and what asks them.
const READERS: [(&str, &str); 2] = [("DuckDB", "duckdb_rows.py"), ("chDB", "chdb_rows.py")];

#[test]
fn duckdb_and_chdb_see_the_same_rows_before_and_after_compaction() {
    let test = "duckdb_and_chdb_see_the_same_rows_before_and_after_compaction";
    let Some(python) = python() else { return skip(test, "it needs the Python packages of `tests/run`") };
    let dir = tempfile::tempdir().unwrap();
    let mut senders = Sender::team(seed(), 2);
    let server = Start::on(dir.path()).run();
    senders[0].send(&server, 30);
    assert!(server.stop().success());
    compare(&python, dir.path());

    // Many tiny commits make compaction worth its while; it removes the files that it replaces.
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "0.02").run();
    until("a compaction", || {
        senders[1].send(&server, 1);
        has_compacted(&dir.path().join("tables/events/_delta_log")).then_some(())
    });
    check_stored_once(&server, &mut senders);
    assert!(server.stop().success());
    compare(&python, dir.path());
    verify(dir.path());
    let server = Start::on(dir.path()).run();
    check_stored_once(&server, &mut senders);
    let query = "SELECT count(*) AS records FROM events";
    assert_eq!(
        number(&sql(dir.path(), query), query),
        server.number(query),
        "the command line asks the server"
    );
}

#[test]
fn duckdb_and_chdb_see_the_same_rows_in_a_bucket() {
    let test = "duckdb_and_chdb_see_the_same_rows_in_a_bucket";
    let Some(python) = python() else { return skip(test, "it needs the Python packages of `tests/run`") };
    let (bucket, dir) = (s3::Server::start().unwrap(), tempfile::tempdir().unwrap());
    let mut senders = Sender::team(seed(), 2);
    let start = || Start::on(dir.path()).in_bucket(&bucket, "a/log").set("COMMIT_AGE_S", "0.02");
    let look = || {
        let tables = bucket_url("a/log");
        compare_at(&python, &tables, &bucket_access(&bucket), |query| {
            let words = ["sql", query, "--format", "json"];
            let output = flowstate_on_bucket(dir.path(), &bucket, "a/log", &words);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            rows(&serde_json::from_slice(&output.stdout).unwrap())
        });
    };
    let server = start().run();
    senders[0].send(&server, 5);
    assert!(server.stop().success());
    look();
    let server = start().run();
    until("a compaction", || {
        senders[1].send(&server, 1);
        (server.metric("flowstate_log_compactions_total") > 0.0).then_some(())
    });
    check_stored_once(&server, &mut senders);
    assert!(server.stop().success());
    look();
}

/// Has other readers look at the tables of a data directory, where there are any.
pub(crate) fn compare_where_possible(dir: &Path) {
    if let Some(python) = python() {
        compare(&python, dir);
    }
}

fn compare(python: &Path, dir: &Path) {
    compare_at(python, &dir.join("tables").display().to_string(), &[], |query| sql(dir, query));
}

/// Has each reader look at the tables below a directory or an address, which `ask` answers about.
fn compare_at(
    python: &Path,
    tables: &str,
    access: &[(String, String)],
    ask: impl Fn(&str) -> Vec<HashMap<String, Value>>,
) {
    for (table, sums) in [
        ("events", SUMS),
        ("receipts", "count(*) AS records, sum(log_offset) AS offsets, sum(received) AS received"),
        ("rejected", "count(*) AS records"),
    ] {
        let ours = &ask(&format!("SELECT {sums} FROM {table}"))[0];
        let names = sums.split(" AS ").skip(1).map(|part| part.split(',').next().unwrap().trim());
        let ours: Vec<String> = names.map(|name| plain(&ours[name])).collect();
        for (reader, script) in READERS {
            let output = Command::new(python)
                .arg(project().join("tests/readers").join(script))
                .arg(format!("{tables}/{table}"))
                .arg(format!("SELECT {sums} FROM delta"))
                .envs(access.iter().map(|(name, value)| (name, value)))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{reader} on {table}: {said}");
            let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
            let theirs: Vec<String> = theirs[0].as_array().unwrap().iter().map(plain).collect();
            assert_eq!(ours, theirs, "{table}: ours and {reader}'s `{sums}`");
        }
    }
}

/// Numbers compare as text, for sums of large integers may come as strings.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn has_compacted(log: &Path) -> bool {
    let files = std::fs::read_dir(log).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let commits = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    commits.filter_map(|path| std::fs::read_to_string(path).ok()).any(|text| text.contains("{\"remove\""))
}
