//! Requests with events of about 1 KB, each different from all others.

use serde_json::json;
use std::sync::Arc;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Where an id of this many digits is patched in.
const SLOT: &str = "0123456789abcdef";
/// What stands before each id.
const MESSAGE: &str = "ajs-next-";
const VISITOR: &str = "6f1c2b9e-";
const ORDER: &str = "order-";
/// Visitors in the made-up traffic.
const VISITORS: u64 = 100_000;

const PAGES: [(&str, &str); 6] = [
    ("Brewing guide", "/guides/brewing"),
    ("House blend", "/coffee/house-blend"),
    ("Cart", "/cart"),
    ("Journal: a visit to the roasters' guild", "/journal/roasters-guild"),
    ("Gear", "/gear"),
    ("Home", "/"),
];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Mobile Safari",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Safari",
];
const SOURCES: [&str; 4] = ["google", "instagram", "newsletter", "partner"];

/// Requests that differ only in their ids; cloned for each connection.
#[derive(Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where each event's ids stand.
    slots: Arc<[Slots]>,
    /// The number of the next event.
    number: u64,
}

struct Slots {
    message: usize,
    visitor: usize,
    order: usize,
}

impl Template {
    /// `POST /v1/track` with one event.
    pub(crate) fn single(write_key_base64: &str) -> Self {
        Self::new("/v1/track", write_key_base64, &event(0), 1)
    }

    /// `POST /v1/batch` with so many events that are little more than their ids.
    pub(crate) fn filler(write_key_base64: &str, events: usize) -> Self {
        let item = format!(
            r#"{{"type":"track","event":"Filled","messageId":"{MESSAGE}{SLOT}","anonymousId":"{VISITOR}{SLOT}","properties":{{"order_id":"{ORDER}{SLOT}"}}}}"#
        );
        let body = format!(r#"{{"batch":[{}]}}"#, vec![item; events].join(","));
        Self::new("/v1/batch", write_key_base64, &body, events)
    }

    /// `POST /v1/batch` with so many events.
    pub(crate) fn batch(write_key_base64: &str, events: usize) -> Self {
        let items: Vec<_> = (0..events).map(event).collect();
        let body = format!(r#"{{"batch":[{}],"sentAt":"2026-01-15T12:00:00.000Z"}}"#, items.join(","));
        Self::new("/v1/batch", write_key_base64, &body, events)
    }

    fn new(path: &str, write_key_base64: &str, body: &str, events: usize) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {write_key_base64}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let places = |before: &str| -> Vec<usize> {
            let id = format!("{before}{SLOT}");
            request.match_indices(&id).map(|(at, _)| at + before.len()).collect()
        };
        let (messages, visitors, orders) = (places(MESSAGE), places(VISITOR), places(ORDER));
        assert!([&messages, &visitors, &orders].iter().all(|ids| ids.len() == events), "every event has ids");
        let slots = messages.into_iter().zip(visitors).zip(orders);
        let slots = slots.map(|((message, visitor), order)| Slots { message, visitor, order });
        Self { slots: slots.collect(), bytes: request.into_bytes(), number: 0 }
    }

    /// The same requests with ids of their own for this connection.
    pub(crate) fn for_connection(&self, connection: u64) -> Self {
        Self { number: self.number + (connection << 36), ..self.clone() }
    }

    /// The same requests with ids that no earlier run has used.
    pub(crate) fn for_run(&self, run: u64) -> Self {
        Self { number: run << 48, ..self.clone() }
    }

    /// How many events a request has.
    pub(crate) fn events(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The bytes of one event, on average.
    pub(crate) fn event_bytes(&self) -> usize {
        self.bytes.len() / self.slots.len()
    }

    /// The events of the next request, one on each line.
    pub(crate) fn lines(&mut self) -> serde_json::Result<String> {
        let request = self.next();
        let body = request.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
        let mut body: serde_json::Value = serde_json::from_slice(&request[body..])?;
        let events = body["batch"].take();
        Ok(events.as_array().into_iter().flatten().map(|event| format!("{event}\n")).collect())
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> &[u8] {
        for slots in self.slots.iter() {
            self.number += 1;
            let scattered = scatter(self.number);
            put(&mut self.bytes[slots.message..], scattered);
            put(&mut self.bytes[slots.visitor..], scatter(scattered % VISITORS));
            put(&mut self.bytes[slots.order..], self.number);
        }
        &self.bytes
    }
}

/// The ids of the events in a body, by the digits that are patched in.
pub(crate) fn message_ids(body: &str) -> impl Iterator<Item = u64> {
    let id = |at: usize| u64::from_str_radix(body.get(at..at + SLOT.len())?, 16).ok();
    body.match_indices(MESSAGE).filter_map(move |(at, before)| id(at + before.len()))
}

fn put(place: &mut [u8], mut number: u64) {
    for digit in place[..SLOT.len()].iter_mut().rev() {
        *digit = HEX[(number & 15) as usize];
        number >>= 4;
    }
}

/// A bijection (the finaliser of SplitMix64), so that ids look random and never collide.
fn scatter(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The JSON text of an event of about 1 KB.
fn event(nth: usize) -> String {
    let (title, path) = PAGES[nth % PAGES.len()];
    let second = nth % 60;
    json!({
        "type": "track",
        "event": "Product Added",
        "messageId": format!("{MESSAGE}{SLOT}"),
        "anonymousId": format!("{VISITOR}{SLOT}"),
        "timestamp": format!("2026-01-15T11:59:{second:02}.{:03}Z", nth * 37 % 1000),
        "properties": {
            "order_id": format!("{ORDER}{SLOT}"), "product_id": format!("sku-{}", 1000 + nth * 7), "quantity": 1 + nth % 4,
            "name": title, "price": 6.5 + nth as f64 * 1.25, "currency": "EUR", "position": nth % 12,
            "coupon": null, "category": "Coffee and tea", "url": format!("https://shop.example.com{path}"),
        },
        "context": {
            "ip": format!("203.0.113.{}", nth % 250), "locale": "en-GB", "timezone": "Europe/Berlin",
            "userAgent": AGENTS[nth % AGENTS.len()],
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "page": {
                "path": path, "referrer": "https://www.example.com/search", "search": "",
                "title": title, "url": format!("https://shop.example.com{path}"),
            },
            "campaign": {"source": SOURCES[nth % SOURCES.len()], "medium": "cpc", "name": "autumn"},
            "screen": {"width": 1512, "height": 982, "density": 2},
        },
        "integrations": {"All": true},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(request: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(request).unwrap();
        text.split("messageId\":\"").skip(1).map(|rest| rest[..25].to_owned()).collect()
    }

    #[test]
    fn a_batch_as_lines_has_the_same_events() {
        let (mut batch, mut lines) = (Template::batch("a2V5Og==", 3), Template::batch("a2V5Og==", 3));
        let text = lines.lines().unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(ids(text.as_bytes()), ids(batch.next()));
    }

    #[test]
    fn every_event_is_about_1_kb_and_has_an_id_of_its_own() {
        let batch = Template::batch("a2V5Og==", 100);
        assert!((900..1200).contains(&batch.event_bytes()), "{}", batch.event_bytes());
        let mut seen = HashSet::new();
        for run in 0..2 {
            for connection in 0..3 {
                let mut requests = batch.for_run(run).for_connection(connection);
                assert!((0..3).all(|_| ids(requests.next()).into_iter().all(|id| seen.insert(id))));
            }
        }
        assert_eq!(seen.len(), 2 * 3 * 3 * 100);
    }
}
