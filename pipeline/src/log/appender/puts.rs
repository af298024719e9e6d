//! Storing each group as an object before anyone is answered, and what happens when that cannot be done.

use super::thread::{Pending, Thread, answer_all};
use crate::log::AppendError;
use crate::log::objects::{Owner, PutError, Unstored};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// How long after a put that failed the group is put again.
pub(super) const PUT_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1_000 });

const RETRY_AFTER_STORE_S: u64 = 5;

/// The way from the thread to the store.
pub(super) struct Puts {
    owner: Owner,
    runtime: tokio::runtime::Runtime,
}

impl Puts {
    pub(super) fn new(owner: Owner) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { owner, runtime })
    }

    fn put(&mut self, group: &Unstored) -> Result<(), PutError> {
        self.runtime.block_on(self.owner.put(group))
    }
}

impl Thread {
    /// Stores what the WAL holds since a moment, where that is wanted, and answers everyone in the
    /// group.
    pub(super) fn store(&mut self, unstored: Unstored, group: Vec<Pending>) {
        let put = self.objects.as_mut().map_or(Ok(()), |objects| objects.put(&unstored));
        match put {
            Ok(()) => {
                self.stored(unstored);
                for pending in group {
                    // A request whose client has gone needs no answer.
                    let _ = pending.answer.send(Ok(pending.appended));
                }
            }
            Err(PutError::Unavailable(reason)) => {
                tracing::warn!(
                    reason,
                    "the store does not take the log's records; appends are refused until it does"
                );
                self.wait_for_store(unstored, reason);
                answer_all(group, || self.refusal().unwrap_or(AppendError::ShuttingDown));
            }
            Err(PutError::Lost(reason)) => {
                self.fail(&reason);
                answer_all(group, || AppendError::Failed(reason.clone()));
            }
        }
    }

    /// Stores the group that waits, when it is time for another try.
    pub(super) fn put_again(&mut self) {
        let due = |tried: &mut (Unstored, Instant)| tried.1.elapsed() >= PUT_AGAIN;
        let Some((unstored, _)) = self.unstored.take_if(due) else { return };
        match self.objects.as_mut().map_or(Ok(()), |objects| objects.put(&unstored)) {
            Ok(()) => {
                *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
                tracing::info!("the store takes the log's records again");
                self.stored(unstored);
            }
            Err(PutError::Unavailable(reason)) => self.wait_for_store(unstored, reason),
            Err(PutError::Lost(reason)) => self.fail(&reason),
        }
    }

    fn wait_for_store(&mut self, unstored: Unstored, reason: String) {
        *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.unstored = Some((unstored, Instant::now()));
    }

    /// Why nothing can be appended just now.
    pub(super) fn refusal(&self) -> Option<AppendError> {
        if let Some(reason) = self.shared.failed.get() {
            return Some(AppendError::Failed(reason.clone()));
        }
        let reason = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(AppendError::StoreUnavailable { reason, retry_after_s: RETRY_AFTER_STORE_S })
    }
}
