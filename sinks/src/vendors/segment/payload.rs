//! A stored event as a message of Segment's Tracking API.

use chrono::{DateTime, SecondsFormat};
use pipeline::Micros;
use pipeline::event::{Event, Kind};
use pipeline::log::Stored;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Fields of `extra` that are not passed on: the credential and the times of our own receipt.
const DROPPED: [&str; 3] = ["writeKey", "receivedAt", "sentAt"];

/// The event as JSON text, one to one; what was JSON text stays byte for byte.
///
/// `timestamp` is the corrected one and an item has no `sentAt` of its own: Segment corrects
/// `timestamp` by `sentAt` of the envelope, our own right clock, and so arrives at the same time.
/// The time by the client's clock goes along as `originalTimestamp`. `context` stands for the event's.
pub(in crate::vendors) fn payload(stored: &Stored<Event<'_>>, context: Option<&str>) -> Vec<u8> {
    let event = &stored.record;
    // Segment wants the older id of an alias; analytics.js means its anonymous one when it has none.
    let older = if event.kind == Kind::Alias { event.anonymous_id.as_ref() } else { None };
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(event.kind.as_str().as_bytes());
    out.push(b'"');
    let texts = [
        ("messageId", Some(&event.message_id)),
        ("anonymousId", event.anonymous_id.as_ref()),
        ("userId", event.user_id.as_ref()),
        ("groupId", event.group_id.as_ref()),
        ("previousId", event.previous_id.as_ref().or(older)),
        ("event", event.event.as_ref()),
        ("name", event.name.as_ref()),
        ("category", event.category.as_ref()),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            put_key(&mut out, key);
            put_text(&mut out, text);
        }
    }
    put_time(&mut out, "timestamp", event.timestamp(stored.received_at).0);
    if let Some(original) = event.original_timestamp {
        put_time(&mut out, "originalTimestamp", original);
    }
    let objects = [
        ("properties", event.properties.as_deref()),
        ("traits", event.traits.as_deref()),
        ("context", context),
        ("integrations", event.integrations.as_deref()),
    ];
    for (key, json) in objects {
        if let Some(json) = json {
            put_key(&mut out, key);
            out.extend_from_slice(json.as_bytes());
        }
    }
    if let Some(extra) = &event.extra {
        let texts = texts.iter().filter(|(_, text)| text.is_some()).map(|(key, _)| *key);
        let objects = objects.iter().filter(|(_, json)| json.is_some()).map(|(key, _)| *key);
        let times = ["timestamp", "originalTimestamp"];
        let times = times.into_iter().take(if event.original_timestamp.is_some() { 2 } else { 1 });
        let written: Vec<&str> = ["type"].into_iter().chain(texts).chain(times).chain(objects).collect();
        put_extra(extra, &written, &mut out);
    }
    out.push(b'}');
    out
}

/// Spreads `extra` back to the top level. A field that the event has `written` itself is not repeated.
fn put_extra(extra: &str, written: &[&str], out: &mut Vec<u8>) {
    let Ok(extra) = serde_json::from_str::<BTreeMap<String, &RawValue>>(extra) else { return };
    for (key, value) in extra {
        if !DROPPED.contains(&key.as_str()) && !written.contains(&key.as_str()) {
            put_key(out, &key);
            out.extend_from_slice(value.get().as_bytes());
        }
    }
}

/// Appends `,"key":"time"` in ISO 8601, with microseconds only where there are any.
pub(in crate::vendors) fn put_time(out: &mut Vec<u8>, key: &str, at: Micros) {
    let precision = if at % 1000 == 0 { SecondsFormat::Millis } else { SecondsFormat::Micros };
    let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
    put_key(out, key);
    put_text(out, &time.to_rfc3339_opts(precision, true));
}

fn put_key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    put_text(out, key);
    out.push(b':');
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text can always be written to memory");
}
