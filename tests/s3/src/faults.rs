//! What goes wrong on demand.

use s3s::{S3Result, s3_error};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is asked of the server, by the permission it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `s3:PutObject`, multipart uploads too.
    Put,
    /// `s3:GetObject`, `HEAD` too.
    Get,
    /// `s3:DeleteObject`.
    Delete,
    /// `s3:ListBucket`.
    List,
}

/// What goes wrong. Nothing does by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Every so many requests, one is answered 503 `SlowDown` and not done; 0 for none.
    pub slow_down_every: u64,
    /// Every so many puts, one is done and answered 500; 0 for none.
    pub lose_answer_every: u64,
    /// How long each request takes longer.
    pub latency: Duration,
    /// Creates overwrite what is there, as some stores do that do not know `If-None-Match`.
    pub lies: bool,
    /// Everything is answered 503.
    pub outage: bool,
    /// These are answered 403 `AccessDenied`.
    pub denied: HashSet<Operation>,
}

#[derive(Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    faults: Faults,
    requests: HashMap<Operation, u64>,
    all_requests: u64,
    puts_done: u64,
}

impl Shared {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    pub(crate) fn requests(&self, operation: Operation) -> u64 {
        self.lock().requests.get(&operation).copied().unwrap_or(0)
    }

    /// Whether creates overwrite.
    pub(crate) fn lies(&self) -> bool {
        self.lock().faults.lies
    }

    /// What happens to a request before it is looked at.
    pub(crate) async fn before(&self, operation: Operation) -> S3Result<()> {
        let (faults, slow_down) = {
            let mut state = self.lock();
            *state.requests.entry(operation).or_default() += 1;
            state.all_requests += 1;
            let every = state.faults.slow_down_every;
            (state.faults.clone(), every > 0 && state.all_requests.is_multiple_of(every))
        };
        if !faults.latency.is_zero() {
            tokio::time::sleep(faults.latency).await;
        }
        if faults.outage {
            return Err(s3_error!(ServiceUnavailable, "out of order on purpose"));
        }
        if faults.denied.contains(&operation) {
            return Err(s3_error!(AccessDenied, "denied on purpose"));
        }
        if slow_down {
            return Err(s3_error!(SlowDown, "slowed down on purpose"));
        }
        Ok(())
    }

    /// What happens to the answer to a put that was done.
    pub(crate) fn after_put(&self) -> S3Result<()> {
        let mut state = self.lock();
        state.puts_done += 1;
        let every = state.faults.lose_answer_every;
        if every > 0 && state.puts_done.is_multiple_of(every) {
            return Err(s3_error!(InternalError, "done, and the answer lost on purpose"));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
