//! Shares the node's requests among all destinations.

mod queue;
#[cfg(test)]
mod tests;

use queue::{Queue, Waiting};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// How many requests a node has under way at once, unless it is told otherwise.
pub const PERMITS: usize = 512;

/// Shares the node's requests among all destinations, so that one that is slow cannot take them all.
///
/// Beyond a quarter of all permits a destination gets only what leaves a quarter free, so that there
/// is always something for the others, and when all are in use it goes back to its quarter. Another
/// quarter is kept for first attempts and one for repeated ones. Those who wait are served in turn,
/// one permit for each destination: a deficit round robin in which every request costs the same.
/// Clones share the permits.
#[derive(Clone, Debug)]
pub struct Fair(Arc<Mutex<Queue>>);

/// The leave to have one request under way; given back when dropped.
#[must_use = "dropping it gives it back"]
#[derive(Debug)]
pub struct Permit {
    fair: Fair,
    destination: Arc<str>,
    again: bool,
}

impl Default for Fair {
    fn default() -> Self {
        Self::new(PERMITS)
    }
}

impl Fair {
    /// So many permits, at least 1.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue::new(permits.max(1)))))
    }

    /// A permit, if there is one for this destination now. `again` says that operations are repeated
    /// that were sent before.
    pub fn try_acquire(&self, destination: &Arc<str>, again: bool) -> Option<Permit> {
        self.with(|queue| queue.try_take(destination, again)).then(|| self.permit(destination, again))
    }

    /// Waits for a permit. Dropping the future gives the place in the queue up, and the permit where
    /// it was given already.
    pub fn acquire(
        &self,
        destination: &Arc<str>,
        again: bool,
    ) -> impl Future<Output = Permit> + Send + use<> {
        let (give, given) = oneshot::channel();
        self.with(|queue| queue.wait(destination, Waiting { again, give }));
        self.serve();
        let fair = self.clone();
        async move {
            let _alive = fair;
            given.await.expect("the queue lives as long as those who wait")
        }
    }

    /// How many permits are free.
    pub fn free(&self) -> usize {
        self.with(|queue| queue.free())
    }

    /// Gives permits to those who wait, as far as there are any.
    fn serve(&self) {
        // Outside of the lock: a permit that nobody takes any more gives itself back.
        while let Some((destination, waiting)) = self.with(Queue::next) {
            let permit = self.permit(&destination, waiting.again);
            let _ = waiting.give.send(permit);
        }
    }

    fn permit(&self, destination: &Arc<str>, again: bool) -> Permit {
        Permit { fair: self.clone(), destination: Arc::clone(destination), again }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.fair.with(|queue| queue.give_back(&self.destination, self.again));
        self.fair.serve();
    }
}
