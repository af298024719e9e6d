//! Retention: old days go, everything stays accounted for, and destinations get their events first.

use crate::delivery::{Vendors, connect, post};
use crate::harness::{ADMIN_KEY, Server, Start, flowstate, flowstate_on, until, verify};
use crate::http::Request;
use pipeline::Clock;
use pipeline::clock::DAY;
use pipeline::event::{Event, Kind, Rejected};
use pipeline::log::{Batch, Log, LogConfig, Origin};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use vendors::Failure;
use vendors::webhook::Receiver;

/// How long ago, in days, what lies in the directory came in.
const AGES: [i64; 4] = [40, 39, 2, 1];

/// Fills a data directory as a server did that ran so long ago: on each day two events and a rejected one.
fn fill(dir: &Path) {
    fill_with_tables(dir, &dir.join("tables"));
}

fn fill_with_tables(dir: &Path, tables: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for age in AGES {
            let config = LogConfig {
                dir: dir.to_owned(),
                store: url::Url::from_directory_path(tables).unwrap().into(),
                durability: Default::default(),
                wal_bytes_max: 128 << 20,
                segment_bytes: 16 << 20,
                commit_age: Duration::from_secs(3600),
                commit_bytes: 8 << 20,
                dedup_window: Duration::from_secs(7 * 86_400),
                dedup_memory_bytes_max: 16 << 20,
                promotion: Default::default(),
            };
            let clock = Clock::given(Clock::system().now() - age * DAY);
            let log = Log::open(config, clock).await.unwrap();
            let mut batch = Batch::new(Origin { source: "default".into(), test: false }, 3);
            for number in [1, 2] {
                let mut event = Event::new(Kind::Track, format!("{age}-days-{number}"));
                event.event = Some("Order Completed".into());
                event.user_id = Some("ada".into());
                batch.push_event(&event);
            }
            batch.push_rejected(&Rejected {
                code: "event_not_defined".into(),
                field: Some("event".into()),
                message: "`event` is missing".into(),
                message_id: None,
                body: Some("{}".into()),
                body_bytes: 2,
            });
            log.append(batch).await.unwrap();
            log.close().await.unwrap();
        }
    });
}

fn keeping(dir: &Path) -> Start {
    Start::on(dir)
        .set("RETENTION_EVENTS", "20d")
        .set("RETENTION_REJECTED", "20d")
        .set("RETENTION_RECEIPTS", "20d")
        .set("ALLOW_PRIVATE_EGRESS", "true")
}

/// What `/retention` tells of a table.
fn table(server: &Server, name: &str) -> Value {
    let retention = server.api("/api/v1/retention");
    let tables = retention["tables"].as_array().unwrap();
    tables.iter().find(|table| table["table"] == name).cloned().unwrap_or_else(|| panic!("{retention}"))
}

#[test]
fn old_days_go_and_everything_stays_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let shown = flowstate(dir.path(), &["retention", "--retention-events", "20d"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("due: 4 rows of `events`") && !shown.contains("removed:"), "{shown}");

    let server = keeping(dir.path()).run();
    until("the receipts to go", || {
        let removed = table(&server, "receipts")["removed"].as_array().map_or(0, Vec::len);
        (removed == 1).then_some(())
    });
    let events = table(&server, "events");
    assert_eq!((&events["keep_days"], &events["removed"][0]["rows"]), (&json!(20), &json!(4)), "{events}");
    assert_eq!(server.number("SELECT count(*) FROM events WHERE source = 'default'"), 4);
    assert_eq!(server.number("SELECT sum(unaccounted) FROM accounting"), 0);
    assert_eq!(server.metric("flowstate_log_retention_rows_total"), 8.0, "4 events, 2 rejected, 2 receipts");
    assert_eq!(server.api("/api/v1/events/40-days-1")["sources"], json!([]));
    assert_eq!(server.api("/api/v1/events/2-days-1")["sources"][0]["stored"][0]["offset"], 9);
    let page = server.api("/api/v1/rejected?order=oldest");
    assert_eq!(page["rejected"][0]["offset"], 11, "{page}");
    assert!(server.stop().success());
    verify(dir.path());
    let told = String::from_utf8_lossy(&flowstate(dir.path(), &["verify"]).stdout).into_owned();
    assert!(told.contains("retention removed 4 of `events` at offsets 1 to 6"), "{told}");
    let shown = flowstate(dir.path(), &["retention"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("removed: 4 rows of `events`"), "{shown}");
    crate::readers::compare_where_possible(dir.path());

    let server = keeping(dir.path()).run();
    assert_eq!(server.number("SELECT sum(\"rows\") FROM holes"), 8);
    assert_eq!(server.number("SELECT count(*) FROM events WHERE source = 'default'"), 4);
}

#[test]
fn servers_that_share_tables_forget_the_same_days_once() {
    let shared = tempfile::tempdir().unwrap();
    let tables = shared.path().to_str().unwrap();
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    for dir in &dirs {
        fill_with_tables(dir.path(), shared.path());
    }
    let servers: Vec<_> = dirs.iter().map(|dir| keeping(dir.path()).set("STORE", tables).run()).collect();
    for server in &servers {
        until("both to see what is gone", || {
            (server.number("SELECT coalesce(sum(\"rows\"), 0) FROM holes") == 16).then_some(())
        });
        assert_eq!(server.number("SELECT count(DISTINCT log_partition) FROM holes"), 2);
        assert_eq!(server.number("SELECT count(*) FROM events WHERE source = 'default'"), 8);
        assert_eq!(server.number("SELECT sum(unaccounted) FROM accounting"), 0);
    }
    let removed = |server: &Server| server.metric("flowstate_log_retention_rows_total");
    assert_eq!(servers.iter().map(removed).sum::<f64>(), 16.0, "each row is removed by one of them");
    for (server, dir) in servers.into_iter().zip(&dirs) {
        assert!(server.stop().success());
        let told = flowstate_on(dir.path(), tables, &[], &["verify"]);
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    }
}

#[test]
fn a_destination_gets_its_events_first_unless_it_is_paused() {
    let [dir, gone] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    fill(dir.path());
    // The partition of a server that is gone, which only a replay goes through.
    fill_with_tables(gone.path(), &dir.path().join("tables"));
    let secret = "whsec_Y2FuYXJ5MGNhbmFyeTBjYW5hcnkwY2FuYXJ5MA==";
    let receiver = Receiver::start(secret, || Clock::system().now()).unwrap();
    receiver.down(Some(Failure::status(503)));
    let hook = json!({ "vendor": "webhook", "name": "Hook",
                       "settings": { "url": format!("http://{}/hook", receiver.address()) },
                       "credentials": { "signing_secret": secret } });
    let server = Start::on(dir.path()).set("ALLOW_PRIVATE_EGRESS", "true").run();
    let post = |server: &Server, path: &str, body: &Value| {
        let reply = server.send(&Request::post(&format!("/api/v1{path}")).bearer(ADMIN_KEY).json(body));
        assert!(reply.status < 300, "{path}: {}", reply.text());
        reply.json()
    };
    let id = post(&server, "/connections", &hook)["id"].as_str().unwrap().to_owned();
    post(&server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" }));
    // Events that failed wait for their next attempt, the cursor behind them.
    until("its events to wait", || {
        let delivery = &server.api(&format!("/api/v1/connections/{id}"))["delivery"];
        (delivery["retrying"].as_u64() > Some(0) || delivery["lag_events"].as_u64() > Some(0)).then_some(())
    });
    let replay = post(&server, &format!("/connections/{id}/replays"), &json!({}));
    let replay = format!("replay `{}` to `Hook`", replay["id"].as_str().unwrap());
    assert!(server.stop().success());

    let server = keeping(dir.path()).run();
    let own = server.partition();
    until("the rejected events to go", || {
        let removed = table(&server, "rejected")["removed"].as_array().map_or(0, Vec::len);
        (removed == 2).then_some(())
    });
    let events = table(&server, "events");
    let due = events["due"].as_array().unwrap();
    assert_eq!((&events["removed"], due.len()), (&json!([]), 2), "{events}");
    for due in due {
        // The replay is in one of the two partitions and has yet to come to the other.
        let waits_for = match due["partition"] == *own {
            true => json!(["destination `Hook`", replay]),
            false => json!([replay]),
        };
        assert_eq!((&due["rows"], &due["waits_for"]), (&json!(4), &waits_for), "{events}");
    }
    let needs = server.api("/api/v1/retention")["needs"].clone();
    let to_come = needs.as_array().unwrap().iter().find(|need| need["partition"].is_null());
    let to_come = to_come.unwrap_or_else(|| panic!("{needs}"));
    let of_replay = needs.as_array().unwrap().iter().filter(|need| need["by"] == *replay);
    let come_to: Vec<_> = of_replay.map(|need| &need["partition"]).filter(|one| !one.is_null()).collect();
    let told = (&to_come["by"], &to_come["offset"], &to_come["all_but"]);
    assert_eq!(told, (&json!(replay), &json!(0), &json!(come_to)), "{needs}");
    assert_eq!(server.number("SELECT sum(unaccounted) FROM accounting"), 0);
    assert!(server.said().contains("wait for destination `Hook`"), "{}", server.said());

    post(&server, &format!("/connections/{id}/pause"), &json!({}));
    let events = table(&server, "events");
    for due in events["due"].as_array().unwrap() {
        let missed_by = match due["partition"] == *own {
            true => json!(["destination `Hook`: it is paused", format!("{replay}: it is paused")]),
            false => json!([format!("{replay}: it is paused")]),
        };
        assert_eq!(due["missed_by"], missed_by, "{events}");
    }
    assert!(server.stop().success());
    let server = keeping(dir.path()).run();
    until("the events to go", || {
        let removed = table(&server, "events")["removed"].as_array().map_or(0, Vec::len);
        (removed == 2).then_some(())
    });
    until("it to be told", || {
        server.said().contains("`Hook`: it is paused; events that it had not got were removed").then_some(())
    });
    assert!(server.stop().success());
    verify(dir.path());
}

#[test]
fn what_a_destination_can_never_get_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let vendors = Vendors::start();
    vendors.segment.down(Some(Failure::status(400)));
    let server = Start::on(dir.path()).set("ALLOW_PRIVATE_EGRESS", "true").run();
    let enabled = |server: &Server, name: &str| {
        let mut body = vendors.bodies()[0].clone();
        body["name"] = json!(name);
        let id = connect(server, &body);
        assert_eq!(
            post(server, &format!("/connections/{id}/enable"), &json!({ "from": "beginning" })).status,
            200
        );
        id
    };
    let letters = |server: &Server, id: &str, kept: u64| {
        until("the dead letters", || {
            (server.api(&format!("/api/v1/dead-letters?connection={id}"))["kept"] == kept).then_some(())
        });
    };
    let id = enabled(&server, "Early");
    letters(&server, &id, 8);
    assert!(server.stop().success());

    // Four of the eight go; nobody can send them again, and the list does not keep them for ever.
    let server = keeping(dir.path()).run();
    until("the receipts to go", || {
        let removed = table(&server, "receipts")["removed"].as_array().map_or(0, Vec::len);
        (removed == 1).then_some(())
    });
    vendors.segment.down(None);
    let reply = post(&server, "/dead-letters/retry", &json!({ "connection": id, "all": true }));
    assert_eq!(reply.status, 200, "{}", reply.text());
    until("those that are there", || (vendors.segment.received() == 4).then_some(()));
    letters(&server, &id, 0);
    let gone = "SELECT count(*) FROM deliveries
                WHERE outcome = 'filtered' AND reason = 'the log no longer has the event'";
    assert_eq!(server.number(gone), 4);

    // One that comes too late learns how many, and from when.
    let late = enabled(&server, "Late");
    let delivered =
        format!("SELECT count(*) FROM deliveries WHERE outcome = 'delivered' AND destination = '{late}'");
    until("the late one to have what there is", || (server.number(&delivered) == 4).then_some(()));
    let missed = format!(
        "SELECT log_offset, reason FROM deliveries WHERE outcome = 'missed' AND destination = '{late}'"
    );
    let missed = until("it to be written down", || {
        let missed = server.sql(&missed);
        (!missed.is_empty()).then_some(missed)
    });
    let [missed] = &missed[..] else { panic!("{missed:?}") };
    let reason = missed["reason"].as_str().unwrap();
    assert!(reason.starts_with("the log no longer has 4 events at offsets 1 to 6, received "), "{reason}");
    assert!(missed["log_offset"].is_null() && reason.ends_with(" (retention)"), "{missed:?}");
    // Others that read the log there, as those who send dead letters again, do not tell it.
    assert_eq!(server.metric("flowstate_delivery_holes_passed_total"), 1.0);
    let told = format!("it did not get: {reason}");
    until("it to be told", || server.said().contains(&told).then_some(()));
    let said = server.said();
    assert_eq!(said.matches("goes on behind events").count(), 1, "{said}");
    assert!(said.contains(&format!("`{late}` goes on behind events of partition {}", server.partition())));
    assert!(server.stop().success());
    verify(dir.path());
}
