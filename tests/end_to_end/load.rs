//! Concurrent senders that keep account of what was acknowledged.

use crate::harness::{Server, WRITE_KEY};
use crate::http::{Connection, Request};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A client with its own stream of message ids; it lives through many servers.
pub(crate) struct Sender {
    name: String,
    rng: StdRng,
    next: u64,
    /// Answered with 200: these must be stored, once.
    pub(crate) acknowledged: Vec<String>,
    /// Sent, and the connection broke before an answer: stored or not; sent again with the same id.
    unanswered: Vec<String>,
}

impl Sender {
    /// So many senders; equal seeds give equal traffic.
    pub(crate) fn team(seed: u64, size: usize) -> Vec<Self> {
        let new = |index: usize| Self {
            name: format!("{seed:x}-{index}"),
            rng: StdRng::seed_from_u64(seed.wrapping_add(index as u64)),
            next: 0,
            acknowledged: Vec::new(),
            unanswered: Vec::new(),
        };
        (0..size).map(new).collect()
    }

    /// Sends until the server is gone or asks to come back later; adds to `acks` as it is answered.
    pub(crate) fn send_until_it_ends(&mut self, address: SocketAddr, acks: &AtomicU64) {
        let Ok(mut connection) = Connection::open(address) else { return };
        while self.send_once(&mut connection, acks) {}
    }

    /// Sends `requests` requests, all of which must be taken.
    pub(crate) fn send(&mut self, server: &Server, requests: usize) {
        let mut connection = server.connect();
        for _ in 0..requests {
            assert!(self.send_once(&mut connection, &AtomicU64::new(0)), "refused:\n{}", server.said());
        }
    }

    /// Sends one request: new events, what was left unanswered, and on purpose a repeat.
    fn send_once(&mut self, connection: &mut Connection, acks: &AtomicU64) -> bool {
        let mut ids = std::mem::take(&mut self.unanswered);
        let retried: HashSet<String> = ids.iter().cloned().collect();
        let single = ids.is_empty() && self.rng.random_bool(0.4);
        let fresh = if single { 1 } else { self.rng.random_range(1..20) };
        for _ in 0..fresh {
            self.next += 1;
            ids.push(format!("{}-{}", self.name, self.next));
        }
        let mut repeats = Vec::new();
        if !single && self.rng.random_bool(0.3) {
            repeats.push(ids[self.rng.random_range(0..ids.len())].clone());
            if !self.acknowledged.is_empty() {
                repeats.push(self.acknowledged[self.rng.random_range(0..self.acknowledged.len())].clone());
            }
        }
        let events: Vec<Value> = ids.iter().chain(&repeats).map(|id| event(id)).collect();
        let request = if single {
            Request::post("/v1/track").json(&events[0])
        } else {
            Request::post("/v1/batch?verbose=1").json(&json!({ "batch": events }))
        };
        match connection.send(&request.write_key(WRITE_KEY)) {
            Ok(reply) if reply.status == 200 => {
                if !single {
                    self.check_outcomes(&reply.json(), &ids, &retried, repeats.len());
                }
                acks.fetch_add(ids.len() as u64, Ordering::Relaxed);
                self.acknowledged.append(&mut ids);
                true
            }
            Ok(reply) if reply.status == 503 => {
                assert!(reply.header("retry-after").is_some(), "503 without Retry-After: {}", reply.text());
                self.unanswered = ids;
                false
            }
            Ok(reply) => panic!("a well-formed request was answered {}: {}", reply.status, reply.text()),
            Err(_) => {
                self.unanswered = ids;
                false
            }
        }
    }

    /// A new id is accepted, a repeat is a duplicate; a retried one may be either.
    fn check_outcomes(&self, reply: &Value, ids: &[String], retried: &HashSet<String>, repeats: usize) {
        let results = reply["results"].as_array().unwrap_or_else(|| panic!("no results: {reply}"));
        assert_eq!(results.len(), ids.len() + repeats, "one result for each item: {reply}");
        for (index, result) in results.iter().enumerate() {
            let status = result["status"].as_str().unwrap_or_default();
            let is_allowed = match ids.get(index) {
                Some(id) if retried.contains(id) => status == "accepted" || status == "duplicate",
                Some(_) => status == "accepted",
                None => status == "duplicate",
            };
            assert!(is_allowed, "item {index} of {} is `{status}`: {reply}", ids.len());
        }
    }
}

/// A `track` event with a number to sum up.
pub(crate) fn event(id: &str) -> Value {
    let number = id.rsplit('-').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    json!({
        "type": "track", "event": "Order Completed", "messageId": id, "userId": format!("user-{}", number % 97),
        "timestamp": "2026-01-15T11:00:00.000Z", "sentAt": "2026-01-15T11:00:00.200Z",
        "properties": { "number": number, "note": "naïve ☕" },
    })
}

/// Lets every sender finish what was left unanswered, then compares what was acknowledged with
/// what is stored: each once, and nothing else but repeats of the same.
pub(crate) fn check_stored_once(server: &Server, senders: &mut [Sender]) {
    for sender in senders.iter_mut() {
        sender.send(server, 1);
        assert!(sender.unanswered.is_empty());
    }
    let acknowledged: HashSet<&str> =
        senders.iter().flat_map(|sender| sender.acknowledged.iter().map(String::as_str)).collect();
    let mut stored: HashMap<String, i64> = HashMap::new();
    for sender in senders.iter() {
        let query = format!(
            "SELECT message_id, count(*) AS copies FROM events WHERE message_id LIKE '{}-%' GROUP BY message_id",
            sender.name
        );
        for row in server.sql(&query) {
            stored.insert(row["message_id"].as_str().unwrap().to_owned(), row["copies"].as_i64().unwrap());
        }
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains_key(**id)).collect();
    assert!(
        lost.is_empty(),
        "{} acknowledged events are lost, such as {:?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
    let repeated: Vec<_> = stored.iter().filter(|(_, copies)| **copies != 1).collect();
    assert!(repeated.is_empty(), "{} events are stored twice: {repeated:?}", repeated.len());
    assert_eq!(stored.len(), acknowledged.len(), "stored and acknowledged differ");
}

/// A seed from the environment or from the system, printed so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = crate::harness::variable("FLOWSTATE_SEED")
        .map_or_else(rand::random, |value| value.parse().expect("FLOWSTATE_SEED is a number"));
    eprintln!("seed: FLOWSTATE_SEED={seed}");
    seed
}
