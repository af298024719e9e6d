//! How long the requests of a check took.

use crate::engine::{Check, StepState};
use async_trait::async_trait;
use pipeline::egress::{Answer, Http, HttpError, Request};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Sends, and notes how long each exchange took.
pub(super) struct Timed {
    http: Arc<dyn Http>,
    exchanges_ms: Mutex<Vec<u64>>,
}

impl Timed {
    pub(super) fn new(http: Arc<dyn Http>) -> Self {
        Self { http, exchanges_ms: Mutex::default() }
    }

    /// Fills in the times: the first exchange at the first step, which needed it; the last one, where
    /// there are several, at the last step that was not skipped. Steps between share an answer.
    pub(super) fn fill(self, check: &mut Check) {
        let exchanges = self.exchanges_ms.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let (Some(step), Some(ms)) = (check.steps.first_mut(), exchanges.first()) {
            step.ms = *ms;
        }
        let last = check.steps.iter_mut().skip(1).rev().find(|step| step.state != StepState::Skipped);
        if let (Some(step), [_, .., ms]) = (last, exchanges.as_slice()) {
            step.ms = *ms;
        }
    }
}

#[async_trait]
impl Http for Timed {
    async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let begun = Instant::now();
        let answer = self.http.send(request).await;
        let ms = u64::try_from(begun.elapsed().as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        self.exchanges_ms.lock().unwrap_or_else(PoisonError::into_inner).push(ms);
        answer
    }
}
