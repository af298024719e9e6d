//! The events of a lane that wait: for their next attempt, or for an earlier event of their person.

use pipeline::Micros;
use pipeline::delivery::lane_store::Parked;
use pipeline::delivery::{Class, Trigger};
use pipeline::log::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// The waiting events of a lane, by offset, by person and by the time they are due.
///
/// The first event of each of its keys is a head; only heads are ever due, so the events of a person
/// leave in offset order. Key 0 stands for no person and holds nobody back.
///
/// Three trees: about 200 bytes for an event with two keys (measured), so a million take about 200 MB.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Parking {
    items: BTreeMap<Offset, Item>,
    by_key: BTreeSet<(u64, Offset)>,
    due: BTreeSet<(Micros, Offset)>,
    taken: BTreeSet<Offset>,
}

/// What is kept of a waiting event; see [`Parked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Item {
    pub(in crate::engine) keys: [u64; 2],
    pub(in crate::engine) first_at: Micros,
    /// [`AT_ONCE`] when nothing but earlier events keeps it.
    pub(in crate::engine) due_at: Micros,
    pub(in crate::engine) sendable_us: u64,
    pub(in crate::engine) attempt: u32,
    pub(in crate::engine) class: Option<Class>,
    pub(in crate::engine) trigger: Trigger,
}

/// The due time of an event that waits for nothing but earlier events.
pub(in crate::engine) const AT_ONCE: Micros = Micros::MIN;

impl Parking {
    pub(in crate::engine) fn len(&self) -> usize {
        self.items.len()
    }

    pub(in crate::engine) fn get(&self, offset: Offset) -> Option<&Item> {
        self.items.get(&offset)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (Offset, &Item)> {
        self.items.iter().map(|(offset, item)| (*offset, item))
    }

    /// Puts an event in, in place of what was known of it.
    pub(in crate::engine) fn insert(&mut self, offset: Offset, item: Item) {
        self.remove(offset);
        self.items.insert(offset, item);
        for key in used(item.keys) {
            self.by_key.insert((key, offset));
            if let Some(next) = self.after(key, Some(offset)) {
                self.arrange(next);
            }
        }
        self.arrange(offset);
    }

    /// Takes an event out; the next ones of its person become heads.
    pub(in crate::engine) fn remove(&mut self, offset: Offset) -> Option<Item> {
        let item = self.items.remove(&offset)?;
        self.due.remove(&(item.due_at, offset));
        self.taken.remove(&offset);
        self.leave(offset, item.keys);
        Some(item)
    }

    /// Makes an event one of nobody, so that it keeps nothing back.
    pub(in crate::engine) fn release(&mut self, offset: Offset) {
        let Some(item) = self.items.get_mut(&offset) else { return };
        let keys = std::mem::take(&mut item.keys);
        self.leave(offset, keys);
        self.arrange(offset);
    }

    /// Whether an event of any of these ids waits.
    pub(in crate::engine) fn blocks(&self, keys: [u64; 2]) -> bool {
        used(keys).any(|key| self.after(key, None).is_some())
    }

    /// The first event that waits with any of these keys.
    pub(in crate::engine) fn first(&self, keys: [u64; 2]) -> Option<Offset> {
        used(keys).filter_map(|key| self.after(key, None)).min()
    }

    /// How many events wait with this key, counted up to `max`.
    pub(in crate::engine) fn count(&self, key: u64, max: usize) -> usize {
        self.by_key.range((key, 0)..=(key, Offset::MAX)).take(max).count()
    }

    /// Whether more than `count` events before this one wait with this key.
    pub(in crate::engine) fn waits_before(&self, key: u64, offset: Offset, count: usize) -> bool {
        self.by_key.range((key, 0)..(key, offset)).nth(count).is_some()
    }

    /// When the next head is due, of those that are not taken.
    pub(in crate::engine) fn next_due(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the head that has been due for longest: it is not due again until it is put back or
    /// decided about.
    pub(in crate::engine) fn take_due(&mut self, now: Micros) -> Option<Offset> {
        let (at, offset) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, offset));
        self.taken.insert(offset);
        Some(offset)
    }

    /// Takes the events behind the taken `head` that nothing but it and each other keeps, ascending;
    /// those that failed before stay, to be sent on their own.
    pub(in crate::engine) fn take_followers(&mut self, head: Offset, max: usize) -> Vec<Offset> {
        let Some(item) = self.items.get(&head) else { return Vec::new() };
        let mut last: BTreeMap<u64, Offset> = used(item.keys).map(|key| (key, head)).collect();
        let mut followers = Vec::new();
        let mut looked_at = BTreeSet::new();
        while followers.len() < max {
            let candidates = last.iter().filter_map(|(key, last)| self.after(*key, Some(*last)));
            let Some(next) = candidates.filter(|next| !looked_at.contains(next)).min() else { break };
            looked_at.insert(next);
            let Some(item) = self.items.get(&next) else { break };
            let free = used(item.keys).all(|key| self.after(key, last.get(&key).copied()) == Some(next));
            if free && item.attempt == 0 && !self.taken.contains(&next) {
                last.extend(used(item.keys).map(|key| (key, next)));
                looked_at.clear();
                self.taken.insert(next);
                followers.push(next);
            }
        }
        followers
    }

    /// Ends the taking of an event that nothing was decided about.
    pub(in crate::engine) fn put_back(&mut self, offset: Offset) {
        if self.taken.remove(&offset) {
            self.arrange(offset);
        }
    }

    /// Ends all takings.
    pub(in crate::engine) fn put_all_back(&mut self) {
        for offset in std::mem::take(&mut self.taken) {
            self.arrange(offset);
        }
    }

    /// Whether the event was taken and nothing has been decided about it since.
    pub(in crate::engine) fn is_taken(&self, offset: Offset) -> bool {
        self.taken.contains(&offset)
    }

    fn leave(&mut self, offset: Offset, keys: [u64; 2]) {
        for key in used(keys) {
            self.by_key.remove(&(key, offset));
        }
        for key in used(keys) {
            if let Some(next) = self.after(key, None) {
                self.arrange(next);
            }
        }
    }

    /// The first event of a key, or the first after one of them.
    fn after(&self, key: u64, last: Option<Offset>) -> Option<Offset> {
        let from = last.map_or(0, |last| last + 1);
        self.by_key.range((key, from)..=(key, Offset::MAX)).next().map(|(_, offset)| *offset)
    }

    /// Makes an event due if it is a head, and not due otherwise.
    fn arrange(&mut self, offset: Offset) {
        let Some(item) = self.items.get(&offset) else { return };
        let head = used(item.keys).all(|key| self.after(key, None) == Some(offset));
        if head && !self.taken.contains(&offset) {
            self.due.insert((item.due_at, offset));
        } else {
            self.due.remove(&(item.due_at, offset));
        }
    }
}

/// The keys that stand for somebody.
pub(in crate::engine) fn used(keys: [u64; 2]) -> impl Iterator<Item = u64> {
    keys.into_iter().filter(|key| *key != 0)
}

impl Item {
    pub(in crate::engine) fn new(parked: &Parked) -> Self {
        Self {
            keys: parked.keys,
            first_at: parked.first_at,
            due_at: parked.next_at.unwrap_or(AT_ONCE),
            sendable_us: parked.sendable_us,
            attempt: parked.attempt,
            class: parked.class,
            trigger: parked.trigger,
        }
    }

    pub(in crate::engine) fn parked(&self, offset: Offset) -> Parked {
        Parked {
            offset,
            keys: self.keys,
            attempt: self.attempt,
            first_at: self.first_at,
            next_at: (self.due_at != AT_ONCE).then_some(self.due_at),
            sendable_us: self.sendable_us,
            class: self.class,
            trigger: self.trigger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(keys: [u64; 2], due_at: Micros, attempt: u32) -> Item {
        Item { keys, first_at: 0, due_at, sendable_us: 0, attempt, class: None, trigger: Trigger::Live }
    }

    #[test]
    fn only_the_first_event_of_a_person_is_ever_due() {
        let mut parking = Parking::default();
        parking.insert(5, item([1, 2], 100, 1));
        parking.insert(7, item([0, 2], AT_ONCE, 0));
        parking.insert(6, item([3, 0], 50, 1));
        assert_eq!((parking.take_due(60), parking.take_due(60)), (Some(6), None), "7 waits for 5");
        assert_eq!(parking.next_due(), Some(100));
        parking.remove(5);
        assert_eq!(parking.take_due(0), Some(7));
    }

    #[test]
    fn an_event_behind_two_persons_waits_for_both() {
        let mut parking = Parking::default();
        parking.insert(1, item([1, 0], 10, 1));
        parking.insert(2, item([2, 0], 10, 1));
        parking.insert(3, item([1, 2], AT_ONCE, 0));
        parking.remove(1);
        assert_eq!(parking.next_due(), Some(10));
        parking.remove(2);
        assert_eq!(parking.take_due(0), Some(3));
    }

    #[test]
    fn followers_leave_with_their_head_unless_somebody_else_keeps_them() {
        let mut parking = Parking::default();
        parking.insert(1, item([1, 0], AT_ONCE, 0));
        parking.insert(2, item([1, 2], AT_ONCE, 0));
        parking.insert(3, item([2, 3], AT_ONCE, 0));
        parking.insert(4, item([1, 9], AT_ONCE, 0));
        parking.insert(0, item([9, 0], 1_000, 1));
        assert_eq!(parking.take_due(0), Some(1));
        assert_eq!(parking.take_followers(1, 10), [2, 3], "4 waits for 0 as well");
        assert_eq!(parking.take_due(0), None);
        parking.put_back(1);
        assert_eq!(parking.take_due(0), Some(1));
    }

    #[test]
    fn a_released_event_keeps_nobody_back() {
        let mut parking = Parking::default();
        parking.insert(1, item([1, 2], 500, 3));
        parking.insert(2, item([2, 0], AT_ONCE, 0));
        parking.release(1);
        assert!(!parking.blocks([1, 0]));
        assert_eq!((parking.take_due(0), parking.next_due()), (Some(2), Some(500)));
    }

    #[test]
    fn a_waiting_event_takes_little_memory() {
        assert!(size_of::<Item>() <= 48, "{}", size_of::<Item>());
    }
}
