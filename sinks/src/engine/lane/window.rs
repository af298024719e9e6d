//! The events that a lane has in hand: read, mapped, and neither sent nor decided.

use super::ruling::{Ruling, ruling};
use crate::engine::sink::{Failure, Limits, Operation, Verdict};
use crate::engine::state::{Parking, used};
use pipeline::Micros;
use pipeline::delivery::Trigger;
use pipeline::log::Offset;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;

/// The events in hand, in offset order and in their persons' order.
///
/// An event stands in a queue for each of its keys until it is decided. It may be sent when it is
/// first in all of them, or when everything before it is in the same request.
#[derive(Default)]
pub(super) struct Window {
    slots: BTreeMap<Offset, Slot>,
    queues: HashMap<u64, VecDeque<Offset>>,
    ready: BTreeMap<Line, BTreeSet<Offset>>,
    bytes: usize,
    again: usize,
}

/// An event in hand.
pub(super) struct Slot {
    pub(super) keys: [u64; 2],
    /// Whether it waited in the parking before: it is sent again, or after an earlier one.
    pub(super) again: bool,
    pub(super) attempt: u32,
    pub(super) sendable_us: u64,
    pub(super) trigger: Trigger,
    pub(super) message_id: String,
    pub(super) operations: Vec<Operation>,
    /// How many operations the vendor has taken.
    pub(super) done: usize,
    /// No request that holds it has more operations.
    pub(super) share_max: usize,
    /// When it was read.
    pub(super) since: Micros,
    /// In a request, or decided and on its way to the journal.
    pub(super) busy: bool,
}

/// Operations that may share a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) again: bool,
    pub(super) endpoint: usize,
    pub(super) group: String,
}

/// An event's part in a request: some of its operations, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: Offset,
    pub(super) operations: Range<usize>,
}

/// What [`Window::cut`] took.
#[derive(Default)]
pub(super) struct Cut {
    /// The parts of one request.
    pub(super) parts: Vec<Part>,
    /// New events that have to wait behind parked ones.
    pub(super) blocked: Vec<Offset>,
    /// Events that were parked and have to wait there again, because one before them failed.
    pub(super) returned: Vec<Offset>,
}

impl Slot {
    /// An event that is not sent, but holds back those behind it until its record is durable.
    pub(super) fn decided(keys: [u64; 2], trigger: Trigger, message_id: String, now: Micros) -> Self {
        Self {
            keys,
            again: false,
            attempt: 0,
            sendable_us: 0,
            trigger,
            message_id,
            operations: Vec::new(),
            done: 0,
            share_max: 1,
            since: now,
            busy: true,
        }
    }

    /// The operations that come next and may share a request.
    fn run(&self) -> Range<usize> {
        let first = &self.operations[self.done];
        let rest = &self.operations[self.done..];
        let same = rest.iter().take_while(|o| o.endpoint == first.endpoint && o.group == first.group);
        self.done..self.done + same.count()
    }

    /// Counts the operations that the vendor took; the first failure, if there is one.
    pub(super) fn take_verdicts(&mut self, verdicts: Vec<Verdict>, operations: usize) -> Option<Failure> {
        for verdict in verdicts {
            match verdict {
                Verdict::Failed(failure) if ruling(&failure, operations) != Ruling::Delivered => {
                    return Some(failure);
                }
                _ => self.done += 1,
            }
        }
        None
    }

    fn line(&self) -> Line {
        let next = &self.operations[self.done];
        Line { again: self.again, endpoint: next.endpoint, group: next.group.clone() }
    }

    fn is_on(&self, line: &Line) -> bool {
        let next = &self.operations[self.done];
        self.again == line.again && next.endpoint == line.endpoint && next.group == line.group
    }

    fn bytes(&self) -> usize {
        self.operations.iter().map(|operation| operation.body.len()).sum()
    }
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many of the events were parked before.
    pub(super) fn again(&self) -> usize {
        self.again
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&Slot> {
        self.slots.get(&offset)
    }

    pub(super) fn get_mut(&mut self, offset: Offset) -> Option<&mut Slot> {
        self.slots.get_mut(&offset)
    }

    /// Takes an event in, which has at least one operation or is decided: in offset order among those of its person
    /// that are not in a request.
    pub(super) fn push(&mut self, offset: Offset, slot: Slot) {
        for key in used(slot.keys) {
            let slots = &self.slots;
            let queue = self.queues.entry(key).or_default();
            let before = |other: &Offset| *other < offset || slots.get(other).is_some_and(|slot| slot.busy);
            let place = queue.iter().rposition(before).map_or(0, |place| place + 1);
            queue.insert(place, offset);
            if place == 0
                && let Some(second) = queue.get(1).copied()
            {
                self.unready(second);
            }
        }
        self.bytes += slot.bytes();
        self.again += usize::from(slot.again);
        self.slots.insert(offset, slot);
        self.make_ready(offset);
    }

    /// Lets an event go that is decided; those behind it move up.
    pub(super) fn finish(&mut self, offset: Offset) {
        let Some(slot) = self.slots.remove(&offset) else { return };
        self.bytes -= slot.bytes();
        self.again -= usize::from(slot.again);
        for key in used(slot.keys) {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            if queue.front() == Some(&offset) {
                queue.pop_front();
            } else {
                queue.retain(|other| *other != offset);
            }
            match queue.front().copied() {
                Some(next) => self.make_ready(next),
                None => {
                    self.queues.remove(&key);
                }
            }
        }
    }

    /// Takes an event that is about to be decided, so that no request does.
    pub(super) fn set_aside(&mut self, offset: Offset) {
        let Some(slot) = self.slots.get_mut(&offset) else { return };
        slot.busy = true;
        self.unready(offset);
    }

    /// Takes an event back that was cut and is not decided.
    pub(super) fn put_back(&mut self, offset: Offset) {
        if let Some(slot) = self.slots.get_mut(&offset) {
            slot.busy = false;
            self.make_ready(offset);
        }
    }

    /// Lets everything go.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The lines with something to send, each with how many events wait first in it and since when
    /// the oldest does.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Line, usize, Micros)> {
        self.ready.iter().filter_map(|(line, ready)| {
            let oldest = self.slots.get(ready.first()?)?;
            Some((line, ready.len(), oldest.since))
        })
    }

    /// The first event of a line.
    pub(super) fn first(&self, line: &Line) -> Option<Offset> {
        self.ready.get(line)?.first().copied()
    }

    /// Takes as much of a line as fits into one request, from the first event at or above `from` that
    /// may go, and then from the beginning. What is taken is busy.
    pub(super) fn cut(&mut self, line: &Line, limits: &Limits, from: Offset, parking: &Parking) -> Cut {
        let mut cut = Cut::default();
        let Some(mut ready) = self.ready.remove(line) else { return cut };
        let mut room = Room {
            operations: limits.operations_max.max(1),
            bytes: limits.batch_bytes_max,
            used: 0,
            full: false,
        };
        while let Some(head) = ready.range(from..).next().or(ready.first()).copied() {
            if room.full {
                break;
            }
            let keys = self.slots[&head].keys;
            if !line.again && parking.blocks(keys) {
                ready.remove(&head);
                self.take_blocked(head, &mut cut.blocked);
                continue;
            }
            if line.again && parking.first(keys).is_some_and(|first| first < head) {
                ready.remove(&head);
                cut.returned.push(head);
                continue;
            }
            if !self.take(head, line, &mut room, &mut cut.parts) {
                break;
            }
            ready.remove(&head);
            self.take_followers(head, line, parking, &mut room, &mut cut.parts);
        }
        if !ready.is_empty() {
            self.ready.insert(line.clone(), ready);
        }
        cut
    }

    /// Puts an event's next operations into the request, as far as they fit.
    fn take(&mut self, offset: Offset, line: &Line, room: &mut Room, parts: &mut Vec<Part>) -> bool {
        let Some(slot) = self.slots.get_mut(&offset).filter(|slot| !slot.busy && slot.is_on(line)) else {
            return false;
        };
        let operations = room.take(slot);
        if operations.is_empty() {
            return false;
        }
        slot.busy = true;
        parts.push(Part { offset, operations });
        true
    }

    /// Puts the events behind `head` into the request whose predecessors are all in it.
    fn take_followers(
        &mut self,
        head: Offset,
        line: &Line,
        parking: &Parking,
        room: &mut Room,
        parts: &mut Vec<Part>,
    ) {
        let mut taken = Taken::default();
        let mut last = head;
        let whole = |slot: &Slot, part: Option<&Part>| {
            part.is_some_and(|part| part.operations.end == slot.operations.len())
        };
        while whole(&self.slots[&last], parts.last()) {
            taken.add(self.slots[&last].keys);
            let Some(next) = self.next_behind(&taken) else { return };
            let keys = self.slots[&next].keys;
            // Those parked before it have to be the ones in this request.
            let behind = |key| parking.waits_before(key, next, if line.again { taken.count(key) } else { 0 });
            if room.full || used(keys).any(behind) || !self.take(next, line, room, parts) {
                return;
            }
            last = next;
        }
    }

    /// Takes a new event whose person waits in the parking, and those behind it.
    fn take_blocked(&mut self, head: Offset, blocked: &mut Vec<Offset>) {
        let mut taken = Taken::default();
        let mut next = Some(head);
        while let Some(offset) = next {
            let Some(slot) = self.slots.get_mut(&offset).filter(|slot| !slot.busy && !slot.again) else {
                return;
            };
            slot.busy = true;
            blocked.push(offset);
            taken.add(self.slots[&offset].keys);
            next = self.next_behind(&taken);
        }
    }

    /// The first event that is behind nothing but what is taken.
    fn next_behind(&self, taken: &Taken) -> Option<Offset> {
        let candidates = taken.0.iter().filter_map(|(key, count)| self.queues.get(key)?.get(*count));
        let free = candidates.filter(|offset| {
            used(self.slots[offset].keys).all(|key| {
                self.queues.get(&key).and_then(|queue| queue.get(taken.count(key))) == Some(offset)
            })
        });
        free.min().copied()
    }

    fn unready(&mut self, offset: Offset) {
        let Some(slot) = self.slots.get(&offset) else { return };
        let line = slot.line();
        if let Some(ready) = self.ready.get_mut(&line) {
            ready.remove(&offset);
            if ready.is_empty() {
                self.ready.remove(&line);
            }
        }
    }

    fn make_ready(&mut self, offset: Offset) {
        let Some(slot) = self.slots.get(&offset).filter(|slot| !slot.busy) else { return };
        let first = |key| self.queues.get(&key).and_then(VecDeque::front) == Some(&offset);
        if used(slot.keys).all(first) {
            self.ready.entry(slot.line()).or_default().insert(offset);
        }
    }
}

/// How many of the first events of each queue are taken.
#[derive(Default)]
struct Taken(BTreeMap<u64, usize>);

impl Taken {
    fn count(&self, key: u64) -> usize {
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn add(&mut self, keys: [u64; 2]) {
        for key in used(keys) {
            *self.0.entry(key).or_default() += 1;
        }
    }
}

/// What is left of a request.
struct Room {
    operations: usize,
    bytes: usize,
    used: usize,
    full: bool,
}

impl Room {
    /// As many of a slot's next operations as fit.
    fn take(&mut self, slot: &Slot) -> Range<usize> {
        let max = self.operations.min(slot.share_max.max(1));
        let run = slot.run();
        let mut end = run.start;
        while end < run.end {
            let bytes = slot.operations[end].body.len();
            if self.used >= max || (self.used > 0 && bytes > self.bytes) {
                self.full = true;
                break;
            }
            self.bytes = self.bytes.saturating_sub(bytes);
            self.used += 1;
            end += 1;
        }
        if end > run.start {
            self.operations = max;
        }
        self.full |= self.used >= self.operations;
        run.start..end
    }
}
