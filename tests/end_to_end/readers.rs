//! Readers of the Delta tables that share no code with Flowstate.

use crate::clients::python;
use crate::harness::{Start, number, project, skip, sql, until, verify};
use crate::load::{Sender, check_stored_once, seed};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// One row that changes with any row lost, repeated or altered.
const SUMS: &str = "count(*) AS records, count(DISTINCT message_id) AS ids, sum(log_offset) AS offsets, \
    max(log_offset) AS last, sum(length(properties)) AS characters, sum(length(user_id)) AS users, \
    count(DISTINCT received_date) AS days";

#[test]
fn duckdb_sees_the_same_rows_before_and_after_compaction() {
    let test = "duckdb_sees_the_same_rows_before_and_after_compaction";
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

/// Has another reader look at the tables of a data directory, where there is one.
pub(crate) fn compare_where_possible(dir: &Path) {
    if let Some(python) = python() {
        compare(&python, dir);
    }
}

fn compare(python: &Path, dir: &Path) {
    for (table, sums) in [
        ("events", SUMS),
        ("receipts", "count(*) AS records, sum(log_offset) AS offsets, sum(received) AS received"),
        ("rejected", "count(*) AS records"),
    ] {
        let path = dir.join("tables").join(table);
        let output = Command::new(python)
            .arg(project().join("tests/readers/duckdb_rows.py"))
            .arg(&path)
            .arg(format!("SELECT {sums} FROM delta"))
            .output()
            .unwrap();
        assert!(output.status.success(), "DuckDB on {table}: {}", String::from_utf8_lossy(&output.stderr));
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = &sql(dir, &format!("SELECT {sums} FROM {table}"))[0];
        let names = sums.split(" AS ").skip(1).map(|part| part.split(',').next().unwrap().trim());
        let ours: Vec<String> = names.map(|name| plain(&ours[name])).collect();
        let theirs: Vec<String> = theirs[0].as_array().unwrap().iter().map(plain).collect();
        assert_eq!(ours, theirs, "{table}: ours and DuckDB's `{sums}`");
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
