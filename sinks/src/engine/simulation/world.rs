//! The world of one simulation: what is on disk, what the vendor has, and what must never be.

use super::plan::Plan;
use super::time::Virtual;
use crate::engine::OrderMode;
use crate::engine::state::{LaneState, Save, fold};
use pipeline::Micros;
use pipeline::connection::WhenAmbiguous;
use pipeline::delivery::lane_store::{Checkpoint, Dead};
use pipeline::delivery::{LaneId, Outcome, Record, codec};
use pipeline::event::Event;
use pipeline::log::{Offset, PartitionId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// The world of one simulation. It outlives every crash.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) clock: Virtual,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) random: StdRng,
    /// How many times the process has been started.
    pub(super) life: u32,
    pub(super) disk: Disk,
    pub(super) vendor: Vendor,
    pub(super) fates: Fates,
    /// Whether the lane has said that it sends nothing.
    pub(super) held: bool,
    /// What was found to be wrong.
    pub(super) problems: Vec<String>,
}

/// What is durable, and what was on its way there when a crash came.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) journal: Vec<Record>,
    pub(super) appending: Option<Vec<Record>>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) dead: BTreeMap<Offset, Dead>,
    pub(super) saving: Option<Save>,
}

/// What the vendor knows.
#[derive(Default)]
pub(super) struct Vendor {
    /// By event and operation: the life in which it was taken last, and whether the lane was told so.
    pub(super) taken: BTreeMap<(Offset, usize), (u32, bool)>,
    /// The requests under way, by number: the events of each.
    pub(super) under_way: BTreeMap<u64, Vec<Offset>>,
    pub(super) requests: u64,
    /// What came in, and when.
    pub(super) log: Vec<(Micros, Vec<Offset>)>,
    /// In how many requests each event was.
    pub(super) attempts: BTreeMap<Offset, u32>,
    pub(super) credential_mended: bool,
    pub(super) poison_mended: bool,
}

/// What the journal says about each event.
#[derive(Default)]
pub(super) struct Fates {
    pub(super) last: BTreeMap<Offset, Outcome>,
    attempts: BTreeMap<Offset, u32>,
    released: BTreeSet<Offset>,
    revived: BTreeSet<Offset>,
    /// The events of requests that may leave.
    intents: BTreeSet<Offset>,
    /// The events that are ambiguous until a person decides.
    ambiguous: BTreeSet<Offset>,
    /// How many attempts of an event may have been none.
    unclear: BTreeMap<Offset, u32>,
    undecided: BTreeSet<Offset>,
    cursor: Offset,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let fates = Fates { undecided: plan.events.keys().copied().collect(), ..Fates::default() };
        let state = State {
            random: StdRng::seed_from_u64(!seed),
            life: 0,
            disk: Disk::default(),
            vendor: Vendor::default(),
            fates,
            held: false,
            problems: Vec::new(),
        };
        Self { plan, clock: Virtual::default(), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    pub(super) fn lane(&self) -> LaneId {
        LaneId {
            destination: Arc::from("shop"),
            partition: PartitionId("00000000000000aa".into()),
            replay: self.plan.replay.then(|| Arc::from("replay-1")),
        }
    }

    pub(super) fn chance(&self, of: f64) -> bool {
        self.lock().random.random_bool(of.clamp(0.0, 1.0))
    }

    /// Writes down what must never be.
    pub(super) fn problem(&self, problem: String) {
        self.lock().problems.push(problem);
    }

    /// Whether the destination wants an event.
    pub(super) fn wants(&self, offset: Offset) -> bool {
        self.plan
            .events
            .get(&offset)
            .is_some_and(|(_, event)| !event.test && event.record.integrations.is_none())
    }

    pub(super) fn operations(&self, offset: Offset) -> usize {
        let two = self.plan.events.get(&offset).is_some_and(|(_, event)| event.record.properties.is_some());
        1 + usize::from(two)
    }

    /// Whether two events are of one person, as far as their ids tell.
    fn same_person(&self, one: Offset, other: Offset) -> bool {
        let shares = |one: &Event<'_>, other: &Event<'_>| {
            (one.user_id.is_some() && one.user_id == other.user_id)
                || (one.anonymous_id.is_some() && one.anonymous_id == other.anonymous_id)
        };
        match (self.plan.order, self.plan.events.get(&one), self.plan.events.get(&other)) {
            (OrderMode::Strict, ..) => true,
            (OrderMode::PerUser, Some((_, one)), Some((_, other))) => shares(&one.record, &other.record),
            _ => false,
        }
    }

    /// Makes records durable.
    pub(super) fn commit(&self, records: Vec<Record>) -> u64 {
        let mut state = self.lock();
        // Other lanes write into the same journal.
        if state.random.random_bool(0.2)
            && let Some(record) = records.first()
        {
            let lane = LaneId { destination: Arc::from("other"), ..record.lane.clone() };
            state.disk.journal.push(Record { lane, cursor: Offset::MAX, ..record.clone() });
        }
        for record in records {
            // As the journal's bytes have it.
            let mut bytes = Vec::new();
            codec::encode(&record, &mut bytes);
            let record = codec::decode(&bytes).expect("what was written can be read");
            let problem = self.look_at(&mut state, &record);
            state.problems.extend(problem.map(|problem| format!("{problem}: {record:?}")));
            state.disk.journal.push(record);
        }
        state.disk.journal.len() as u64
    }

    /// What is wrong with a record that becomes durable.
    fn look_at(&self, state: &mut State, record: &Record) -> Option<&'static str> {
        let State { fates, vendor, .. } = state;
        let mut problem = None;
        for &offset in &record.offsets {
            if record.outcome == Outcome::Intent {
                fates.intend(offset, record.attempt > 0);
                continue;
            }
            fates.intents.remove(&offset);
            // What is ambiguous is as good as dead, or is tried again.
            let is_ambiguous = record.outcome == Outcome::Ambiguous;
            let outcome = match record.outcome {
                Outcome::Ambiguous if record.next_at.is_some() => Outcome::Retry,
                Outcome::Ambiguous => Outcome::Dead,
                outcome => outcome,
            };
            if is_ambiguous && outcome == Outcome::Dead {
                fates.ambiguous.insert(offset);
            }
            let before = fates.last.get(&offset).copied();
            if record.outcome == Outcome::Ambiguous {
                *fates.unclear.entry(offset).or_default() += 1;
            }
            let known = fates.attempts.get(&offset).copied().unwrap_or(0);
            let sent = vendor.attempts.get(&offset).copied().unwrap_or(0);
            let sent = sent + fates.unclear.get(&offset).copied().unwrap_or(0);
            let poisonous = self.plan.poison.contains(&offset);
            let held = is_ambiguous && self.plan.ambiguous == Some(WhenAmbiguous::Hold);
            let wrong = match outcome {
                Outcome::Released | Outcome::Revived => None,
                _ if before.is_some_and(is_final) => Some("decided twice"),
                Outcome::Filtered if self.wants(offset) => Some("left out an event that is wanted"),
                Outcome::Dead if !poisonous && !held => Some("gave an event up that is fine"),
                Outcome::Retry if record.attempt <= known => Some("counted an attempt twice"),
                Outcome::Retry | Outcome::Delivered | Outcome::Dead if record.attempt > sent => {
                    Some("counted an attempt that was none")
                }
                Outcome::Delivered if !self.is_taken(vendor, offset) => {
                    Some("delivered what the vendor does not have")
                }
                _ => None,
            };
            problem = problem.or(wrong);
            match outcome {
                Outcome::Released => drop(fates.released.insert(offset)),
                Outcome::Revived => {
                    fates.revived.insert(offset);
                    fates.ambiguous.remove(&offset);
                    fates.attempts.remove(&offset);
                    fates.last.insert(offset, Outcome::Revived);
                }
                Outcome::Retry => {
                    fates.attempts.insert(offset, record.attempt);
                    fates.last.insert(offset, Outcome::Retry);
                }
                outcome => drop(fates.last.insert(offset, outcome)),
            }
            fates.undecided.remove(&offset);
        }
        if fates.undecided.first().is_some_and(|first| *first < record.cursor) {
            problem = problem.or(Some("the cursor passed an event that is not decided"));
        }
        if record.cursor < fates.cursor {
            problem = problem.or(Some("the cursor went back"));
        }
        fates.cursor = record.cursor;
        problem
    }

    fn is_taken(&self, vendor: &Vendor, offset: Offset) -> bool {
        (0..self.operations(offset)).all(|operation| vendor.taken.contains_key(&(offset, operation)))
    }

    /// Looks at a request as it leaves: its events in order.
    pub(super) fn look_at_request(&self, offsets: &[Offset], operations: &[(Offset, usize)]) {
        let mut state = self.lock();
        let mut problems = Vec::new();
        if state.held {
            problems.push(format!("sent {offsets:?} while it was held"));
        }
        for (index, &offset) in offsets.iter().enumerate() {
            if self.plan.ambiguous.is_some() && !state.fates.intents.contains(&offset) {
                problems.push(format!("sent {offset}, of which no durable intent is known"));
            }
            if !self.wants(offset) {
                problems.push(format!("sent {offset}, which is not wanted"));
            }
            let fate = state.fates.last.get(&offset).copied();
            if fate.is_some_and(is_final) {
                problems.push(format!("sent {offset} again, which was {fate:?}"));
            }
            // A released event is nobody's, so it keeps to no order.
            let ordered = |offset: Offset| !state.fates.released.contains(&offset);
            let mut under_way =
                state.vendor.under_way.values().flatten().copied().filter(|other| ordered(*other));
            if ordered(offset) && under_way.any(|other| self.same_person(offset, other)) {
                problems.push(format!("sent {offset} while another request of the person was under way"));
            }
            if state.fates.revived.contains(&offset) {
                continue;
            }
            for &earlier in self.plan.events.range(..offset).map(|(earlier, _)| earlier) {
                let decided = state.fates.last.get(&earlier).copied().is_some_and(is_final)
                    || state.fates.released.contains(&earlier)
                    || state.fates.revived.contains(&earlier)
                    || offsets[..index].contains(&earlier);
                if self.wants(earlier) && !decided && self.same_person(offset, earlier) {
                    problems.push(format!("sent {offset} before {earlier}"));
                }
            }
        }
        for &(offset, operation) in operations {
            let (life, taken) = (state.life, state.vendor.taken.get(&(offset, operation)).copied());
            if taken == Some((life, true)) && self.operations(offset) == 1 {
                problems.push(format!("sent {offset} again, which was known to be taken"));
            }
        }
        let at = self.clock.elapsed();
        state.problems.extend(problems.into_iter().map(|problem| format!("at {at} µs: {problem}")));
    }

    /// The process is gone: what was on its way to the disk has arrived or not.
    pub(super) fn crash(&self) {
        let (appending, saving) = {
            let mut state = self.lock();
            state.vendor.under_way.clear();
            (state.disk.appending.take(), state.disk.saving.take())
        };
        if let Some(records) = appending.filter(|_| self.chance(0.5)) {
            self.commit(records);
        }
        if let Some(save) = saving.filter(|_| self.chance(0.5)) {
            self.lock().disk.save(save);
        }
    }

    /// The state that a lane begins with, from the checkpoint and the journal.
    pub(super) fn recover(&self) -> LaneState {
        let state = self.lock();
        let numbered = || (1..).zip(state.disk.journal.iter().cloned());
        let checkpoint = state.disk.checkpoint.clone().unwrap_or_default();
        let recovered = LaneState::recover(self.lane(), &checkpoint, numbered());
        let mut folded = LaneState::new(self.lane(), &Checkpoint::default());
        for (sequence, record) in numbered().filter(|(_, record)| record.lane == self.lane()) {
            fold(&mut folded, sequence, &record);
        }
        drop(state);
        let parked = |state: &LaneState| state.parked().collect::<Vec<_>>();
        if (recovered.cursor(), parked(&recovered)) != (folded.cursor(), parked(&folded)) {
            self.problem(format!("recovered {recovered:?} where the journal says {folded:?}"));
        }
        for offset in self.plan.events.keys() {
            if recovered.decided(*offset) != folded.decided(*offset) {
                self.problem(format!("the checkpoint and the journal differ about {offset}"));
            }
        }
        recovered
    }

    /// What must hold when everything is over.
    pub(super) fn look_at_the_end(&self) {
        let mut recovered = self.recover();
        let mut state = self.lock();
        let mut problems = Vec::new();
        for &offset in self.plan.events.keys() {
            let fate = state.fates.last.get(&offset).copied();
            let right = match fate {
                Some(Outcome::Delivered) => self.wants(offset) && self.is_taken(&state.vendor, offset),
                Some(Outcome::Filtered) => !self.wants(offset),
                Some(Outcome::Dead) if state.fates.ambiguous.contains(&offset) => {
                    self.plan.ambiguous.is_some()
                }
                Some(Outcome::Dead) => self.plan.poison.contains(&offset) && !state.vendor.poison_mended,
                _ => false,
            };
            if !right {
                problems.push(format!("{offset} ended as {fate:?}"));
            }
        }
        if recovered.parked().next().is_some() || recovered.cursor() != self.plan.end {
            problems.push(format!("a quiet lane keeps {recovered:?}, the log ends at {}", self.plan.end));
        }
        // The last checkpoint may not have been saved; the journal knows the rest.
        state.disk.save(recovered.save());
        let dead: Vec<Offset> = state.disk.dead.keys().copied().collect();
        let fated = state.fates.last.iter().filter(|(_, outcome)| **outcome == Outcome::Dead);
        if !fated.map(|(offset, _)| *offset).eq(dead.iter().copied()) {
            problems.push(format!("the dead events that are kept are {dead:?}"));
        }
        state.problems.extend(problems);
    }
}

impl Disk {
    pub(super) fn save(&mut self, save: Save) {
        let checkpoint = self.checkpoint.get_or_insert_default();
        (checkpoint.cursor, checkpoint.journal) = (save.cursor, save.journal);
        let mut parked: BTreeMap<Offset, _> =
            checkpoint.parked.drain(..).map(|parked| (parked.offset, parked)).collect();
        parked.extend(save.put.into_iter().map(|parked| (parked.offset, parked)));
        for offset in save.removed {
            parked.remove(&offset);
        }
        checkpoint.parked = parked.into_values().collect();
        self.dead.extend(save.dead.into_iter().map(|dead| (dead.offset, dead)));
        for offset in save.revived {
            self.dead.remove(&offset);
        }
    }
}

fn is_final(outcome: Outcome) -> bool {
    use Outcome::*;
    matches!(outcome, Delivered | Filtered | Suppressed | Dead)
}

impl Fates {
    fn intend(&mut self, offset: Offset, leaves: bool) {
        if leaves {
            self.intents.insert(offset);
        } else {
            self.intents.remove(&offset);
        }
    }

    pub(super) fn was_revived(&self, offset: Offset) -> bool {
        self.revived.contains(&offset)
    }
}
