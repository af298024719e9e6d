//! Taking events in hand: new ones from the feed, and parked ones again when they are due.

use super::snippet;
use super::status::WaitsFor;
use super::window::Slot;
use super::{Ended, Lane, Mode};
use crate::Events;
use crate::engine::selection::Decision;
use crate::engine::sink::{Failure, Mapped, Operation, OrderMode, Scope, TOO_OLD};
use crate::engine::state::trigger;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::delivery::{Class, Outcome, Trigger};
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, Passed, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many events are read and mapped in one go.
const READ_MAX: usize = 128;

/// So many windows may be decided above the cursor, while an event at the cursor is not.
const AHEAD_MAX: usize = 16;

/// How many parked events are read in one go.
const LOAD_MAX: usize = 256;

/// What a read of the feed came to.
pub(super) type Read = (Box<dyn Events>, Result<(Vec<Stored<Event<'static>>>, Offset), LogError>);

/// What reading parked events again came to.
pub(super) struct Loaded {
    offsets: Vec<Offset>,
    revive: bool,
    read: Result<Vec<Stored<Event<'static>>>, LogError>,
}

/// Why an event is not sent that retention has removed meanwhile.
const GONE: &str = "the log no longer has the event";

/// The key that all events of a lane in strict order share.
const EVERYBODY: u64 = 1;

impl Lane {
    /// Reads on if there is room.
    pub(super) fn read(&mut self, now: Micros) {
        if self.reading.is_some() || self.has_no_room() || now < self.read_again_at {
            return;
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.ports.feed.open(self.position),
        };
        let read_max = READ_MAX.min(self.config.bounds.events);
        self.reading = Some(Box::pin(async move {
            let read = reader.next(read_max).await;
            (reader, read)
        }));
    }

    /// Whether the lane has as much in hand as it may, or is at its end.
    pub(super) fn has_no_room(&self) -> bool {
        let bounds = self.config.bounds;
        self.window.len() - self.window.again() >= bounds.events
            || self.window.bytes() >= bounds.bytes
            || self.state.parking.len() >= bounds.parked
            || self.is_far_ahead()
            || self.config.end.is_some_and(|end| self.position >= end)
    }

    /// Whether too many are decided above an event that is not. After a start that one is not in hand
    /// but below the others, and is read whatever their number.
    fn is_far_ahead(&self) -> bool {
        self.state.ahead_len() >= self.config.bounds.events * AHEAD_MAX
            && self.position >= self.state.ahead_end()
    }

    /// How many parked events may be in hand.
    fn again_max(&self) -> usize {
        (self.config.bounds.events / 4).max(1)
    }

    pub(super) fn read_wake(&self) -> Option<Micros> {
        (self.reading.is_none() && !self.has_no_room()).then_some(self.read_again_at)
    }

    /// Takes new events in hand.
    pub(super) fn take_in(&mut self, (mut reader, read): Read, now: Micros) {
        // What is read while nothing is sent is read again afterwards.
        if self.mode != Mode::Running {
            return;
        }
        let (events, next) = match read {
            Ok(read) => read,
            Err(error) => return self.read_failed(error, now),
        };
        self.read_failures = 0;
        let passed = reader.passed();
        self.reader = Some(reader);
        let end = self.config.end.unwrap_or(Offset::MAX);
        let new = |event: &Stored<_>| event.offset < end && !self.state.decided(event.offset);
        let events: Vec<_> = events.into_iter().filter(new).collect();
        self.undecided.extend(events.iter().map(|event| event.offset));
        self.position = next.min(end);
        passed.iter().filter(|passed| passed.from < end).for_each(|passed| self.miss(passed));
        self.prepare(events, false, now);
    }

    /// Writes down and tells that events were gone before they were reached. A crash may have it told again.
    fn miss(&mut self, passed: &Passed) {
        let Passed { from, hole } = passed;
        let rows = match *from == hole.first {
            true => hole.rows.to_string(),
            false => format!("some of {}", hole.rows),
        };
        let [first_day, last_day] = hole.days();
        let reason = format!(
            "the log no longer has {rows} events at offsets {from} to {}, received {first_day} to {last_day} ({})",
            hole.last,
            hole.reason.as_str(),
        );
        let (name, partition) = (&self.state.lane().destination, &self.state.lane().partition);
        metrics::counter!("flowstate_delivery_holes_passed_total", "connection" => name.to_string())
            .increment(1);
        tracing::warn!(
            destination = &**name,
            %partition,
            from = *from,
            last = hole.last,
            rows = hole.rows,
            first_day = first_day.as_str(),
            last_day = last_day.as_str(),
            "`{name}` goes on behind events of partition {partition} that it did not get: {reason}"
        );
        self.decide(Outcome::Missed, Vec::new(), |record| record.reason = Some(reason));
    }

    /// Tries again where that may help.
    fn read_failed(&mut self, error: LogError, now: Micros) {
        if !matches!(error, LogError::Store { .. }) {
            self.ended = Some(Ended::Log(error));
            return;
        }
        let name = &self.state.lane().destination;
        tracing::warn!(destination = &**name, error = %error, "delivery to `{name}` waits: the log could not be read");
        let wait = SECOND << self.read_failures.min(6);
        self.read_failures += 1;
        self.read_again_at = now + wait;
    }

    /// Reads parked events again that are due, and dead ones that somebody wants to be sent.
    pub(super) fn load(&mut self, now: Micros) {
        if self.loading.is_some() || now < self.read_again_at {
            return;
        }
        let revive = !self.reviving.is_empty();
        let offsets = if revive { self.take_reviving() } else { self.take_due(now) };
        if offsets.is_empty() {
            return;
        }
        let events_at = Arc::clone(&self.ports.events_at);
        self.loading = Some(Box::pin(async move {
            let read = events_at.read(&offsets).await;
            Loaded { offsets, revive, read }
        }));
    }

    pub(super) fn load_wake(&self) -> Option<Micros> {
        if self.loading.is_some() || self.window.again() >= self.again_max() {
            return None;
        }
        let due = self.state.parking.next_due()?;
        Some(due.max(self.read_again_at))
    }

    fn take_reviving(&mut self) -> Vec<Offset> {
        let count = self.reviving.len().min(LOAD_MAX);
        let offsets: BTreeSet<Offset> = self.reviving.drain(..count).collect();
        let dead = |offset: &Offset| self.state.decided(*offset) && self.state.parking.get(*offset).is_none();
        offsets.into_iter().filter(dead).collect()
    }

    /// The parked events that are due, and those behind them that waited only for them.
    fn take_due(&mut self, now: Micros) -> Vec<Offset> {
        let room = self.again_max().saturating_sub(self.window.again()).min(LOAD_MAX);
        let mut offsets = Vec::new();
        while offsets.len() < room {
            let Some(head) = self.state.parking.take_due(now) else { break };
            offsets.push(head);
            // An event that failed before is sent before those behind it, not with them.
            if self.state.parking.get(head).is_some_and(|item| item.attempt == 0) {
                offsets.extend(self.state.parking.take_followers(head, room - offsets.len()));
            }
        }
        offsets.sort_unstable();
        offsets
    }

    /// Takes parked events in hand that were read again.
    pub(super) fn take_back(&mut self, loaded: Loaded, now: Micros) {
        let Loaded { offsets, revive, read } = loaded;
        let events = match read {
            Ok(events) => events,
            Err(error) => {
                if revive {
                    self.reviving.extend(&offsets);
                } else {
                    self.put_back_parked(&offsets);
                }
                return self.read_failed(error, now);
            }
        };
        if revive {
            return self.revive(&offsets, &events);
        }
        // Decided meanwhile, or begun anew.
        let taken = |offset: &Offset| self.state.parking.is_taken(*offset);
        let wanted: BTreeSet<Offset> = offsets.into_iter().filter(taken).collect();
        let found: BTreeSet<Offset> = events.iter().map(|event| event.offset).collect();
        let gone: Vec<Offset> = wanted.difference(&found).copied().collect();
        if !gone.is_empty() {
            self.decide(Outcome::Filtered, gone, |record| record.reason = Some(GONE.to_owned()));
        }
        self.prepare(events.into_iter().filter(|event| wanted.contains(&event.offset)).collect(), true, now);
    }

    pub(super) fn put_back_parked(&mut self, offsets: &[Offset]) {
        for offset in offsets {
            self.state.parking.put_back(*offset);
        }
    }

    /// Puts dead events back among those that wait; those that the log no longer has are dead no longer,
    /// as nobody could ever send them.
    fn revive(&mut self, offsets: &[Offset], events: &[Stored<Event<'static>>]) {
        if offsets.is_empty() {
            return;
        }
        let found: BTreeMap<Offset, [u64; 2]> =
            events.iter().map(|event| (event.offset, self.keys(&event.record))).collect();
        let keys = offsets.iter().map(|offset| found.get(offset).copied().unwrap_or_default()).collect();
        self.decide(Outcome::Revived, offsets.to_vec(), |record| {
            record.keys = keys;
            record.trigger = Trigger::Manual;
        });
        let gone: Vec<Offset> =
            offsets.iter().filter(|offset| !found.contains_key(offset)).copied().collect();
        if !gone.is_empty() {
            self.decide(Outcome::Filtered, gone, |record| {
                record.reason = Some(GONE.to_owned());
                record.trigger = Trigger::Manual;
            });
        }
    }

    /// Leaves out what is not meant for the destination, and takes the rest in hand as the vendor
    /// gets it.
    fn prepare(&mut self, events: Vec<Stored<Event<'static>>>, again: bool, now: Micros) {
        let events = match self.unclear.is_empty() {
            true => events,
            false => events.into_iter().filter(|event| !self.decide_unclear(event, now)).collect(),
        };
        let decisions = self.config.selection.decide(&events);
        let mut left_out: BTreeMap<&'static str, (Outcome, Vec<Offset>)> = BTreeMap::new();
        let mut refused = Vec::new();
        for (event, decision) in events.into_iter().zip(decisions) {
            let offset = event.offset;
            let mut leave_out = |outcome: Outcome, reason: &'static str| {
                left_out.entry(reason).or_insert((outcome, Vec::new())).1.push(offset);
            };
            match decision {
                Decision::Filtered(reason) => leave_out(Outcome::Filtered, reason),
                Decision::Suppressed(reason) => leave_out(Outcome::Suppressed, reason),
                Decision::Refused { reason, detail } => {
                    self.name(offset, &event.record.message_id);
                    refused.push((offset, refusal(Class::Validation, &format!("{reason}: {detail}"))));
                }
                Decision::Send => match self.map(event, now) {
                    Ok((keys, message_id, operations)) => {
                        let slot = self.slot(offset, keys, message_id, operations, again, now);
                        self.window.push(offset, slot);
                    }
                    Err(NotSent::Skipped(reason)) => leave_out(Outcome::Filtered, reason),
                    Err(NotSent::Refused(failure, message_id)) => {
                        self.name(offset, &message_id);
                        refused.push((offset, failure));
                    }
                },
            }
        }
        for (reason, (outcome, offsets)) in left_out {
            self.decide(outcome, offsets, |record| record.reason = Some(reason.to_owned()));
        }
        for (offset, failure) in refused {
            self.decide(Outcome::Dead, vec![offset], |record| snippet::describe(record, &failure));
        }
    }

    /// An event's person and operations.
    fn map(&self, event: Stored<Event<'static>>, now: Micros) -> Result<Wanted, NotSent> {
        let manners = self.config.sink.manners();
        let message_id = event.record.message_id.clone().into_owned();
        if manners.is_too_old(&event, now) {
            return Err(NotSent::Refused(refusal(Class::Validation, TOO_OLD), message_id));
        }
        let keys = self.keys(&event.record);
        let event = self.config.mapping.apply(event);
        let operations = match self.config.sink.map(&event) {
            Mapped::Operations(operations) if operations.is_empty() => {
                return Err(NotSent::Skipped("the vendor has nothing for this event"));
            }
            Mapped::Operations(operations) => operations,
            Mapped::Skipped(reason) => return Err(NotSent::Skipped(reason)),
            Mapped::Refused(failure) => return Err(NotSent::Refused(failure, message_id)),
        };
        for operation in &operations {
            let Some(limits) = manners.endpoints.get(operation.endpoint) else {
                let failure = refusal(Class::Unknown, "the vendor has no such endpoint");
                return Err(NotSent::Refused(failure, message_id));
            };
            if operation.body.len() > limits.operation_bytes_max {
                let (bytes, most) = (operation.body.len(), limits.operation_bytes_max);
                let detail =
                    format!("the event has {bytes} bytes, the destination takes {most}; it was not sent");
                return Err(NotSent::Refused(refusal(Class::TooLarge, &detail), message_id));
            }
        }
        Ok((keys, message_id, operations))
    }

    fn slot(
        &self,
        offset: Offset,
        keys: [u64; 2],
        message_id: String,
        operations: Vec<Operation>,
        again: bool,
        now: Micros,
    ) -> Slot {
        let item = self.state.parking.get(offset).filter(|_| again);
        let attempt = item.map_or(0, |item| item.attempt);
        let endpoint = operations.first().map_or(0, |operation| operation.endpoint);
        let limits = self.config.sink.manners().endpoints.get(endpoint);
        let most = limits.map_or(1, |limits| limits.operations_max);
        Slot {
            keys: item.map_or(keys, |item| item.keys),
            again,
            attempt,
            sendable_us: item.map_or(0, |item| item.sendable_us),
            trigger: item.map_or(trigger(self.state.lane()), |item| item.trigger),
            message_id,
            operations,
            done: 0,
            // With every attempt it shares its request with fewer others, in case it is the one that fails.
            share_max: (most >> attempt.min(31)).max(1),
            since: now,
            busy: false,
        }
    }

    /// Keeps the message id of an event that is given up without being in hand, for its dead letter.
    pub(super) fn name(&mut self, offset: Offset, message_id: &str) {
        self.names.insert(offset, message_id.to_owned());
    }

    /// Hashes of the ids that an event's order depends on, each with its kind; 0 for none.
    pub(super) fn keys(&self, event: &Event<'_>) -> [u64; 2] {
        let key =
            |id: &Option<_>, kind| id.as_ref().map_or(0, |id: &std::borrow::Cow<'_, str>| hash(id, kind));
        match self.config.order {
            OrderMode::PerUser => [key(&event.user_id, 1), key(&event.anonymous_id, 2)],
            OrderMode::None => [0, 0],
            OrderMode::Strict => [EVERYBODY, 0],
        }
    }

    /// What the intake waits for, if nothing else does.
    pub(super) fn intake_waits_for(&self, now: Micros) -> WaitsFor {
        if now < self.read_again_at {
            return WaitsFor::Log { until: self.read_again_at };
        }
        if self.state.parking.len() >= self.config.bounds.parked {
            return WaitsFor::Retries;
        }
        WaitsFor::Events
    }
}

/// What is sent for an event: its person's keys, its message id, its operations.
type Wanted = ([u64; 2], String, Vec<Operation>);

/// Why nothing is sent for an event.
enum NotSent {
    Skipped(&'static str),
    /// Never taken; with its message id.
    Refused(Failure, String),
}

fn refusal(class: Class, detail: &str) -> Failure {
    Failure {
        class,
        scope: Scope::Item,
        retry_after: None,
        status: None,
        vendor_code: None,
        detail: detail.to_owned(),
        remedy: String::new(),
    }
}

fn hash(id: &str, kind: u64) -> u64 {
    xxh3_64_with_seed(id.as_bytes(), kind).max(1)
}
