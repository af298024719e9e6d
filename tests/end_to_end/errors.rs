//! Every error of the tracking API, and bodies that would bring a lesser server down.

use crate::harness::{Start, WRITE_KEY, flowstate};
use crate::http::{Connection, Reply, Request};
use crate::load::event;
use serde_json::{Value, json};
use std::io::Write;

#[test]
fn every_error_has_its_status_its_code_and_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let track = || Request::post("/v1/track").write_key(WRITE_KEY);
    let batch = || Request::post("/v1/batch").write_key(WRITE_KEY);
    let good = event("good-1");
    let with = |field: &str, value: Value| {
        let mut event = event("bad-1");
        event[field] = value;
        track().json(&event)
    };
    let without = |field: &str| {
        let mut event = event("bad-2");
        event.as_object_mut().unwrap().remove(field);
        track().json(&event)
    };
    let identify = |traits: Value| {
        Request::post("/v1/identify").write_key(WRITE_KEY).json(&json!({ "userId": "u", "traits": traits }))
    };
    let page = |field: &str| {
        Request::post("/v1/page").write_key(WRITE_KEY).json(&json!({ "userId": "u", field: 1 }))
    };
    let cases = [
        (400, "invalid_json", track().bytes("{")),
        (400, "invalid_json", track().bytes("no json")),
        (400, "invalid_json", batch().bytes("{\"batch\":[{},]}")),
        (400, "empty_batch", batch().json(&json!({ "batch": [] }))),
        (400, "no_user_anon_id", without("userId")),
        (400, "event_not_defined", without("event")),
        (400, "event_not_string", with("event", json!(7))),
        (400, "properties_not_object", with("properties", json!([1]))),
        (400, "id_not_string", with("userId", json!({ "a": 1 }))),
        (400, "traits_not_object", identify(json!("x"))),
        (400, "name_not_string", page("name")),
        (400, "category_not_string", page("category")),
        (401, "unknown_source", Request::post("/v1/track").json(&good)),
        (401, "unknown_source", Request::post("/v1/track").write_key("nobody").json(&good)),
        (404, "unknown_path", Request::post("/v1/nothing").write_key(WRITE_KEY).json(&good)),
        (405, "method_not_allowed", Request::new("DELETE", "/v1/track").write_key(WRITE_KEY)),
        (413, "request_too_large", batch().bytes(vec![b' '; 5 << 20])),
        (413, "request_too_large", batch().header("Content-Encoding", "gzip").bytes(bomb())),
        (415, "unsupported_media_type", track().header("Content-Type", "application/xml").bytes("<a/>")),
        (415, "unsupported_encoding", track().header("Content-Encoding", "compress").bytes("{}")),
    ];
    for (status, code, request) in cases {
        let reply = server.send(&request);
        check(&reply, status, code);
        assert_eq!(
            server.batch(&[json!({ "type": "track", "event": "e", "userId": "u" })]).status,
            200,
            "after {code}"
        );
    }
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

#[test]
fn a_source_switched_off_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let disabled = flowstate(dir.path(), &["source", "disable", "default"]);
    assert!(disabled.status.success(), "{}", String::from_utf8_lossy(&disabled.stderr));
    check(
        &crate::harness::until("the source to be off", || {
            let reply = server.batch(&[json!({ "type": "track", "event": "e", "userId": "u" })]);
            (reply.status != 200).then_some(reply)
        }),
        403,
        "source_disabled",
    );
}

#[test]
fn a_stalled_body_is_timed_out_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("BODY_TIMEOUT_S", "1").run();
    let wire = Request::post("/v1/track").write_key(WRITE_KEY).json(&event("stalled-1")).wire();
    let mut stalled: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    for connection in &mut stalled {
        connection.write(&wire[..wire.len() - 10]).unwrap();
    }
    assert_eq!(server.batch(&[event("busy-1")]).status, 200, "others are served meanwhile");
    for connection in &mut stalled {
        check(&connection.read().expect("an answer"), 408, "body_timeout");
    }
    assert_eq!(server.number("SELECT count(*) FROM events"), 1);
}

#[test]
fn strange_bodies_are_answered_and_the_server_stays_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let wrap = |properties: Vec<u8>| {
        let head =
            br#"{"batch":[{"type":"track","event":"e","userId":"u","messageId":"strange","properties":"#;
        [head.as_slice(), &properties, b"}]}"].concat()
    };
    let bodies: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("NUL bytes", vec![0; 1000]),
        ("broken UTF-8", wrap(b"{\"a\":\"\xff\xfe\"}".to_vec())),
        ("an overlong form", wrap(b"{\"a\":\"\xc0\x80\"}".to_vec())),
        ("deep arrays", wrap("[".repeat(500_000).into_bytes())),
        ("deep objects", wrap("{\"a\":".repeat(300_000).into_bytes())),
        ("deep and closed", wrap([b"{\"a\":".repeat(200_000), b"1".to_vec(), b"}".repeat(200_000)].concat())),
        (
            "a huge number",
            wrap(["{\"a\":".to_owned(), "9".repeat(20_000), "}".to_owned()].concat().into_bytes()),
        ),
        ("a lone surrogate", wrap(br#"{"a":"\ud800","b":"\u0000"}"#.to_vec())),
    ];
    for (what, body) in bodies {
        for encoding in ["identity", "gzip"] {
            let body = if encoding == "gzip" { gzip(&body) } else { body.clone() };
            let request = Request::post("/v1/batch")
                .write_key(WRITE_KEY)
                .header("Content-Encoding", encoding)
                .bytes(body);
            let reply = server.send(&request);
            assert!(
                [200, 400].contains(&reply.status),
                "{what}, {encoding}: {} {}",
                reply.status,
                reply.text()
            );
            assert_eq!(reply.json()["success"], reply.status == 200, "{what}, {encoding}");
        }
    }
    let garbage =
        Request::post("/v1/batch").write_key(WRITE_KEY).header("Content-Encoding", "gzip").bytes("no gzip");
    assert_eq!(server.send(&garbage).status, 400, "what cannot be decompressed");
    assert_eq!(server.batch(&[event("fine-1")]).status, 200);
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

#[test]
fn a_mixed_batch_keeps_its_good_items_and_names_the_bad_ones() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let large = json!({ "type": "track", "event": "e", "userId": "u", "messageId": "large",
        "properties": { "text": "x".repeat(40_000) } });
    let items = [
        event("mixed-1"),
        json!({ "type": "track", "userId": "u", "messageId": "nameless" }),
        json!(7),
        large,
        event("mixed-1"),
        event("mixed-2"),
    ];
    let reply = server.batch(&items);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    let counts = (&answer["success"], &answer["received"], &answer["accepted"]);
    assert_eq!(counts, (&json!(true), &json!(6), &json!(2)), "{answer}");
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "rejected", "rejected", "rejected", "duplicate", "accepted"]);
    assert_eq!(answer["results"][1]["code"], "event_not_defined");
    assert_eq!(answer["results"][1]["messageId"], "nameless");
    assert_eq!(server.number("SELECT count(*) FROM rejected"), 3, "rejected items are kept aside");
    crate::crashes::check_accounts(&server);
}

#[test]
fn an_early_answer_leaves_no_bytes_behind_on_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    for refused in [
        Request::post("/v1/batch").write_key("nobody").bytes(vec![b'a'; 1 << 20]),
        Request::post("/v1/batch").write_key(WRITE_KEY).bytes(vec![b'a'; 5 << 20]),
        Request::post("/v1/nothing").write_key(WRITE_KEY).bytes(vec![b'a'; 1 << 20]),
    ] {
        let mut connection = server.connect();
        // The server may stop reading: then the write breaks, and the answer is there all the same.
        let _ = connection.write(&refused.wire());
        let Ok(first) = connection.read() else { continue };
        assert!((400..500).contains(&first.status), "{}", first.text());
        let next = Request::post("/v1/track").write_key(WRITE_KEY).json(&event("next-1"));
        if let Ok(reply) = connection.send(&next) {
            assert_eq!(reply.status, 200, "what followed on the same connection: {}", reply.text());
        }
    }
}

fn check(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "`{code}` expected: {}", reply.text());
    let answer = reply.json();
    assert_eq!((&answer["success"], &answer["code"]), (&json!(false), &json!(code)), "{answer}");
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(message.len() > 5, "`{code}` has a message: {answer}");
    let content_type = reply.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/json"), "`{code}` is JSON: {content_type}");
    if [429, 503].contains(&status) {
        assert!(reply.header("retry-after").is_some(), "`{code}` carries Retry-After");
    }
}

/// A hundred megabytes of spaces in a hundred kilobytes.
fn bomb() -> Vec<u8> {
    gzip(&vec![b' '; 100 << 20])
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
