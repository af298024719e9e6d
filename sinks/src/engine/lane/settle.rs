//! Writing down what was decided: records to the journal, then into the state, then checkpoints.

use super::{CHECKPOINT, Lane, Mode};
use crate::engine::sink::OrderMode;
use crate::engine::state::{Save, fold, trigger, used};
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::control::ControlError;
use pipeline::delivery::{Outcome, Record};
use pipeline::log::Offset;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many events of a person wait behind one, and it is let go of (RudderStack, "Event ordering",
/// read 2026-11).
const BEHIND_MAX: usize = 200;

/// So long an event keeps those behind it back, counting only time in which the lane could send, in µs.
const BLOCKED_MAX: u64 = 1_800 * SECOND as u64;

/// No more records are handed to the journal at once; it takes 64 MiB.
const APPEND_MAX: usize = 256;

/// No record is about more events.
const OFFSETS_MAX: usize = 4_096;

impl Lane {
    /// Decides about events: writes a record of it, to be filled in by `describe`. It counts once the
    /// record is durable.
    pub(super) fn decide(
        &mut self,
        outcome: Outcome,
        mut offsets: Vec<Offset>,
        describe: impl FnOnce(&mut Record),
    ) {
        offsets.sort_unstable();
        for offset in &offsets {
            self.undecided.remove(offset);
        }
        let keys = match outcome {
            Outcome::Retry | Outcome::Waiting | Outcome::Ambiguous => {
                offsets.iter().map(|offset| self.keys_of(*offset)).collect()
            }
            _ => Vec::new(),
        };
        let mut record = Record { keys, ..self.record(outcome, offsets) };
        describe(&mut record);
        self.outbox.push(record);
    }

    /// A record about these events, with everything else to be filled in.
    pub(super) fn record(&mut self, outcome: Outcome, offsets: Vec<Offset>) -> Record {
        Record {
            lane: self.state.lane().clone(),
            at: self.clock.now(),
            outcome,
            trigger: trigger(self.state.lane()),
            offsets,
            keys: Vec::new(),
            cursor: self.undecided.first().copied().unwrap_or(self.position),
            attempt: 0,
            next_at: None,
            class: None,
            status: None,
            vendor_code: None,
            reason: None,
            latency_us: None,
            request: None,
            sent: None,
            answered: None,
            version: self.config.version,
        }
    }

    /// Parks new events whose person has an event that waits.
    pub(super) fn park_behind(&mut self, mut blocked: Vec<Offset>) {
        blocked.sort_unstable();
        for offsets in blocked.chunks(OFFSETS_MAX) {
            self.decide(Outcome::Waiting, offsets.to_vec(), |_| {});
        }
    }

    fn keys_of(&self, offset: Offset) -> [u64; 2] {
        self.window.get(offset).map_or([0; 2], |slot| slot.keys)
    }

    /// Hands the next records to the journal; those of one hand-over share an fsync.
    pub(super) fn append(&mut self) {
        if self.appending.is_some() || self.outbox.is_empty() {
            return;
        }
        let count = self.outbox.len().min(APPEND_MAX);
        self.appended = self.outbox.drain(..count).collect();
        let (records, journal) = (self.appended.clone(), Arc::clone(&self.ports.records));
        self.appending = Some(Box::pin(async move { journal.append(records).await }));
    }

    /// Applies the records that have become durable; `last` is the number of the last of them.
    pub(super) fn fold(&mut self, last: u64) {
        let records = std::mem::take(&mut self.appended);
        let first = last + 1 - records.len() as u64;
        for (sequence, record) in (first..).zip(&records) {
            fold(&mut self.state, sequence, record);
            for offset in &record.offsets {
                self.moved(*offset, record.outcome);
            }
        }
        self.let_leave(&records);
        for record in &records {
            self.let_go(record);
        }
    }

    /// Lets go of an event in hand that was decided about.
    fn moved(&mut self, offset: Offset, outcome: Outcome) {
        if matches!(outcome, Outcome::Released | Outcome::Revived | Outcome::Intent) {
            return;
        }
        let named = self.names.remove(&offset);
        if let Some(dead) = self.state.dead_mut(offset) {
            let sent = self.window.get(offset).map(|slot| slot.message_id.clone());
            dead.message_id = sent.or(named).or(dead.message_id.take());
        }
        self.window.finish(offset);
    }

    /// Lets go of events that keep too many of their person back, or for too long.
    fn let_go(&mut self, record: &Record) {
        if self.config.order != OrderMode::PerUser
            || !matches!(record.outcome, Outcome::Retry | Outcome::Waiting | Outcome::Ambiguous)
        {
            return;
        }
        let keys: BTreeSet<u64> = record.keys.iter().copied().flat_map(used).collect();
        for key in keys {
            let parking = &self.state.parking;
            let Some(head) = parking.first([key, 0]) else { continue };
            let Some(item) = parking.get(head).filter(|_| !parking.is_taken(head)) else { continue };
            let behind = used(item.keys).map(|key| parking.count(key, BEHIND_MAX + 2)).max().unwrap_or(1) - 1;
            let reason = if item.attempt == 0 || behind == 0 {
                continue;
            } else if behind > BEHIND_MAX {
                format!("more than {BEHIND_MAX} later events of the person waited for it")
            } else if item.sendable_us > BLOCKED_MAX {
                "later events of the person waited for it for 30 minutes".to_owned()
            } else {
                continue;
            };
            let (attempt, trigger, class) = (item.attempt, item.trigger, item.class);
            let known = |record: &Record| record.outcome == Outcome::Released && record.offsets == [head];
            if !self.outbox.iter().any(known) {
                self.decide(Outcome::Released, vec![head], |record| {
                    (record.attempt, record.trigger, record.class) = (attempt, trigger, class);
                    record.reason = Some(reason);
                });
            }
        }
    }

    /// Saves what changed, every [`CHECKPOINT`].
    pub(super) fn checkpoint(&mut self, now: Micros) {
        if now < self.save_at || self.saving.is_some() {
            return;
        }
        self.save_at = now + CHECKPOINT;
        if self.is_idle() {
            self.pass_over();
        }
        let save = self.state.save();
        if save.is_nothing_since(&self.saved_at) {
            return;
        }
        let (store, lane) = (Arc::clone(&self.ports.store), self.state.lane().clone());
        self.saving = Some(Box::pin(async move {
            let saved = save.write(&*store, &lane).await;
            (save, saved)
        }));
    }

    /// With nothing under way, moves the cursor past what needs no delivery, and parks what it has in
    /// hand below decided events, so that no checkpoint reaches far back in the journal.
    pub(super) fn pass_over(&mut self) {
        let last = self.state.last_ahead();
        let below: Vec<Offset> = self.undecided.range(..last.unwrap_or(0)).copied().collect();
        if !below.is_empty() && self.mode != Mode::Resuming {
            for offset in &below {
                self.window.set_aside(*offset);
            }
            self.park_behind(below);
        } else if self.undecided.first().copied().unwrap_or(self.position) > self.state.cursor() {
            self.decide(Outcome::Filtered, Vec::new(), |_| {});
        }
    }

    pub(super) fn saved(&mut self, save: Save, saved: Result<(), ControlError>) {
        match saved {
            Ok(()) => self.saved_at = (save.cursor, save.journal),
            Err(error) => {
                let name = &self.state.lane().destination;
                tracing::warn!(destination = &**name, error = %error, "the state of `{name}` could not be saved; it is tried again");
                self.state.not_saved(save);
            }
        }
    }

    /// Saves what changed at the end. What cannot be saved is learnt again from the journal.
    pub(super) async fn save_last(&mut self) {
        if let Some(saving) = self.saving.take() {
            let (save, saved) = saving.await;
            self.saved(save, saved);
        }
        let save = self.state.save();
        let saved = save.write(&*self.ports.store, self.state.lane()).await;
        self.saved(save, saved);
    }
}
