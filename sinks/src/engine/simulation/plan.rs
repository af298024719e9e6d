//! What happens in one simulation: everything that a seed decides before it begins.

use super::time::START;
use crate::engine::{Bounds, OrderMode, RetryProfile};
use pipeline::Micros;
use pipeline::clock::{HOUR, SECOND};
use pipeline::connection::WhenAmbiguous;
use pipeline::event::{Event, Kind};
use pipeline::log::{Offset, PartitionId, Stored};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What happens in one simulation.
pub(super) struct Plan {
    pub(super) order: OrderMode,
    pub(super) retry: RetryProfile,
    /// Whether it is a replay, which ends by itself.
    pub(super) replay: bool,
    /// By offset: when each event comes in, by elapsed time, and what it is.
    pub(super) events: BTreeMap<Offset, (Micros, Stored<Event<'static>>)>,
    /// The first offset after the log.
    pub(super) end: Offset,
    /// The events that the vendor refuses for ever, until somebody has put them right.
    pub(super) poison: BTreeSet<Offset>,
    /// An event that is refused for the time being, until then.
    pub(super) stuck: Option<(Offset, Micros)>,
    pub(super) bounds: Bounds,
    pub(super) weather: Weather,
    /// Times at which the vendor is not itself, by elapsed time.
    pub(super) storms: Vec<Storm>,
    /// When the credential dies, and whether it can be renewed.
    pub(super) credential: Option<(Micros, bool)>,
    /// After how many polls each life of the process ends.
    pub(super) crashes: Vec<u64>,
    /// When the time of day is set, and by how much.
    pub(super) jumps: Vec<(Micros, Micros)>,
    /// Whether dead events are sent again at the end.
    pub(super) revive: bool,
    /// What is done with what is ambiguous, where the vendor knows no repeats; `None` where it does.
    pub(super) ambiguous: Option<WhenAmbiguous>,
}

/// How often what goes wrong on an ordinary day, from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) latency_max_ms: u64,
    pub(super) unavailable: f64,
    pub(super) timeout: f64,
    pub(super) reset: f64,
    pub(super) throttled: f64,
    pub(super) partial: f64,
    pub(super) store_fails: f64,
    pub(super) read_fails: f64,
    pub(super) journal_fails: f64,
}

/// A time at which every request fares the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storm {
    pub(super) from: Micros,
    pub(super) until: Micros,
    pub(super) kind: StormKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StormKind {
    Unavailable,
    Timeout,
    Dns,
    Refused,
    Throttled,
}

impl Plan {
    /// An ordinary day without trouble, on which these people do something one after the other, each
    /// at the time given.
    pub(super) fn calm(people: &[&'static str], every: Micros) -> Self {
        let event = |(index, person): (usize, &&'static str)| {
            let (offset, at) = (index as Offset, index as Micros * every);
            let mut event = Event::new(Kind::Track, format!("m{index}"));
            event.event = Some("Order Completed".into());
            event.user_id = Some((*person).into());
            (offset, (at, stored(offset, at, event)))
        };
        Self {
            order: OrderMode::PerUser,
            retry: RetryProfile::Stream,
            replay: false,
            events: people.iter().enumerate().map(event).collect(),
            end: people.len() as Offset,
            poison: BTreeSet::new(),
            stuck: None,
            bounds: Bounds::default(),
            weather: Weather { latency_max_ms: 20, ..Weather::default() },
            storms: Vec::new(),
            credential: None,
            crashes: Vec::new(),
            jumps: Vec::new(),
            revive: false,
            ambiguous: None,
        }
    }

    pub(super) fn new(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let count = random.random_range(1..120);
        let people = random.random_range(1..20);
        let span = [SECOND, 60 * SECOND, HOUR][random.random_range(0..3)];
        let events = events(count, people, span, random);
        let end = events.keys().last().map_or(0, |last| last + 1) + random.random_range(0..3);
        let poisoned = if random.random_bool(0.4) { 0.05 } else { 0.0 };
        let poison = events.keys().copied().filter(|_| random.random_bool(poisoned)).collect();
        let any = events.keys().copied().nth(random.random_range(0..count));
        let stuck =
            any.filter(|_| random.random_bool(0.2)).map(|offset| (offset, random.random_range(0..2 * HOUR)));
        let bounds = match random.random_bool(0.5) {
            true => Bounds::default(),
            false => Bounds {
                events: random.random_range(1..30),
                bytes: random.random_range(1..200),
                parked: random.random_range(1..60),
            },
        };
        let mut crashes = Vec::new();
        for _ in 0..[0, 0, 1, 2, 5][random.random_range(0..5)] {
            // Often early, where a life has just begun.
            let polls_max = [30, 300, 3_000][random.random_range(0..3)];
            crashes.push(random.random_range(1..polls_max));
        }
        let ambiguous = [None, None, None, Some(WhenAmbiguous::Hold), Some(WhenAmbiguous::Resend)];
        let ambiguous = ambiguous[random.random_range(0..5)];
        let mut events = events;
        if ambiguous.is_some() {
            // Such a vendor's events are one operation each.
            events.values_mut().for_each(|(_, event)| event.record.properties = None);
        }
        Self {
            ambiguous,
            order: [
                OrderMode::PerUser,
                OrderMode::PerUser,
                OrderMode::PerUser,
                OrderMode::None,
                OrderMode::Strict,
            ][random.random_range(0..5)],
            retry: RetryProfile::Stream,
            replay: random.random_bool(0.15),
            events,
            end,
            poison,
            stuck,
            bounds,
            weather: Weather::new(random),
            storms: storms(random),
            credential: random
                .random_bool(0.3)
                .then(|| (random.random_range(0..HOUR), random.random_bool(0.5))),
            crashes,
            jumps: (0..random.random_range(0..3))
                .map(|_| {
                    (random.random_range(0..2 * HOUR), if random.random_bool(0.5) { HOUR } else { -HOUR })
                })
                .collect(),
            revive: random.random_bool(0.5),
        }
    }
}

impl Plan {
    /// When the last event comes in.
    pub(super) fn last_at(&self) -> Micros {
        self.events.values().map(|(at, _)| *at).max().unwrap_or(0)
    }
}

impl Weather {
    fn new(random: &mut StdRng) -> Self {
        let mut often =
            |most: f64| if random.random_bool(0.5) { random.random_range(0.0..most) } else { 0.0 };
        let (unavailable, timeout, reset) = (often(0.3), often(0.1), often(0.1));
        let (throttled, partial, store_fails, read_fails) = (often(0.2), often(0.3), often(0.3), often(0.1));
        let latency_max_ms = [1, 50, 2_000][random.random_range(0..3)];
        let journal_fails = if random.random_bool(0.1) { 0.01 } else { 0.0 };
        Self {
            journal_fails,
            latency_max_ms,
            unavailable,
            timeout,
            reset,
            throttled,
            partial,
            store_fails,
            read_fails,
        }
    }
}

fn storms(random: &mut StdRng) -> Vec<Storm> {
    use StormKind::*;
    let count = random.random_range(0..3);
    let storm = |_| {
        let from = random.random_range(0..HOUR);
        let length = [60 * SECOND, 600 * SECOND, 6 * HOUR][random.random_range(0..3)];
        let kind = [Unavailable, Timeout, Dns, Refused, Throttled][random.random_range(0..5)];
        Storm { from, until: from + length, kind }
    };
    (0..count).map(storm).collect()
}

fn events(
    count: usize,
    people: u64,
    span: Micros,
    random: &mut StdRng,
) -> BTreeMap<Offset, (Micros, Stored<Event<'static>>)> {
    let mut events = BTreeMap::new();
    let (mut offset, mut at) = (random.random_range(0..3), 0);
    for number in 0..count {
        let person = random.random_range(0..people);
        let mut event = Event::new(Kind::Track, format!("m{number}"));
        event.event = Some("Order Completed".into());
        // Some are known by one id, some by the other, some by both, which ties the two together.
        let ids = random.random_range(0..3);
        event.user_id = (ids != 0).then(|| format!("u{person}").into());
        event.anonymous_id = (ids != 1).then(|| format!("a{}", person / 2).into());
        event.properties = random.random_bool(0.1).then(|| r#"{"two":true}"#.into());
        if random.random_bool(0.1) {
            event.integrations = Some(r#"{"All":false}"#.into());
        }
        let test = random.random_bool(0.05);
        events.insert(offset, (at, Stored { test, ..stored(offset, at, event) }));
        // Between events lie receipts, which are no events.
        offset += random.random_range(1..4);
        at += random.random_range(1..=(2 * span / count as Micros).max(2));
    }
    events
}

fn stored(offset: Offset, at: Micros, record: Event<'static>) -> Stored<Event<'static>> {
    Stored {
        partition: PartitionId("00000000000000aa".into()),
        offset,
        received_at: START + at,
        source: Arc::from("app"),
        test: false,
        record,
    }
}
