//! `flowstate import`: files come in by the rules of HTTP, once, and reach nobody unasked.

use crate::harness::{ADMIN_KEY, Server, Start, flowstate, number, sql, until, verify};
use crate::http::Request;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vendors::segment::FakeSegment;

const SEGMENT_KEY: &str = "write-key-of-segment";

#[test]
fn a_file_comes_in_once_however_compressed_with_and_without_a_server() {
    for with_server in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let server = Start::on(dir.path()).run();
        let server = if with_server {
            Some(server)
        } else {
            assert!(server.stop().success());
            None
        };
        let mut text: String = (1..=5_000).map(line).collect();
        text.push_str("\n{\"type\":\"track\",\"event\":\"nobody did it\"}\n{\"type\":\nnot json at all\n");
        let plain = file(dir.path(), "events.ndjson", text.as_bytes());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        // Its name says nothing about its content.
        let gzip = file(dir.path(), "compressed.ndjson", &gzip.finish().unwrap());

        let said = import(dir.path(), &[&plain], &[]);
        assert!(said.contains("5,000 accepted, 0 duplicate, 3 rejected"), "{said}");
        assert!(said.contains("invalid_json") && said.contains("first line 5,003"), "{said}");
        let again = import(dir.path(), &[&gzip], &[]);
        assert!(again.contains("0 accepted, 0 duplicate, 0 rejected; 5,004 lines"), "{again}");
        let sent_again = import(dir.path(), &[&gzip], &["--again"]);
        assert!(sent_again.contains("0 accepted, 5,000 duplicate, 3 rejected"), "{sent_again}");

        let ask = |query: &str| match &server {
            Some(server) => server.number(query),
            None => number(&sql(dir.path(), query), query),
        };
        assert_eq!(ask("SELECT count(DISTINCT message_id) FROM events"), 5_000);
        assert_eq!(ask("SELECT count(*) FROM events WHERE flags LIKE '%imported%'"), 5_000);
        // `sentAt` is of 2019 too, and corrects nothing.
        let kept =
            "SELECT count(*) FROM events WHERE timestamp < '2019-12-31' AND timestamp = original_timestamp";
        assert_eq!(ask(kept), 5_000);
        assert_eq!(ask("SELECT count(*) FROM rejected WHERE code = 'no_user_anon_id'"), 2);
        assert_eq!(ask("SELECT sum(unaccounted) FROM accounting"), 0);
        if let Some(server) = server {
            assert!(server.stop().success());
        }
        // Committed to Parquet, the mark is still there.
        let query = "SELECT count(*) FROM events WHERE flags LIKE '%imported%'";
        assert_eq!(number(&sql(dir.path(), query), query), 5_000);
        verify(dir.path());
    }
}

#[test]
fn an_import_that_was_killed_goes_on_and_stores_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let lines: Vec<String> = (1..=30_000).map(line).collect();
    let whole = file(dir.path(), "whole.ndjson", lines.concat().as_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowstate"))
        .args(["import", "-", "--source", "default", "--data"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines[..20_000].concat().as_bytes()).unwrap();
    until("the import to have come some way", || {
        std::fs::read_dir(dir.path().join("imports"))
            .ok()?
            .flatten()
            .find(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let said = import(dir.path(), &[&whole], &[]);
    assert!(said.contains("lines were taken in before"), "{said}");
    assert_eq!(server.number("SELECT count(*) FROM events"), 30_000);
    assert_eq!(server.number("SELECT count(DISTINCT message_id) FROM events"), 30_000);
    assert_eq!(server.number("SELECT sum(unaccounted) FROM accounting"), 0);
}

#[test]
fn a_server_that_is_killed_and_comes_back_interrupts_no_import() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let text: String = (1..=40_000).map(line).collect();
    let whole = file(dir.path(), "whole.ndjson", text.as_bytes());
    let (data, files) = (dir.path().to_owned(), whole);
    let importing = std::thread::spawn(move || import(&data, &[&files], &[]));
    until("first events", || (server.number("SELECT count(*) FROM events") > 0).then_some(()));
    server.kill();
    let server = Start::on(dir.path()).run();
    let said = importing.join().unwrap();
    assert!(said.contains(" accepted, "), "{said}");
    assert_eq!(server.number("SELECT count(*) FROM events"), 40_000);
    assert_eq!(server.number("SELECT count(DISTINCT message_id) FROM events"), 40_000);
}

#[test]
fn imported_events_reach_a_destination_by_replay_or_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let segment = FakeSegment::start(SEGMENT_KEY, None).unwrap();
    let server =
        Start::on(dir.path()).set("ALLOW_PRIVATE_EGRESS", "true").set("FORWARD_TO", &segment.url()).run();
    let one =
        |id: &str| json!({"type": "track", "event": "Paid", "userId": "a", "messageId": id}).to_string();
    let history = file(dir.path(), "history.ndjson", one("history-1").as_bytes());
    let live = file(dir.path(), "live.ndjson", one("live-1").as_bytes());
    import(dir.path(), &[&history], &[]);
    import(dir.path(), &[&live], &["--deliver"]);
    // The destination reads in order, so the first was decided about when the second arrives.
    until("the other event to arrive", || (segment.received() > 0).then_some(()));
    let ids = || segment.messages().iter().map(|message| message["messageId"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(), ["live-1"]);
    let life = until("the decision to be seen", || {
        let life = server.api("/api/v1/events/history-1");
        life["sources"][0]["stored"][0]["deliveries"][0]["outcome"].is_string().then_some(life)
    });
    let decision = &life["sources"][0]["stored"][0]["deliveries"][0];
    assert_eq!(
        (&decision["outcome"], &decision["reason"]),
        (&json!("filtered"), &json!("imported")),
        "{life}"
    );

    let id = server.api("/api/v1/connections")["connections"][0]["id"].as_str().unwrap().to_owned();
    let replay =
        replay(&server, &id, &json!({ "condition": "flags LIKE '%imported%' AND message_id = 'history-1'" }));
    assert!(replay["id"].is_string(), "{replay}");
    until("the replay to send it", || (segment.received() > 1).then_some(()));
    assert_eq!(ids(), ["live-1", "history-1"]);
}

#[test]
fn an_import_that_cannot_be_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let words = |words: &[&str]| {
        let output = flowstate(dir.path(), words);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let missing = dir.path().join("missing.ndjson").display().to_string();
    let (code, said) = words(&["import", &missing, "--source", "default"]);
    assert!(code == Some(1) && said.contains("missing.ndjson"), "{said}");
    let there = file(dir.path(), "there.ndjson", b"{}").display().to_string();
    let (code, said) = words(&["import", &there, "--source", "default"]);
    assert!(code == Some(1) && said.contains("there is no Flowstate in"), "{said}");
    let server = Start::on(dir.path()).run();
    let (code, said) = words(&["import", &there, "--source", "history"]);
    assert!(code == Some(1) && said.contains("flowstate source add history"), "{said}");
    let broken = file(dir.path(), "broken.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
    let (code, said) = words(&["import", &broken.display().to_string(), "--source", "default"]);
    assert!(code == Some(1) && said.contains("broken.gz") && said.contains("cannot be read"), "{said}");

    let bad = |query: &str| {
        let path = format!("/api/v1/sources/default/import{query}");
        let reply = server.send(&Request::post(&path).bearer(ADMIN_KEY).json(&json!({})));
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        reply.json()["field"].clone()
    };
    assert_eq!(bad(""), "file");
    assert_eq!(bad("?file=f&line=0"), "line");
    assert_eq!(bad("?file=f&deliver=maybe"), "deliver");
    assert_eq!(bad("?file=f&speed=9"), "speed");
}

/// A line of a file from long ago; every third has no id.
fn line(number: usize) -> String {
    let mut event = json!({
        "type": "track", "event": "Order Completed", "userId": format!("u{}", number % 97),
        "timestamp": "2019-03-04T05:06:07.000Z", "sentAt": "2019-03-04T05:06:09.000Z",
        "properties": { "number": number }
    });
    if !number.is_multiple_of(3) {
        event["messageId"] = Value::from(format!("line-{number}"));
    }
    format!("{event}\n")
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Imports files into the source `default`; what was said on both outputs.
fn import(dir: &Path, files: &[&Path], flags: &[&str]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut words = vec!["import", "--source", "default"];
    words.extend(files.iter().map(String::as_str));
    words.extend(flags);
    let output = flowstate(dir, &words);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

fn replay(server: &Server, id: &str, body: &Value) -> Value {
    let path = format!("/api/v1/connections/{id}/replays");
    let reply = server.send(&Request::post(&path).bearer(ADMIN_KEY).json(body));
    assert!(matches!(reply.status, 200..=299), "{}", reply.text());
    reply.json()
}
