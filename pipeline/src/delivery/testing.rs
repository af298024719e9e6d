//! Records for tests.

use super::{Class, LaneId, Outcome, Record, Trigger};
use crate::log::PartitionId;
use proptest::option::of;
use proptest::prelude::*;

/// A lane of this destination.
pub(crate) fn lane(destination: &str) -> LaneId {
    LaneId {
        destination: destination.into(),
        partition: PartitionId("00000000000000aa".into()),
        replay: None,
    }
}

/// A record that tells itself from others by its number.
pub(crate) fn record(number: u64) -> Record {
    Record {
        lane: lane("slack"),
        at: 1_700_000_000_000_000 + number as i64,
        outcome: Outcome::Delivered,
        trigger: Trigger::Live,
        offsets: vec![number, number + 2],
        keys: Vec::new(),
        cursor: number + 3,
        attempt: 1,
        next_at: None,
        class: None,
        status: Some(200),
        vendor_code: None,
        reason: None,
        latency_us: Some(1_000),
        request: Some(number),
        sent: None,
        answered: None,
        version: 1,
    }
}

/// Any record.
pub(crate) fn records() -> impl Strategy<Value = Record> {
    let text = || ".{0,20}";
    let lane = (text(), text(), of(text())).prop_map(|(destination, partition, replay)| LaneId {
        destination: destination.into(),
        partition: PartitionId(partition.into()),
        replay: replay.map(Into::into),
    });
    let what = (
        proptest::sample::select(&Outcome::ALL[..]),
        proptest::sample::select(&Trigger::ALL[..]),
        of(proptest::sample::select(&Class::ALL[..])),
    );
    let events = (
        proptest::collection::vec(any::<u64>(), 0..20),
        proptest::collection::vec(any::<[u64; 2]>(), 0..20),
        any::<u64>(),
    );
    let numbers = (any::<i64>(), of(any::<i64>()), any::<u32>(), of(any::<u16>()), of(any::<u64>()));
    let texts = (of(text()), of(text()), of(text()), of(text()));
    (lane, what, events, numbers, texts, of(any::<u64>()), any::<u64>()).prop_map(
        |(lane, what, events, numbers, texts, request, version)| {
            let (outcome, trigger, class) = what;
            let (mut offsets, keys, cursor) = events;
            offsets.sort_unstable();
            let (at, next_at, attempt, status, latency_us) = numbers;
            let (vendor_code, reason, sent, answered) = texts;
            Record {
                lane,
                at,
                outcome,
                trigger,
                offsets,
                keys,
                cursor,
                attempt,
                next_at,
                class,
                status,
                vendor_code,
                reason,
                latency_us,
                request,
                sent,
                answered,
                version,
            }
        },
    )
}
