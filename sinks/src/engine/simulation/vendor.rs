//! The vendor and its sink.

use super::disk::Machine;
use super::plan::StormKind;
use super::world::World;
use crate::engine::{
    Check, Failure, Hold, Idempotency, Limits, Manners, Mapped, Operation, OrderMode, Owner, RetryProfile,
    Scope, Sink, Verdict,
};
use async_trait::async_trait;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::connection::WhenAmbiguous;
use pipeline::delivery::{Class, LaneId};
use pipeline::egress::{Answer, Http, HttpError, Request};
use pipeline::event::Event;
use pipeline::log::{Offset, Stored};
use rand::RngExt;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use std::sync::Arc;
use std::time::Duration;

/// Writes `offset.operation` for each operation, one a line.
pub(super) struct SimulatedSink(Manners);

impl SimulatedSink {
    pub(super) fn new(world: &World) -> Self {
        let limits = Limits {
            operations_max: 5,
            batch_bytes_max: 10_000,
            operation_bytes_max: 1_000,
            linger: Duration::from_millis(50),
        };
        Self(Manners {
            idempotency: match world.plan.ambiguous {
                Some(_) => Idempotency::None,
                None => Idempotency::Upsert,
            },
            ambiguous: world.plan.ambiguous.unwrap_or_default(),
            retry: RetryProfile::Stream,
            order: OrderMode::PerUser,
            concurrency_max: 8,
            rates: Vec::new(),
            endpoints: vec![limits, Limits { operations_max: 2, linger: Duration::ZERO, ..limits }],
            event_age_max: None,
        })
    }
}

#[async_trait]
impl Sink for SimulatedSink {
    fn manners(&self) -> &Manners {
        &self.0
    }

    fn map(&self, event: &Stored<Event<'static>>) -> Mapped {
        let offset = event.offset;
        let operation = |index: usize| Operation {
            endpoint: index,
            group: if index == 0 { String::new() } else { format!("group {}", offset % 2) },
            body: Bytes::from(format!("{offset}.{index}")),
        };
        let count = 1 + usize::from(event.record.properties.is_some());
        Mapped::Operations((0..count).map(operation).collect())
    }

    fn request(&self, operations: &[&Operation], _: Micros) -> Request {
        let lines: Vec<&str> =
            operations.iter().map(|o| std::str::from_utf8(&o.body).expect("text")).collect();
        Request {
            method: Method::POST,
            url: "https://vendor.test/".parse().expect("an address"),
            headers: HeaderMap::new(),
            body: Bytes::from(lines.join("\n")),
            timeout: Duration::from_secs(30),
        }
    }

    fn verdicts(&self, operations: &[&Operation], answer: &Answer, _: Micros) -> Vec<Verdict> {
        let text = std::str::from_utf8(&answer.body).expect("text");
        let failed = |class, scope| {
            let seconds = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
            Verdict::Failed(Failure {
                class,
                scope,
                retry_after: answer.headers.get(RETRY_AFTER).and_then(seconds).map(Duration::from_secs),
                status: Some(answer.status),
                vendor_code: None,
                detail: text.lines().next().unwrap_or_default().to_owned(),
                remedy: String::new(),
            })
        };
        let all = |class, scope| vec![failed(class, scope); operations.len()];
        match answer.status {
            200 => text
                .lines()
                .map(|word| match word {
                    "ok" => Verdict::Delivered,
                    "later" => failed(Class::Transient, Scope::Item),
                    "expired" => failed(Class::AuthExpired, Scope::Destination),
                    _ => failed(Class::Validation, Scope::Item),
                })
                .collect(),
            400 => all(Class::Validation, Scope::Batch),
            401 if text == "expired" => all(Class::AuthExpired, Scope::Destination),
            401 => all(Class::AuthRevoked, Scope::Destination),
            413 => all(Class::TooLarge, Scope::Batch),
            429 => all(Class::RateLimited, Scope::Destination),
            500 => all(Class::Transient, Scope::Batch),
            _ => all(Class::Transient, Scope::Destination),
        }
    }

    async fn check(&self, _: &dyn Http, _: Micros, _: bool) -> Check {
        Check { steps: Vec::new() }
    }
}

/// What the vendor does with a request.
struct Fate {
    /// Which operations it takes.
    taken: Vec<bool>,
    /// How long until the lane hears of it.
    latency: Duration,
    answer: Result<Answer, HttpError>,
}

/// A request under way, until it has come back or nobody waits for it any more.
struct UnderWay<'a>(&'a World, u64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().vendor.under_way.remove(&self.1);
    }
}

#[async_trait]
impl Http for Machine {
    async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let world = &*self.0;
        let operations = operations(&request);
        let mut offsets: Vec<Offset> = operations.iter().map(|(offset, _)| *offset).collect();
        offsets.dedup();
        world.look_at_request(&offsets, &operations);
        let number = {
            let mut state = world.lock();
            let vendor = &mut state.vendor;
            vendor.requests += 1;
            for offset in &offsets {
                *vendor.attempts.entry(*offset).or_default() += 1;
            }
            vendor.log.push((world.clock.elapsed(), offsets.clone()));
            vendor.under_way.insert(vendor.requests, offsets);
            vendor.requests
        };
        let _under_way = UnderWay(world, number);
        let fate = world.fate(&operations);
        // It arrives at once or just before the answer; a crash may come between.
        let early = world.chance(0.5);
        if early {
            world.take(&operations, &fate);
        }
        world.clock.sleep(fate.latency).await;
        if !early {
            world.take(&operations, &fate);
        }
        if let Ok(Answer { status: 200, body, .. }) = &fate.answer {
            world.tell(&operations, body);
        }
        fate.answer
    }
}

fn operations(request: &Request) -> Vec<(Offset, usize)> {
    let text = std::str::from_utf8(&request.body).expect("text");
    let operation = |line: &str| {
        let (offset, operation) = line.split_once('.').expect("two numbers");
        (offset.parse().expect("a number"), operation.parse().expect("a number"))
    };
    text.lines().map(operation).collect()
}

impl World {
    fn take(&self, operations: &[(Offset, usize)], fate: &Fate) {
        let mut state = self.lock();
        let life = state.life;
        for (operation, taken) in operations.iter().zip(&fate.taken) {
            if *taken {
                let known =
                    state.vendor.taken.contains_key(operation) && !state.fates.was_revived(operation.0);
                if known && self.plan.ambiguous == Some(WhenAmbiguous::Hold) {
                    state.problems.push(format!("{operation:?} happened twice"));
                }
                state.vendor.taken.insert(*operation, (life, false));
            }
        }
    }

    /// The lane hears which operations were taken.
    fn tell(&self, operations: &[(Offset, usize)], body: &Bytes) {
        let mut state = self.lock();
        let words = std::str::from_utf8(body).expect("text").lines();
        for (operation, _) in operations.iter().zip(words).filter(|(_, word)| *word == "ok") {
            if let Some((_, told)) = state.vendor.taken.get_mut(operation) {
                *told = true;
            }
        }
    }

    fn fate(&self, operations: &[(Offset, usize)]) -> Fate {
        let weather = self.plan.weather;
        let latency_us = self.lock().random.random_range(100..=weather.latency_max_ms * 1_000);
        let latency = Duration::from_micros(latency_us);
        let all = |taken: bool| vec![taken; operations.len()];
        let answer = |status: u16, text: &str| {
            Ok(Answer { status, headers: HeaderMap::new(), body: Bytes::from(text.to_owned()) })
        };
        let error = |class: Class| Err(HttpError { class, detail: class.as_str().to_owned() });
        let lost = |class, latency| Fate { taken: all(self.chance(0.5)), latency, answer: error(class) };
        let thirty = Duration::from_secs(30);

        let at = self.clock.elapsed();
        let storm = self.plan.storms.iter().find(|storm| (storm.from..storm.until).contains(&at));
        match storm.map(|storm| storm.kind) {
            Some(StormKind::Unavailable) => {
                return Fate { taken: all(false), latency, answer: answer(503, "down") };
            }
            Some(StormKind::Timeout) => return lost(Class::Timeout, thirty),
            Some(StormKind::Dns) => {
                return Fate { taken: all(false), latency, answer: error(Class::NetworkDns) };
            }
            Some(StormKind::Refused) => {
                return Fate { taken: all(false), latency, answer: error(Class::NetworkConnect) };
            }
            Some(StormKind::Throttled) => return self.throttle(operations.len(), latency),
            None => {}
        }
        let dead = self.plan.credential.filter(|(dies_at, _)| at >= *dies_at);
        if let Some((_, renewable)) = dead.filter(|_| !self.lock().vendor.credential_mended) {
            if renewable && operations.len() > 1 && self.chance(0.5) {
                // It dies in the middle of a request.
                let words: Vec<&str> =
                    (0..operations.len()).map(|i| if i == 0 { "ok" } else { "expired" }).collect();
                let taken = (0..operations.len()).map(|i| i == 0).collect();
                return Fate { taken, latency, answer: answer(200, &words.join("\n")) };
            }
            let text = if renewable { "expired" } else { "revoked" };
            return Fate { taken: all(false), latency, answer: answer(401, text) };
        }
        if self.chance(weather.unavailable) {
            let status = if self.chance(0.5) { 500 } else { 503 };
            return Fate { taken: all(false), latency, answer: answer(status, "down") };
        }
        if self.chance(weather.timeout) {
            return lost(Class::Timeout, thirty);
        }
        if self.chance(weather.reset) {
            return lost(Class::NetworkReset, latency);
        }
        if self.chance(weather.throttled) {
            return self.throttle(operations.len(), latency);
        }
        self.judge(operations, latency)
    }

    fn is_stuck(&self, offset: Offset) -> bool {
        self.plan.stuck.is_some_and(|(stuck, until)| stuck == offset && self.clock.elapsed() < until)
    }

    fn throttle(&self, count: usize, latency: Duration) -> Fate {
        let mut headers = HeaderMap::new();
        if self.chance(0.5) {
            let seconds: u64 = self.lock().random.random_range(1..100);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let answer = Ok(Answer { status: 429, headers, body: Bytes::from_static(b"slower") });
        Fate { taken: vec![false; count], latency, answer }
    }

    /// An ordinary day: poison is refused by itself or with its whole request, the rest is taken.
    fn judge(&self, operations: &[(Offset, usize)], latency: Duration) -> Fate {
        let mended = self.lock().vendor.poison_mended;
        let poisonous = |(offset, _): &(Offset, usize)| !mended && self.plan.poison.contains(offset);
        if operations.iter().any(poisonous) && self.chance(0.5) {
            let status = if self.chance(0.8) { 400 } else { 413 };
            let answer =
                Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(b"one of these") };
            return Fate { taken: vec![false; operations.len()], latency, answer: Ok(answer) };
        }
        let words = operations.iter().map(|operation| match poisonous(operation) {
            true => "refused",
            false if self.is_stuck(operation.0) || self.chance(self.plan.weather.partial) => "later",
            false => "ok",
        });
        let words: Vec<&str> = words.collect();
        let taken = words.iter().map(|word| *word == "ok").collect();
        let answer = Answer { status: 200, headers: HeaderMap::new(), body: Bytes::from(words.join("\n")) };
        Fate { taken, latency, answer: Ok(answer) }
    }
}

#[async_trait]
impl Owner for Machine {
    fn on_hold(&self, _: &LaneId, _: &Hold) {
        self.0.lock().held = true;
    }

    async fn renew(&self, _: &LaneId) -> Option<Arc<dyn Sink>> {
        self.0.clock.sleep(Duration::from_secs(1)).await;
        let (_, renewable) = self.0.plan.credential?;
        if !renewable {
            return None;
        }
        self.0.lock().vendor.credential_mended = true;
        Some(Arc::new(SimulatedSink::new(&self.0)))
    }
}
