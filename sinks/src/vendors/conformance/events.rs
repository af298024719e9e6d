//! Events to test with: from fixtures, from Segment's documents, and random ones.

use super::specs;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::event::{Event, Kind, parse_timestamp};
use pipeline::log::{PartitionId, Stored};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The time at which everything happens: 2026-01-15T12:00:00Z.
pub(crate) const NOW: Micros = 1_768_478_400 * SECOND;

/// A message in Segment's words as it lies in the log, received at [`NOW`].
pub(crate) fn stored(message: &Value) -> Stored<Event<'static>> {
    let Value::Object(message) = message else { panic!("{message} is no object") };
    let kind = message["type"].as_str().and_then(Kind::parse).expect("a type");
    let mut event = Event::new(kind, message["messageId"].as_str().expect("a message id").to_owned());
    let mut extra = Map::new();
    for (key, value) in message {
        let text = value.as_str().filter(|text| !text.is_empty()).map(|text| Cow::Owned(text.to_owned()));
        let object = value.is_object().then(|| Cow::Owned(value.to_string()));
        let time = value.as_str().and_then(parse_timestamp);
        match key.as_str() {
            "type" | "messageId" | "receivedAt" => {}
            "anonymousId" => event.anonymous_id = text,
            "userId" => event.user_id = text,
            "groupId" => event.group_id = text,
            "previousId" => event.previous_id = text,
            "event" => event.event = text,
            "name" => event.name = text,
            "category" => event.category = text,
            "timestamp" => event.original_timestamp = event.original_timestamp.or(time),
            "originalTimestamp" => event.original_timestamp = time,
            "sentAt" => event.sent_at = time,
            "properties" => event.properties = object,
            "traits" => event.traits = object,
            "context" => event.context = object,
            "integrations" => event.integrations = object,
            _ => drop(extra.insert(key.clone(), value.clone())),
        }
    }
    event.extra = (!extra.is_empty()).then(|| Value::Object(extra).to_string().into());
    received(event)
}

fn received(event: Event<'static>) -> Stored<Event<'static>> {
    let partition = PartitionId("00000000000000aa".into());
    Stored { partition, offset: 1, received_at: NOW, source: "web".into(), test: false, record: event }
}

/// All events of Segment's documents, moved to [`NOW`]; `None` without `FLOWSTATE_SPECS`.
pub(super) fn documented() -> Option<Vec<Stored<Event<'static>>>> {
    let path = specs()?.join("segment/spec_events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = |(index, line): (usize, &str)| {
        let mut event = serde_json::from_str::<Value>(line).expect("JSON")["event"].take();
        event["messageId"] = format!("documented-{index}").into();
        let mut stored = stored(&event);
        stored.record.original_timestamp = None;
        stored
    };
    Some(text.lines().enumerate().map(read).collect())
}

/// Any event: long texts, odd names, many and nested properties, products, of the last two days.
pub(super) fn any_event() -> impl Strategy<Value = Stored<Event<'static>>> {
    let texts = proptest::collection::vec(proptest::option::weighted(0.8, text()), 7);
    let objects = proptest::collection::vec(proptest::option::weighted(0.8, object()), 4);
    let age = proptest::option::of(0..48 * 3_600_i64);
    (0..6_usize, any::<u64>(), texts, objects, products(), age).prop_map(
        |(kind, id, texts, objects, products, age_s)| {
            let mut event = Event::new(Kind::ALL[kind], format!("random-{id:x}"));
            let mut texts = texts.into_iter().map(|text| text.map(Cow::Owned));
            let mut text = || texts.next().flatten();
            event.anonymous_id = text();
            event.user_id = text();
            if event.user_id.is_none() {
                event.anonymous_id.get_or_insert("somebody".into());
            }
            let needed = |text: Option<Cow<'static, str>>| text.or_else(|| Some("Something".into()));
            match event.kind {
                Kind::Track => event.event = needed(text()),
                Kind::Group => event.group_id = needed(text()),
                Kind::Alias => event.previous_id = needed(text()),
                Kind::Page | Kind::Screen => (event.name, event.category) = (text(), text()),
                Kind::Identify => {}
            }
            event.original_timestamp = age_s.map(|age_s| NOW - age_s * SECOND);
            let mut objects = objects.into_iter();
            let mut object = || objects.next().flatten();
            event.properties = object().map(|mut properties| {
                properties.extend(products);
                Value::Object(properties).to_string().into()
            });
            let mut json = || object().map(|object| Value::Object(object).to_string().into());
            event.traits = json();
            event.context = json();
            received(event)
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "Order Completed",
        "Product Added",
        "Product List Viewed",
        "session_start",
        "screen_view",
        "Search",
        "firebase_thing",
        "Payment Info Entered",
        "ada@example.com",
    ]);
    let long = prop::sample::select(vec!["€", "x", "\u{1}", "\"", "🦀"]).prop_map(|text| text.repeat(300));
    prop_oneof![2 => ".{1,24}", 4 => "[a-z]{1,8}", 1 => long, 3 => known.prop_map(str::to_owned)]
}

fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "value",
        "currency",
        "items",
        "session_id",
        "order_id",
        "email",
        "transaction_id",
        "page_location",
        "engagement_time_msec",
        "ga_x",
        "price",
        "distinct_id",
        "time",
    ]);
    prop_oneof![6 => "[a-zA-Z_]{1,50}", 1 => ".{1,12}", 3 => known.prop_map(str::to_owned)]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::btree_map(key(), value(), 0..35).prop_map(|map| map.into_iter().collect())
}

/// What makes some events orders: products, and an id.
fn products() -> impl Strategy<Value = Vec<(String, Value)>> {
    let product =
        (text(), proptest::option::of(0.0..100.0_f64), object()).prop_map(|(id, price, mut more)| {
            more.insert("product_id".to_owned(), id.into());
            more.insert("price".to_owned(), json!(price));
            Value::Object(more)
        });
    proptest::option::weighted(0.3, proptest::collection::vec(product, 0..4)).prop_map(|products| {
        products.map_or_else(Vec::new, |products| {
            vec![
                ("products".to_owned(), products.into()),
                ("order_id".to_owned(), "A-1001".into()),
                ("total".to_owned(), 27.5.into()),
            ]
        })
    })
}
