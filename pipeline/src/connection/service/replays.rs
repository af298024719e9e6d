//! How a person asks for replays.

use super::states::never_enabled;
use super::{ConnectionError, Connections, generate};
use crate::connection::routing::check_condition;
use crate::connection::{Mistake, Replay, ReplayCounts, ReplaySpec, ReplayState, State};

impl Connections {
    /// Every mistake in what a replay should send; empty when there is none.
    pub fn check_replay(&self, spec: &ReplaySpec) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let condition = spec.condition.as_deref();
        mistakes.extend(condition.and_then(|text| check_condition("condition", text, &*self.compiler)));
        if spec.from.zip(spec.to).is_some_and(|(from, to)| from >= to) {
            mistakes.push(Mistake::new("to", "must be later than `from`", "2026-11-24T00:00:00Z"));
        }
        if spec.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            mistakes.push(Mistake::new("rate", "must be a number of events in a second, over 0", "10"));
        }
        mistakes
    }

    /// Begins a replay to a connection. Delivery fills in how much there is to look at.
    ///
    /// # Errors
    /// [`ConnectionError::Wrong`] with every mistake, and [`ConnectionError::State`] when the
    /// connection was never enabled.
    pub async fn begin_replay(&self, connection: &str, spec: ReplaySpec) -> Result<Replay, ConnectionError> {
        let connection = self.store.connection(connection).await?;
        let mistakes = self.check_replay(&spec);
        if !mistakes.is_empty() {
            return Err(ConnectionError::Wrong(mistakes));
        }
        if connection.state == State::Draft {
            return Err(never_enabled(&connection));
        }
        let now = self.clock.now();
        let replay = Replay {
            id: generate::id("rep_", now)?,
            connection: connection.id,
            spec,
            state: ReplayState::Running,
            error: None,
            counts: ReplayCounts::default(),
            created_at: now,
            updated_at: now,
        };
        self.store.add_replay(&replay).await?;
        Ok(replay)
    }

    /// Pauses, resumes or cancels a replay. One that is in this state already stays so.
    ///
    /// # Errors
    /// [`ConnectionError::State`] when it is over.
    pub async fn move_replay(&self, id: &str, to: ReplayState) -> Result<Replay, ConnectionError> {
        let replay = self.store.set_replay_state(id, to, None, self.clock.now()).await?;
        if replay.state != to {
            let message =
                format!("replay `{id}` is {}, which is its end: begin another", replay.state.as_str());
            return Err(ConnectionError::State(message));
        }
        Ok(replay)
    }
}
