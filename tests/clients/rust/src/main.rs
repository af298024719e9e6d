//! Sends events of all kinds with RudderStack's own client and prints what it sent and what went wrong.
//!
//! Usage: `flowstate-test-client URL WRITE_KEY COUNT`
//!
//! The client gives events no message ids, so the report holds the events themselves, as they were given to it. The
//! last quarter goes in batches.

use chrono::{DateTime, Utc};
use rudderanalytics::client::RudderAnalytics;
use rudderanalytics::message::{Alias, Batch, BatchMessage, Group, Identify, Message, Page, Screen, Track};
use serde_json::json;

const BATCH: i64 = 15;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, write_key, count] = words.as_slice() else { panic!("usage: URL WRITE_KEY COUNT") };
    let count: i64 = count.parse().expect("COUNT is a number");
    let client = RudderAnalytics::load(write_key.clone(), url.clone());
    let (mut sent, mut errors, mut requests) = (Vec::new(), Vec::new(), 0);
    let mut send = |message: Message| {
        requests += 1;
        if let Err(error) = client.send(&message) {
            errors.push(format!("{error:?}"));
        }
    };
    let (singles, batched): (Vec<i64>, Vec<i64>) = (0..count).partition(|&number| number < count * 3 / 4);
    for number in singles {
        let event = event(number);
        sent.push(json!(event));
        send(match event {
            BatchMessage::Identify(event) => Message::Identify(event),
            BatchMessage::Track(event) => Message::Track(event),
            BatchMessage::Page(event) => Message::Page(event),
            BatchMessage::Screen(event) => Message::Screen(event),
            BatchMessage::Group(event) => Message::Group(event),
            BatchMessage::Alias(event) => Message::Alias(event),
        });
    }
    for numbers in batched.chunks(BATCH as usize) {
        let batch: Vec<BatchMessage> = numbers.iter().map(|&number| event(number)).collect();
        // In a batch the client sends the batch's timestamp for each event, whatever the event's own is.
        let original_timestamp = timestamp(numbers[0]);
        sent.extend(batch.iter().map(|event| {
            let mut event = json!(event);
            event["originalTimestamp"] = json!(original_timestamp);
            event
        }));
        send(Message::Batch(Batch { batch, original_timestamp, ..Batch::default() }));
    }
    println!("{}", json!({ "sent": sent, "errors": errors, "requests": requests }));
}

/// One event of each kind in turn, each of a user of its own.
fn event(number: i64) -> BatchMessage {
    let user = format!("user-{number}");
    let user_id = Some(user.clone());
    let anonymous_id = Some(format!("visitor-{number}"));
    let properties = Some(json!({
        "number": number, "price": number as f64 / 4.0, "note": "naïve ☕", "list": [1, { "a": null }],
    }));
    let traits = Some(json!({ "email": format!("{user}@example.com"), "plan": "pro", "seats": number }));
    let context = Some(json!({ "ip": "203.0.113.7", "app": { "name": "shop", "build": number } }));
    let integrations = Some(json!({ "All": true, "Mixpanel": number % 2 == 0 }));
    let original_timestamp = timestamp(number);
    match number % 6 {
        0 => BatchMessage::Track(Track {
            event: "Order Completed".to_owned(),
            user_id,
            anonymous_id,
            properties,
            original_timestamp,
            context,
            integrations,
        }),
        1 => BatchMessage::Identify(Identify {
            user_id,
            anonymous_id,
            traits,
            original_timestamp,
            context,
            integrations,
        }),
        2 => BatchMessage::Page(Page {
            name: "Start".to_owned(),
            user_id,
            anonymous_id,
            properties,
            original_timestamp,
            context,
            integrations,
        }),
        3 => BatchMessage::Screen(Screen {
            name: "Home".to_owned(),
            user_id,
            anonymous_id,
            properties,
            original_timestamp,
            context,
            integrations,
        }),
        4 => BatchMessage::Group(Group {
            group_id: format!("group-{number}"),
            user_id,
            anonymous_id,
            traits,
            original_timestamp,
            context,
            integrations,
        }),
        _ => BatchMessage::Alias(Alias {
            user_id: user,
            previous_id: format!("old-{number}"),
            traits,
            original_timestamp,
            context,
            integrations,
        }),
    }
}

/// Long ago and different for each event, so that a mix-up would be seen.
fn timestamp(number: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(1_700_000_000 + number, 250_000_000 + number as u32 * 1000)
}
