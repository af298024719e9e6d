//! Who has permits, and who waits for one.

use super::Permit;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who has permits, and who waits for one.
#[derive(Debug)]
pub(super) struct Queue {
    total: usize,
    free: usize,
    /// How many are held for first and for repeated attempts.
    held_by_kind: [usize; 2],
    held: BTreeMap<Arc<str>, usize>,
    /// The destinations that wait, in the order of their turns; none without somebody waiting.
    turns: VecDeque<(Arc<str>, VecDeque<Waiting>)>,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) again: bool,
    pub(super) give: oneshot::Sender<Permit>,
}

impl Queue {
    pub(super) fn new(total: usize) -> Self {
        Self { total, free: total, held_by_kind: [0; 2], held: BTreeMap::new(), turns: VecDeque::new() }
    }

    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Takes a permit, if there is one for this destination.
    pub(super) fn try_take(&mut self, destination: &Arc<str>, again: bool) -> bool {
        let may = self.may_take(destination, again);
        if may {
            self.free -= 1;
            self.held_by_kind[usize::from(again)] += 1;
            *self.held.entry(Arc::clone(destination)).or_default() += 1;
        }
        may
    }

    pub(super) fn give_back(&mut self, destination: &Arc<str>, again: bool) {
        self.free += 1;
        self.held_by_kind[usize::from(again)] -= 1;
        if let Some(held) = self.held.get_mut(destination) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(destination);
            }
        }
    }

    pub(super) fn wait(&mut self, destination: &Arc<str>, waiting: Waiting) {
        match self.turns.iter_mut().find(|(waits, _)| waits == destination) {
            Some((_, queue)) => queue.push_back(waiting),
            None => self.turns.push_back((Arc::clone(destination), VecDeque::from([waiting]))),
        }
    }

    /// Takes a permit for the next one who waits and may have it; `None` when nobody may.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, Waiting)> {
        for _ in 0..self.turns.len() {
            let (destination, mut queue) = self.turns.pop_front()?;
            queue.retain(|waiting| !waiting.give.is_closed());
            let chosen = queue.iter().position(|waiting| self.may_take(&destination, waiting.again));
            let chosen = chosen.and_then(|place| queue.remove(place));
            if !queue.is_empty() {
                self.turns.push_back((Arc::clone(&destination), queue));
            }
            if let Some(waiting) = chosen {
                self.try_take(&destination, waiting.again);
                return Some((destination, waiting));
            }
        }
        None
    }

    fn may_take(&self, destination: &Arc<str>, again: bool) -> bool {
        let quarter = self.total / 4;
        let held = self.held.get(destination).copied().unwrap_or_default();
        self.free > 0
            && self.held_by_kind[usize::from(again)] < self.total - quarter
            && (held < quarter.max(1) || self.free > quarter)
    }
}
