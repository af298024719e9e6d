//! `/metrics`, the dashboard that asks for them, and the program's own log.

use crate::crashes::check_accounts;
use crate::harness::{ADMIN_KEY, Server, Start, WRITE_KEY, project, until};
use crate::http::Request;
use crate::load::event;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use vendors::segment::FakeSegment;

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let segment = FakeSegment::start("key-of-the-destination", None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path()).set("COMMIT_AGE_S", "0.02").set("RATE_LIMIT_ADDRESS", "1000000");
    let server = start.set("ALLOW_PRIVATE_EGRESS", "true").set("FORWARD_TO", &segment.url()).run();
    some_of_everything(&server);
    until("a delivery", || (segment.received() > 0).then_some(()));

    let text = until("every metric of the dashboard", || {
        let reply = server.send(&Request::get("/metrics"));
        let known = names(&reply.text());
        let missing: Vec<String> = asked_for().into_iter().filter(|name| !known.contains(name)).collect();
        eprintln!("missing: {missing:?}");
        // Not counted before there is a reason; its help stands in the source beside the others.
        (missing.iter().all(|name| RARE.contains(&&**name))).then(|| reply.text())
    });
    let described = std::fs::read_to_string(project().join("src/serve/http/metered.rs")).unwrap();
    assert!(RARE.iter().all(|name| described.contains(&format!("\"{name}\""))));
    // Every metric says what it is.
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "`{name}` has no help");
    }
    assert!(server.metric("process_resident_memory_bytes") > 1e6, "{text}");
    check_accounts(&server);
}

/// Metrics that only trouble brings forth.
const RARE: [&str; 2] = ["flowstate_log_commit_errors_total", "flowstate_ingest_rate_limited_total"];

fn some_of_everything(server: &Server) {
    let mut sent = 0;
    until("a compaction", || {
        sent += 1;
        let events = [event(&format!("measured-{sent}")), json!({ "type": "track" })];
        assert_eq!(server.batch(&events).status, 200);
        (server.metric("flowstate_log_compactions_total") > 0.0).then_some(())
    });
    assert_eq!(server.number("SELECT count(*) FROM events"), sent);
}

/// The names in the text of `/metrics`.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The metrics in the expressions of the dashboard.
fn asked_for() -> BTreeSet<String> {
    let path = project().join("console/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).expect("JSON");
    let mut found = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let metrics: Vec<&str> =
                words.filter(|word| word.starts_with("flowstate_") || word.starts_with("process_")).collect();
            assert!(!metrics.is_empty(), "no metric in `{expression}`");
            found.extend(metrics.into_iter().map(str::to_owned));
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

#[test]
fn the_log_in_json_is_one_object_a_line_and_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("LOG_FORMAT", "json").set("LOG_LEVEL", "debug").run();
    let secret = json!({ "type": "track", "event": "Told In Confidence", "userId": "ada@example.com" });
    assert_eq!(server.batch(&[secret]).status, 200);
    let refused = Request::post("/v1/track").write_key("a-wrong-key-of-somebody").bytes("Told In Confidence");
    assert_eq!(server.send(&refused).status, 401);
    let query =
        Request::post("/api/v1/sql").bearer(ADMIN_KEY).json(&json!({ "sql": "SELECT broken FROM events" }));
    assert_eq!(server.send(&query).status, 400);
    let followed = Request::get("/api/v1/sources").bearer(ADMIN_KEY).header("X-Request-Id", "followed-7");
    let reply = server.send(&followed);
    assert_eq!(reply.header("x-request-id"), Some("followed-7"));
    assert!(server.send(&Request::get("/health")).header("x-request-id").is_some_and(|id| id.len() > 16));
    server.signal(rustix::process::Signal::TERM);
    until("the end to be logged", || server.said().contains("stopping").then_some(()));
    let said = server.said();
    let (mut lines, mut of_the_request) = (0, 0);
    // What it tells a person at the start comes before, or names where it listens.
    for line in said.lines().filter(|line| !line.starts_with("listening on ")) {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for field in ["timestamp", "level", "target"] {
            assert!(object[field].is_string(), "no `{field}`: {line}");
        }
        of_the_request += usize::from(object["span"]["request.id"] == "followed-7");
        // Other crates, which are heard at this level, have lines without a sentence.
        if object["target"].as_str().unwrap().starts_with("flowstate") {
            assert!(object["message"].is_string(), "no `message`: {line}");
            lines += 1;
        }
    }
    assert!(lines > 0 && of_the_request > 0, "{said}");
    for told in [WRITE_KEY, ADMIN_KEY, "a-wrong-key-of-somebody", "Told In Confidence", "ada@example.com"] {
        assert!(!said.contains(told), "`{told}` stands in the log:\n{said}");
    }
}
