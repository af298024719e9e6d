//! The example events of Segment's public specification, from the client to SQL and to a destination.

use crate::crashes::check_accounts;
use crate::harness::{Server, Start, WRITE_KEY, skip, until, variable};
use crate::http::Request;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use vendors::Schema;
use vendors::segment::FakeSegment;

/// Fields with a column of their own, and that column.
const TEXTS: [(&str, &str); 9] = [
    ("type", "type"),
    ("messageId", "message_id"),
    ("anonymousId", "anonymous_id"),
    ("userId", "user_id"),
    ("groupId", "group_id"),
    ("previousId", "previous_id"),
    ("event", "event"),
    ("name", "name"),
    ("category", "category"),
];
const TIMES: [(&str, &str); 3] =
    [("originalTimestamp", "timestamp"), ("originalTimestamp", "original_timestamp"), ("sentAt", "sent_at")];
const OBJECTS: [&str; 4] = ["properties", "traits", "context", "integrations"];

/// Fields that stand for one delivery and are replaced on the next.
const OF_ONE_DELIVERY: [&str; 2] = ["sentAt", "receivedAt"];

#[test]
fn events_of_the_specification_come_out_of_sql_as_they_came_in() {
    let Some(events) = spec_events() else {
        return skip(
            "events_of_the_specification_come_out_of_sql_as_they_came_in",
            "it needs FLOWSTATE_SPECS",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    send(&server, &events);
    compare_rows(&server, &events);
    assert!(server.stop().success());
    let server = Start::on(dir.path()).run();
    compare_rows(&server, &events);
    check_accounts(&server);
}

#[test]
fn events_of_the_specification_reach_a_destination_as_they_came_in() {
    let test = "events_of_the_specification_reach_a_destination_as_they_came_in";
    let (Some(events), Some(specs)) = (spec_events(), variable("FLOWSTATE_SPECS")) else {
        return skip(test, "it needs FLOWSTATE_SPECS");
    };
    let schema =
        Schema::read(&Path::new(&specs).join("segment/segment-tracking.contract.schema.json")).unwrap();
    let segment = FakeSegment::start("key-of-the-destination", Some(schema)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server =
        Start::on(dir.path()).set("ALLOW_PRIVATE_EGRESS", "true").set("FORWARD_TO", &segment.url()).run();
    send(&server, &events);
    // Segment's own `integrations` object leaves one of them out.
    let mut events: Vec<Value> =
        events.into_iter().filter(|event| event["integrations"]["All"] != false).collect();
    // Segment wants the older id of an alias; where there is none, the anonymous one is meant.
    for alias in events.iter_mut().filter(|event| event["type"] == "alias" && event["previousId"].is_null()) {
        alias["previousId"] = alias["anonymousId"].clone();
    }
    assert_eq!(events.len(), 130);
    until("all events at the destination", || {
        assert_eq!(segment.violations(), Vec::<String>::new(), "the destination refused");
        (segment.received() >= events.len()).then_some(())
    });
    assert_eq!(segment.repeats(), Vec::new());
    let messages = segment.messages();
    let delivered: HashMap<&str, &Value> =
        messages.iter().map(|m| (m["messageId"].as_str().unwrap(), m)).collect();
    assert_eq!(delivered.len(), events.len());
    for event in &events {
        let id = event["messageId"].as_str().unwrap();
        let message = delivered.get(id).unwrap_or_else(|| panic!("{id} was not delivered"));
        assert_eq!(comparable(message), comparable(event), "{id} was altered on its way");
    }
    drop(server);
}

/// The events, each with a message id of its own; `None` without `FLOWSTATE_SPECS`.
pub(crate) fn spec_events() -> Option<Vec<Value>> {
    let path = Path::new(&variable("FLOWSTATE_SPECS")?).join("segment/spec_events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let events: Vec<Value> = text
        .lines()
        .map(|line| {
            let mut event = serde_json::from_str::<Value>(line).unwrap()["event"].take();
            let id = event["messageId"].as_str().unwrap().to_owned();
            let copies = seen.entry(id.clone()).or_default();
            if *copies > 0 {
                event["messageId"] = format!("{id}-{copies}").into();
            }
            *copies += 1;
            event
        })
        .collect();
    assert_eq!(events.len(), 131);
    Some(events)
}

fn send(server: &Server, events: &[Value]) {
    let mut connection = server.connect();
    for event in events {
        let path = format!("/v1/{}", event["type"].as_str().unwrap());
        let reply = connection.send(&Request::post(&path).write_key(WRITE_KEY).json(event)).unwrap();
        assert_eq!(reply.status, 200, "{event}: {}", reply.text());
    }
}

fn compare_rows(server: &Server, events: &[Value]) {
    let rows = server.sql("SELECT * FROM events");
    assert_eq!(rows.len(), 131);
    assert_eq!(server.sql("SELECT code FROM rejected").len(), 0, "none is rejected");
    let rows: HashMap<&str, _> = rows.iter().map(|row| (row["message_id"].as_str().unwrap(), row)).collect();
    for event in events {
        let id = event["messageId"].as_str().unwrap();
        let row = rows.get(id).unwrap_or_else(|| panic!("{id} is not stored"));
        for (field, column) in TEXTS {
            assert_eq!(row[column], event[field], "`{column}` of {id}");
        }
        // These events were sent long ago by their own clock, so their timestamp stands.
        for (field, column) in TIMES {
            assert_eq!(instant(&row[column]), instant(&event[field]), "`{column}` of {id}");
        }
        for field in OBJECTS {
            assert_eq!(parsed(&row[field]), event[field], "`{field}` of {id}");
        }
        let known = |field: &str| {
            TEXTS.iter().chain(&TIMES).any(|(name, _)| *name == field)
                || OBJECTS.contains(&field)
                || ["timestamp", "receivedAt"].contains(&field)
        };
        let mut rest = event.as_object().unwrap().clone();
        rest.retain(|field, _| !known(field));
        let mut extra: Map<String, Value> = parsed(&row["extra"]).as_object().cloned().unwrap_or_default();
        extra.retain(|field, _| field != "receivedAt");
        assert_eq!(extra, rest, "`extra` of {id}");
    }
}

/// What must be the same here and at the destination: all but the mark that ends a loop.
fn comparable(event: &Value) -> BTreeMap<String, Value> {
    let fields = event.as_object().unwrap().iter();
    let kept = fields.filter(|(name, _)| !OF_ONE_DELIVERY.contains(&name.as_str()));
    let kept = kept.filter_map(|(name, value)| {
        let mut value = value.clone();
        match name.as_str() {
            "timestamp" | "originalTimestamp" => value = instant(&value).into(),
            "context" => {
                value.as_object_mut()?.remove("flowstate");
            }
            _ => {}
        }
        (value != Value::Object(Map::new()) || name != "context").then(|| (name.clone(), value))
    });
    kept.collect()
}

/// A column of JSON text as JSON.
fn parsed(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON text"))
}

/// A UTC time in one of its spellings, as one spelling.
fn instant(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default().replace(' ', "T");
    let text = text.trim_end_matches("+00:00").trim_end_matches('Z');
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}
