//! Bodies of requests: each item becomes an event or is rejected.

use crate::envelope::{Envelope, Items};
use crate::event::{Event, Kind, Record};
use crate::item::Item;
use crate::log::{Batch, Origin};
use crate::rules::{self, MessageId};
use crate::shared::Shared;
use crate::text::Text;
use serde_json::value::RawValue;

/// Reads a body as one event of the kind that its first byte names, and as a batch.
///
/// # Panics
/// When what is taken is no JSON, or an accepted event is not read back as it was.
pub fn event(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    let Ok(raw) = std::str::from_utf8(body) else { return };
    let text = Text::new(raw);
    let kind = Kind::ALL.get(usize::from(first)).copied();
    if let Some(item) = Item::parse(text.clean()) {
        assert_json("an event", text.clean());
        take(kind, item, &Shared::new(None, None, None, None));
    }
    let Some(envelope) = Envelope::read(text.clean()) else { return };
    assert_json("an envelope", text.clean());
    let ip = (first & 128 != 0).then(|| [198, 51, 100, 7].into());
    let shared = Shared::new(envelope.context, envelope.integrations, envelope.sent_at, ip);
    let Items::List(items) = envelope.batch else { return };
    for (json, item) in items.into_items() {
        assert_json("an item", json);
        assert!(text.raw_of(json).len() <= raw.len());
        if let Some(item) = item {
            take(None, item, &shared);
        }
    }
}

fn take<'a>(kind: Option<Kind>, item: Item<'a>, shared: &'a Shared<'a>) {
    let Ok(message_id) = MessageId::read(item.message_id, || "made".to_owned()) else { return };
    let Ok(event) = rules::check(kind, message_id, item, shared) else { return };
    for json in [&event.properties, &event.traits, &event.context, &event.integrations, &event.extra] {
        if let Some(json) = json {
            assert!(json.starts_with('{'), "no object: {json}");
            assert_json("a part", json);
        }
    }
    assert_read_back(&event);
}

fn assert_json(what: &str, text: &str) {
    if let Err(error) = serde_json::from_str::<&RawValue>(text) {
        panic!("{what} is no JSON, {error}: {text}");
    }
}

fn assert_read_back(event: &Event<'_>) {
    let mut batch = Batch::new(Origin { source: "web".into(), test: false }, 1);
    batch.push_event(event);
    let records: Vec<_> = batch.records().collect();
    assert_eq!(records, [Ok(Record::Event(event.clone()))]);
}
