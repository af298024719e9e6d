//! Replays are steered by people, and go on after a crash.

use crate::delivery::{Vendors, assert_in_order, connect, post, send, start};
use crate::harness::{Server, until};
use serde_json::{Value, json};

#[test]
fn a_replay_is_paused_resumed_and_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let replay = begin(&server, &vendors, 20);
    let path = format!("/replays/{}", replay["id"].as_str().unwrap_or_else(|| panic!("{replay}")));
    until("the first events of the replay", || (vendors.segment.received() > 0).then_some(()));
    assert_eq!(post(&server, &format!("{path}/pause"), &json!({})).json()["state"], "paused");
    send(&server, "live", 10);
    let live = || vendors.segment.message_ids().iter().filter(|id| id.starts_with("live")).count();
    until("live events, which no replay holds up", || (live() == 10).then_some(()));
    assert_eq!(post(&server, &format!("{path}/resume"), &json!({})).json()["state"], "running");
    let paused_at = vendors.segment.received();
    until("the replay to go on", || (vendors.segment.received() > paused_at).then_some(()));
    assert_eq!(post(&server, &format!("{path}/cancel"), &json!({})).json()["state"], "cancelled");
    let counts = until("its last counts", || {
        let replay = server.api(&format!("/api/v1{path}"));
        (replay["counts"]["sent"].as_u64()? > 0).then(|| replay["counts"].clone())
    });
    assert!(counts["sent"].as_u64().unwrap() < 100, "{counts}");
    let again = post(&server, &format!("{path}/resume"), &json!({}));
    assert_eq!(again.status, 409, "a cancelled replay does not come back: {}", again.text());
    assert!(server.stop().success());
}

#[test]
fn a_replay_goes_on_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let vendors = Vendors::start();
    let server = start(dir.path());
    let replay = begin(&server, &vendors, 40);
    until("part of the replay", || (vendors.segment.received() >= 20).then_some(()));
    let running = server.api(&format!("/api/v1/replays/{}", replay["id"].as_str().unwrap()));
    assert!(running["state"] == "running" && running.get("seconds_left").is_some(), "{running}");
    server.kill();
    assert!(vendors.segment.received() < 100);
    let server = start(dir.path());
    let done = finished(&server, &replay);
    assert_eq!((&done["state"], &done["seconds_left"]), (&json!("done"), &Value::Null), "{done}");
    assert_eq!(vendors.segment.received(), 100);
    assert_in_order(&vendors.segment.messages(), "past", 100);
    assert!(server.stop().success());
}

/// Begins a replay of 100 events that Segment has not got, so many a second.
fn begin(server: &Server, vendors: &Vendors, rate: u32) -> Value {
    let id = connect(server, &vendors.bodies()[0]);
    send(server, "past", 100);
    post(server, &format!("/connections/{id}/enable"), &json!({ "from": "now" }));
    post(server, &format!("/connections/{id}/replays"), &json!({ "rate": rate })).json()
}

/// The replay once it has ended.
pub(crate) fn finished(server: &Server, replay: &Value) -> Value {
    let id = replay["id"].as_str().unwrap_or_else(|| panic!("{replay}"));
    until("the replay to end", || {
        let replay = server.api(&format!("/api/v1/replays/{id}"));
        ["done", "failed", "cancelled"].contains(&replay["state"].as_str()?).then_some(replay)
    })
}
