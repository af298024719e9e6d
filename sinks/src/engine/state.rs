//! What a lane knows: a fold over its records in the journal.

mod parking;

pub(in crate::engine) use parking::{AT_ONCE, Item, Parking, used};

use pipeline::control::ControlError;
use pipeline::delivery::lane_store::{Checkpoint, Dead, LaneStore, Parked};
use pipeline::delivery::{Class, LaneId, Outcome, Record, Trigger};
use pipeline::log::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// What a lane knows: how far it is, which events wait, and which were given up.
///
/// It changes only by [`fold`], in a running lane and in recovery alike. Every offset below the
/// cursor is delivered, filtered, suppressed, dead, or waits here.
#[derive(Clone, Debug)]
pub struct LaneState {
    lane: LaneId,
    cursor: Offset,
    journal: u64,
    pub(in crate::engine) parking: Parking,
    /// The decided offsets at or above the cursor, each with the last record about it.
    ahead: BTreeMap<Offset, u64>,
    intents: BTreeMap<Offset, Intent>,
    changes: Changes,
}

/// A request that was about to leave, and of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Intent {
    sequence: u64,
    /// The number of the attempt.
    pub(in crate::engine) attempt: u32,
}

/// What is to be saved: the differences from the last checkpoint.
#[derive(Clone, Debug, Default)]
struct Changes {
    parked: BTreeSet<Offset>,
    dead: BTreeMap<Offset, Dead>,
    revived: BTreeSet<Offset>,
}

/// What a checkpoint writes.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Save {
    pub(in crate::engine) cursor: Offset,
    pub(in crate::engine) journal: u64,
    pub(in crate::engine) put: Vec<Parked>,
    pub(in crate::engine) removed: Vec<Offset>,
    pub(in crate::engine) dead: Vec<Dead>,
    pub(in crate::engine) revived: Vec<Offset>,
}

/// Applies one record of the lane, which has this sequence number in the journal.
///
/// Records are applied in journal order. Applying some of them again, from any place up to the last,
/// ends in the same state; so a checkpoint may name an earlier place than it was taken at.
pub fn fold(state: &mut LaneState, sequence: u64, record: &Record) {
    for (index, &offset) in record.offsets.iter().enumerate() {
        if record.outcome == Outcome::Intent {
            state.intend(offset, Intent { sequence, attempt: record.attempt });
            continue;
        }
        let keys = record.keys.get(index).copied().unwrap_or_default();
        apply(state, record, offset, keys);
        state.changes.parked.insert(offset);
        state.ahead.insert(offset, sequence);
    }
    state.journal = state.journal.max(sequence);
    state.cursor = state.cursor.max(record.cursor);
    state.ahead = state.ahead.split_off(&state.cursor);
}

fn apply(state: &mut LaneState, record: &Record, offset: Offset, keys: [u64; 2]) {
    let known = state.parking.get(offset).copied();
    if !matches!(record.outcome, Outcome::Waiting | Outcome::Released) {
        state.intents.remove(&offset);
    }
    match record.outcome {
        Outcome::Delivered | Outcome::Filtered | Outcome::Suppressed => {
            state.parking.remove(offset);
        }
        Outcome::Ambiguous if record.next_at.is_some() => retry(state, record, offset, keys),
        Outcome::Dead | Outcome::Ambiguous => {
            state.parking.remove(offset);
            state.changes.revived.remove(&offset);
            state.changes.dead.insert(offset, dead(record, offset));
        }
        Outcome::Retry => retry(state, record, offset, keys),
        Outcome::Waiting if known.is_none() => state.parking.insert(offset, Item::waiting(record, keys)),
        Outcome::Revived => {
            state.changes.dead.remove(&offset);
            state.changes.revived.insert(offset);
            if known.is_none() {
                state.parking.insert(offset, Item::waiting(record, keys));
            }
        }
        Outcome::Released => state.parking.release(offset),
        Outcome::Waiting | Outcome::Intent | Outcome::Missed => {}
    }
}

fn retry(state: &mut LaneState, record: &Record, offset: Offset, keys: [u64; 2]) {
    let known = state.parking.get(offset).copied();
    // A record that was applied before has no newer attempt.
    if known.is_some_and(|item| item.attempt >= record.attempt) {
        return;
    }
    let item = known.unwrap_or(Item::waiting(record, keys));
    let due_at = record.next_at.unwrap_or(record.at);
    let wait = u64::try_from(due_at.saturating_sub(record.at)).unwrap_or(0);
    let sendable_us = item.sendable_us.saturating_add(wait);
    let (attempt, class) = (record.attempt, record.class);
    state.parking.insert(offset, Item { due_at, sendable_us, attempt, class, ..item });
}

fn dead(record: &Record, offset: Offset) -> Dead {
    Dead {
        lane: record.lane.clone(),
        offset,
        message_id: None,
        class: record.class.unwrap_or(Class::Unknown),
        status: record.status,
        vendor_code: record.vendor_code.clone(),
        reason: record.reason.clone(),
        attempt: record.attempt,
        at: record.at,
    }
}

impl Item {
    fn waiting(record: &Record, keys: [u64; 2]) -> Self {
        Self {
            keys,
            first_at: record.at,
            due_at: AT_ONCE,
            sendable_us: 0,
            attempt: 0,
            class: None,
            trigger: record.trigger,
        }
    }
}

impl LaneState {
    /// The state at a checkpoint; its records above [`Checkpoint::journal`] are to be folded in next.
    pub fn new(lane: LaneId, checkpoint: &Checkpoint) -> Self {
        let mut parking = Parking::default();
        for parked in &checkpoint.parked {
            parking.insert(parked.offset, Item::new(parked));
        }
        Self {
            lane,
            cursor: checkpoint.cursor,
            journal: checkpoint.journal,
            parking,
            ahead: BTreeMap::new(),
            intents: BTreeMap::new(),
            changes: Changes::default(),
        }
    }

    /// The state at a checkpoint and after the lane's records above it, in journal order.
    pub fn recover(
        lane: LaneId,
        checkpoint: &Checkpoint,
        records: impl IntoIterator<Item = (u64, Record)>,
    ) -> Self {
        let mut state = Self::new(lane, checkpoint);
        for (sequence, record) in records {
            if sequence > checkpoint.journal && record.lane == state.lane {
                fold(&mut state, sequence, &record);
            }
        }
        state
    }

    /// Whose state it is.
    pub fn lane(&self) -> &LaneId {
        &self.lane
    }

    /// The first offset that the lane has not decided.
    pub fn cursor(&self) -> Offset {
        self.cursor
    }

    /// The events that wait, by offset.
    pub fn parked(&self) -> impl Iterator<Item = Parked> {
        self.parking.iter().map(|(offset, item)| item.parked(offset))
    }

    /// Whether something was decided about this offset.
    pub fn decided(&self, offset: Offset) -> bool {
        offset < self.cursor || self.ahead.contains_key(&offset) || self.parking.get(offset).is_some()
    }

    /// The events of requests of which nothing is known, each with its intent.
    pub(in crate::engine) fn intents(&self) -> &BTreeMap<Offset, Intent> {
        &self.intents
    }

    /// Notes a request of another node that was about to leave, and of which nothing is known.
    pub fn unclear(&mut self, offset: Offset, attempt: u32) {
        if !self.decided(offset) {
            self.intend(offset, Intent { sequence: self.journal.max(1), attempt });
        }
    }

    fn intend(&mut self, offset: Offset, intent: Intent) {
        if intent.attempt == 0 {
            self.intents.remove(&offset);
        } else {
            self.intents.insert(offset, intent);
        }
    }

    /// How many offsets at or above the cursor are decided.
    pub(in crate::engine) fn ahead_len(&self) -> usize {
        self.ahead.len()
    }

    /// Everything from here on is undecided.
    pub(in crate::engine) fn ahead_end(&self) -> Offset {
        self.ahead.last_key_value().map_or(self.cursor, |(last, _)| last + 1)
    }

    /// The last decided offset at or above the cursor that no longer waits.
    pub(in crate::engine) fn last_ahead(&self) -> Option<Offset> {
        self.ahead.keys().rev().find(|offset| self.parking.get(**offset).is_none()).copied()
    }

    /// Why an event was given up; `None` once that was saved.
    pub(in crate::engine) fn dead_mut(&mut self, offset: Offset) -> Option<&mut Dead> {
        self.changes.dead.get_mut(&offset)
    }

    /// What has changed since the last call. [`LaneState::not_saved`] takes it back.
    ///
    /// The place in the journal is behind the last record by as much as it takes to learn again which
    /// offsets above the cursor are decided, and which requests were about to leave: a checkpoint does
    /// not hold them.
    pub(in crate::engine) fn save(&mut self) -> Save {
        let changes = std::mem::take(&mut self.changes);
        let again = self.ahead.iter().filter(|(offset, _)| self.parking.get(**offset).is_none());
        let again = again.map(|(_, sequence)| *sequence);
        let again = again.chain(self.intents.values().map(|intent| intent.sequence)).min();
        let journal = again.map_or(self.journal, |sequence| sequence - 1);
        let mut save = Save { cursor: self.cursor, journal, ..Save::default() };
        for offset in changes.parked {
            match self.parking.get(offset) {
                Some(item) => save.put.push(item.parked(offset)),
                None => save.removed.push(offset),
            }
        }
        save.dead = changes.dead.into_values().collect();
        save.revived = changes.revived.into_iter().collect();
        save
    }

    /// Keeps for the next time what could not be saved.
    pub(in crate::engine) fn not_saved(&mut self, save: Save) {
        let offsets = save.put.iter().map(|parked| parked.offset);
        self.changes.parked.extend(offsets.chain(save.removed));
        for dead in save.dead {
            if !self.changes.revived.contains(&dead.offset) {
                self.changes.dead.entry(dead.offset).or_insert(dead);
            }
        }
        let newly_dead = &self.changes.dead;
        self.changes
            .revived
            .extend(save.revived.into_iter().filter(|offset| !newly_dead.contains_key(offset)));
    }
}

impl Save {
    /// Whether nothing has changed since a save with this cursor and journal position.
    pub(in crate::engine) fn is_nothing_since(&self, saved: &(Offset, u64)) -> bool {
        let lists = [self.put.len(), self.removed.len(), self.dead.len(), self.revived.len()];
        lists.iter().all(|length| *length == 0) && (self.cursor, self.journal) == *saved
    }

    pub(in crate::engine) async fn write(
        &self,
        store: &dyn LaneStore,
        lane: &LaneId,
    ) -> Result<(), ControlError> {
        let Self { cursor, journal, put, removed, dead, revived } = self;
        store.save(lane, *cursor, *journal, put, removed, dead, revived).await
    }
}

/// The trigger of a lane's first attempts.
pub(in crate::engine) fn trigger(lane: &LaneId) -> Trigger {
    if lane.replay.is_some() { Trigger::Replay } else { Trigger::Live }
}
