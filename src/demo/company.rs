//! The life of a small company, from a seed: who visits its shop, signs up and buys.
//!
//! The same seed, size and time give the same messages, byte for byte.

mod flaw;
mod person;

pub(crate) use flaw::Flaw;

use person::Person;
use pipeline::Micros;
use pipeline::clock::DAY;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

/// How far back the first visit lies.
pub(crate) const LIFE: Micros = 42 * DAY;

/// One message in this many is broken.
const BROKEN_ONE_IN: usize = 120;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The shop's pages and app, with a browser key.
    Website,
    /// The shop's own servers, with a server key.
    Backend,
}

impl Origin {
    pub(crate) const ALL: [Self; 2] = [Self::Website, Self::Backend];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Website => "website",
            Self::Backend => "backend",
        }
    }
}

/// A call in Segment's protocol.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) origin: Origin,
    /// When it leaves its device; later than it happened when the device was offline.
    pub(crate) sent: Micros,
    pub(crate) body: Value,
    /// What is wrong with it, if anything.
    pub(crate) flaw: Option<Flaw>,
}

/// About `count` messages that end at `now`, in the order in which they are sent.
pub(crate) fn life(seed: u64, count: usize, now: Micros) -> Vec<Message> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut messages = Vec::with_capacity(count + 200);
    let mut number = 0;
    while messages.len() < count {
        messages.extend(Person::new(number, now, &mut random).live(&mut random));
        number += 1;
    }
    messages.truncate(count);
    for nth in 0..count.div_ceil(BROKEN_ONE_IN) {
        let victim = random.random_range(0..messages.len());
        let broken = Flaw::ALL[nth % Flaw::ALL.len()].inflict(&messages[victim], nth);
        messages[victim] = broken;
    }
    messages.sort_by_key(|message| message.sent);
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_768_478_400_000_000;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let story = |seed| life(seed, 2_000, NOW).iter().map(|m| m.body.to_string()).collect::<Vec<_>>();
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
    }

    #[test]
    fn message_ids_are_unique_and_nothing_happens_in_the_future() {
        let messages = life(3, 5_000, NOW);
        assert_eq!(messages.len(), 5_000);
        let ids: std::collections::HashSet<_> =
            messages.iter().map(|m| m.body["messageId"].to_string()).collect();
        assert_eq!(ids.len(), messages.len());
        assert!(messages.iter().all(|message| message.sent <= NOW && message.sent >= NOW - LIFE));
    }
}
