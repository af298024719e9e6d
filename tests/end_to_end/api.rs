//! The management API as programs use it.

use crate::clients::python;
use crate::harness::{ADMIN_KEY, Server, Start, flowstate, skip, until};
use crate::http::Request;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

fn track(id: &str, event: &str) -> Value {
    json!({ "type": "track", "messageId": id, "userId": "ada", "event": event, "properties": { "price": 12.5 } })
}

fn ids(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["message_id"].as_str().unwrap()).collect()
}

#[test]
fn events_are_looked_through_page_by_page_committed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    for number in 0..5 {
        assert_eq!(server.batch(&[track(&format!("m{number}"), ["Seen", "Paid"][number % 2])]).status, 200);
    }
    let first = server.api("/api/v1/events?limit=2");
    assert_eq!(ids(&first), ["m4", "m3"]);
    assert_eq!(first["events"][0]["properties"], json!({ "price": 12.5 }));
    assert_eq!(server.batch(&[track("m5", "Seen")]).status, 200);
    let next = first["next"].as_str().unwrap();
    let second = server.api(&format!("/api/v1/events?limit=2&after={next}"));
    assert_eq!(ids(&second), ["m2", "m1"], "what comes in meanwhile moves nothing");
    let paid = server.api("/api/v1/events?event=Paid&user_id=ada&order=oldest");
    assert_eq!((ids(&paid), &paid["next"]), (vec!["m1", "m3"], &Value::Null));

    assert_eq!(server.batch(&[json!({ "type": "track", "event": "Nobody" })]).json()["accepted"], 0);
    let rejected = server.api("/api/v1/rejected?code=no_user_anon_id");
    let refused = &rejected["rejected"][0];
    assert!(refused["body"].as_str().unwrap().contains("Nobody"), "{rejected}");
    assert_eq!(refused["source"], "default");
}

#[test]
fn a_rejected_event_is_admitted_once_and_keeps_its_lineage() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let nobody = json!({ "type": "track", "event": "Paid", "properties": { "price": 12.5 },
                         "timestamp": "2026-01-15T12:00:00Z", "admitted_from": "nowhere" });
    assert_eq!(server.batch(&[nobody]).json()["accepted"], 0);
    let list = || server.api("/api/v1/rejected")["rejected"][0].clone();
    let refused = list();
    assert_eq!(refused["admitted"], Value::Null);
    let (partition, offset) = (refused["partition"].as_str().unwrap(), &refused["offset"]);
    let admit = |body: Value| {
        let path = format!("/api/v1/rejected/{partition}/{offset}/admit");
        let reply = server.send(&Request::post(&path).bearer(ADMIN_KEY).json(&body));
        (reply.status, reply.json())
    };
    let (status, body) = admit(json!({}));
    assert_eq!((status, &body["code"], &body["field"]), (422, &json!("no_user_anon_id"), &json!("userId")));
    let (status, body) = admit(json!({ "patch": { "userId": "ada", "messageId": "other" } }));
    assert_eq!((status, &body["field"]), (422, &json!("messageId")));
    let (status, first) = admit(json!({ "patch": { "userId": "ada" } }));
    assert_eq!((status, &first["outcome"]), (200, &json!("accepted")), "{first}");
    let (status, again) = admit(json!({ "patch": { "userId": "bob" } }));
    assert_eq!((status, &again["outcome"]), (200, &json!("duplicate")), "{again}");
    assert_eq!((&again["offset"], &again["message_id"]), (&first["offset"], &first["message_id"]));

    let rows = server.sql(
        "SELECT user_id, message_id, log_offset, flags, extra->>'admitted_from' AS of,
                properties->>'price' AS price, \"timestamp\" FROM events",
    );
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!((&row["user_id"], &row["message_id"]), (&json!("ada"), &first["message_id"]));
    assert_eq!((&row["log_offset"], &row["of"]), (&first["offset"], &json!(format!("{partition}:{offset}"))));
    assert!(row["flags"].as_str().unwrap().contains("admitted"), "{row:?}");
    assert!(row["timestamp"].as_str().unwrap().starts_with("2026-01-15T12:00:00"), "{row:?}");
    assert_eq!(list()["admitted"]["message_id"], first["message_id"]);
    crate::crashes::check_accounts(&server);
}

#[test]
fn many_rejected_events_are_admitted_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let nobody: Vec<_> = (0..7)
        .map(|number| json!({ "type": "track", "event": "Paid", "properties": { "no": number } }))
        .collect();
    let unknown = json!({ "type": "trick", "userId": "ada" });
    assert_eq!(server.batch(&[&nobody[..], &[unknown]].concat()).json()["accepted"], 0);
    let admit = |dry_run: bool| {
        let (mut after, mut all) = (Value::Null, Vec::new());
        loop {
            let body =
                json!({ "patch": { "userId": "ada" }, "limit": 3, "after": after, "dry_run": dry_run });
            let reply = server.send(&Request::post("/api/v1/rejected/admit").bearer(ADMIN_KEY).json(&body));
            assert_eq!(reply.status, 200, "{}", reply.json());
            after = reply.json()["next"].clone();
            all.push(reply.json());
            if after.is_null() {
                return all;
            }
        }
    };
    let sum =
        |pages: &[Value], what: &str| pages.iter().map(|page| page[what].as_u64().unwrap()).sum::<u64>();
    let tried = admit(true);
    assert_eq!(["matched", "accepted", "refused"].map(|what| sum(&tried, what)), [8, 7, 1], "{tried:?}");
    assert_eq!(server.sql("SELECT * FROM events").len(), 0, "a dry run stores nothing");
    let done = admit(false);
    assert_eq!(["accepted", "duplicate", "refused"].map(|what| sum(&done, what)), [7, 0, 1], "{done:?}");
    let again = admit(false);
    assert_eq!(["accepted", "duplicate", "refused"].map(|what| sum(&again, what)), [0, 7, 1], "{again:?}");
    let rows = server.sql("SELECT DISTINCT properties->>'no' AS no FROM events WHERE user_id = 'ada'");
    assert_eq!(rows.len(), 7, "{rows:?}");
    crate::crashes::check_accounts(&server);
}

#[test]
fn accounts_are_of_the_hours_asked_for_and_totals_of_all_pages() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let key = server.add_source("another", &[]);
    assert_eq!(server.batch(&[track("m1", "Seen"), track("m2", "Seen"), track("m2", "Seen")]).status, 200);
    let foreign = Request::post("/v1/track").write_key(&key).json(&track("m3", "Seen"));
    until("the new source to be known", || (server.send(&foreign).status == 200).then_some(()));

    let all = server.api("/api/v1/accounting");
    let accounts = all["accounts"].as_array().unwrap();
    assert!(accounts.len() >= 2 && all["next"].is_null(), "{all}");
    assert_eq!((&all["totals"]["received"], &all["totals"]["duplicate"]), (&json!(4), &json!(1)), "{all}");
    let first = server.api("/api/v1/accounting?limit=1");
    assert_eq!((&first["accounts"][0], &first["totals"]), (&accounts[0], &all["totals"]), "of all pages");
    let second = server.api(&format!("/api/v1/accounting?limit=1&after={}", first["next"].as_str().unwrap()));
    assert_eq!((&second["accounts"][0], &second["totals"]), (&accounts[1], &Value::Null));

    let first_hour = accounts[0]["hour"].as_str().unwrap();
    let last_hour = accounts.last().unwrap()["hour"].as_str().unwrap();
    let within = |hour: &str| hour.replace(":00.000000Z", ":00.000001Z");
    let found = |bounds: String| {
        let page = server.api(&format!("/api/v1/accounting?{bounds}"));
        assert_eq!(page["totals"]["unaccounted"], 0, "{page}");
        page["accounts"].as_array().unwrap().len()
    };
    assert_eq!(found(format!("from={first_hour}")), accounts.len());
    assert_eq!(found(format!("from={}", within(last_hour))), 0, "that hour began before");
    assert_eq!(found(format!("to={}", within(last_hour))), accounts.len(), "that hour began before");
    assert_eq!(found(format!("to={first_hour}")), 0);
}

#[test]
fn commits_are_told_newest_first_to_the_very_first() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    for number in 0..3 {
        assert_eq!(server.batch(&[track(&format!("m{number}"), "Seen")]).status, 200);
        let rows = i64::from(number) + 1;
        until("the commit", || {
            let commits = server.api("/api/v1/commits");
            let writes =
                commits["commits"].as_array().unwrap().iter().filter(|one| one["operation"] == "WRITE");
            let all: i64 = writes.map(|one| one["rows"].as_i64().unwrap()).sum();
            (all == rows).then_some(())
        });
    }
    let (mut versions, mut before) = (Vec::new(), String::new());
    loop {
        let page = server.api(&format!("/api/v1/commits?table=events&limit=2{before}"));
        for commit in page["commits"].as_array().unwrap() {
            assert!(commit["at"].as_str().is_some() && !commit["operation"].as_str().unwrap().is_empty());
            versions.push(commit["version"].as_u64().unwrap());
        }
        let Some(next) = page["next"].as_u64() else { break };
        before = format!("&before={next}");
    }
    let newest = versions[0];
    assert_eq!(versions, (0..=newest).rev().collect::<Vec<_>>());
    assert_eq!(server.api("/api/v1/compactions?table=receipts")["compactions"], json!([]));
}

/// A stream of server-sent events.
struct Following(BufReader<TcpStream>);

impl Following {
    fn open(server: &Server, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path).bearer(ADMIN_KEY);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&request.wire()).unwrap();
        let mut following = Self(BufReader::new(stream));
        following.until("retry: ");
        following
    }

    /// What stands behind this at the beginning of a line.
    fn until(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended before `{start}`");
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim_end().to_owned();
            }
        }
    }

    /// The next event and its id.
    fn next(&mut self) -> (String, Value) {
        let id = self.until("id: ");
        (id, serde_json::from_str(&self.until("data: ")).unwrap())
    }
}

#[test]
fn what_comes_in_is_followed_resumed_and_ends_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let mut all = Following::open(&server, "/api/v1/events/stream", None);
    let mut paid = Following::open(&server, "/api/v1/events/stream?event=Paid", None);
    server.batch(&[track("m1", "Seen"), track("m2", "Paid")]);
    let (first, event) = all.next();
    assert_eq!((&event["message_id"], &event["test"]), (&json!("m1"), &json!(false)));
    assert_eq!(all.next().1["message_id"], "m2");
    assert_eq!(paid.next().1["message_id"], "m2", "the other is not wanted");
    drop(all);
    server.batch(&[track("m3", "Seen")]);
    let mut again = Following::open(&server, "/api/v1/events/stream", Some(&first));
    assert_eq!([again.next().1, again.next().1].map(|event| event["message_id"].clone()), ["m2", "m3"]);

    let mut lost = Following::open(&server, "/api/v1/events/stream", Some("00000000000000aa:7"));
    assert_eq!(lost.until("event: "), "gap", "an address of another log leads nowhere");

    let begun = Instant::now();
    assert!(server.stop().success());
    // Requests under way have 25 s; a stream that did not end by itself would take all of them.
    assert!(begun.elapsed() < Duration::from_secs(20), "the streams held up the end");
    let mut rest = String::new();
    while again.0.read_line(&mut rest).is_ok_and(|bytes| bytes > 0) {}
    assert!(rest.ends_with("0\r\n\r\n"), "the stream ends as a whole answer: {rest:?}");
}

#[test]
fn api_keys_of_the_command_line_hold_for_their_scopes_until_they_are_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let added = flowstate(dir.path(), &["api-key", "add", "auditor", "--scope", "read"]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let key = String::from_utf8(added.stdout).unwrap().trim().to_owned();
    let get = |path: &str| server.send(&Request::get(path).bearer(&key));
    assert_eq!(get("/api/v1/sources").status, 200, "a running server knows it at once");
    let refused = get("/api/v1/events");
    assert_eq!((refused.status, &refused.json()["scope"]), (403, &json!("events:read")));

    let listed = flowstate(dir.path(), &["api-key", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("auditor") && listed.contains("admin") && !listed.contains(&key), "{listed}");
    let revoked = flowstate(dir.path(), &["api-key", "revoke", "auditor"]);
    assert!(revoked.status.success());
    until("the key to be revoked", || (get("/api/v1/sources").status == 401).then_some(()));
    let unknown = flowstate(dir.path(), &["api-key", "revoke", "auditor"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("auditor"));
    for (words, wrong) in [
        (vec!["api-key", "add", "x", "--scope", "everything"], "events:read"),
        (vec!["api-key", "add", "x"], "--scope"),
        (vec!["api-key", "add", "x", "--scope", "read", "--expires", "2020-01-01"], "--expires"),
    ] {
        let output = flowstate(dir.path(), &words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(wrong), "{words:?}");
    }
}

/// Schemathesis makes requests of all shapes out of the document, right ones and wrong ones, and holds
/// every answer against it: its status, its form, that what is wrong is refused and that a bad key is.
#[test]
fn the_api_keeps_its_own_document() {
    const TEST: &str = "the_api_keeps_its_own_document";
    let program = python().map(|python| python.with_file_name("schemathesis"));
    let Some(program) = program.filter(|program| program.exists()) else {
        return skip(TEST, "it needs the Python packages of `tests/run`");
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    server.batch(&[track("m1", "Paid"), json!({ "type": "track", "event": "Nobody" })]);
    let output = Command::new(program)
        .current_dir(dir.path())
        .args(["run", &format!("http://{}/api/v1/openapi.json", server.address)])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1"])
        // The first's answer has no end; the second takes lines. Both have tests of their own.
        .args(["--exclude-operation-id", "followEvents", "--exclude-operation-id", "importLines"])
        // Which settings a vendor wants, and what SQL is right, no schema can say.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--continue-on-failure", "--request-timeout", "30", "--no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!server.said().contains("panicked"), "{}", server.said());
}
