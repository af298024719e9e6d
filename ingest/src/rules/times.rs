//! The client's two times. One that cannot be read costs the event nothing but itself.

use crate::shared::Shared;
use pipeline::Micros;
use pipeline::event::{Event, Flags, parse_timestamp};
use pipeline::json::string;
use std::borrow::Cow;

/// Fills in `original_timestamp` and `sent_at` from `[timestamp, originalTimestamp, sentAt]`.
///
/// A client's `timestamp` is the original timestamp; `originalTimestamp` stands in for it, and is
/// kept in `extra` where it says something else. `sentAt` is the item's own or the envelope's.
pub(super) fn fill<'a>(
    event: &mut Event<'a>,
    [timestamp, original, sent_at]: [Option<&'a str>; 3],
    shared: &'a Shared<'a>,
    extra: &mut Vec<(Cow<'a, str>, &'a str)>,
) {
    let unreadable = |key: &'static str, json: &'a str, extra: &mut Vec<(Cow<'a, str>, &'a str)>| {
        extra.push((Cow::Borrowed(key), json));
        Flags::INVALID_TIMESTAMP
    };
    let mut flags = Flags::default();
    let mut found = None;
    for (key, json) in [("timestamp", timestamp), ("originalTimestamp", original)] {
        let Some(json) = json else { continue };
        match read(json) {
            None => flags.insert(unreadable(key, json, extra)),
            Some(time) if found.is_none() => found = Some(time),
            Some(time) if found == Some(time) => {}
            Some(_) => extra.push((Cow::Borrowed(key), json)),
        }
    }
    event.original_timestamp = found;
    for json in [sent_at, shared.sent_at].into_iter().flatten() {
        match read(json) {
            None => flags.insert(unreadable("sentAt", json, extra)),
            Some(time) => {
                event.sent_at = Some(time);
                break;
            }
        }
    }
    if flags.contains(Flags::INVALID_TIMESTAMP) {
        keep_last_sent_at(extra);
    }
    event.flags.insert(flags);
}

fn read(json: &str) -> Option<Micros> {
    parse_timestamp(&string(json)?)
}

/// Where neither the item's nor the envelope's `sentAt` could be read, the item's is kept.
fn keep_last_sent_at(extra: &mut Vec<(Cow<'_, str>, &str)>) {
    let mut seen = false;
    extra.retain(|(key, _)| key != "sentAt" || !std::mem::replace(&mut seen, true));
}
