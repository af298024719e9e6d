//! The one way in which a table changes: the next version is created, if nobody else has.
//!
//! Delta protocol, "Writer Requirements" (read 2026-11). The commit is built directly, because the
//! library's own way costs more with every active file.

use super::replay::{self, Change, Replayed, State, parse_commit};
use super::{DataFile, Location, Table, TableKind, append};
use crate::Micros;
use crate::clock::HOUR;
use crate::log::LogError;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, Remove, Transaction};
use deltalake_core::logstore::{CommitOrBytes, LogStore as _};
use deltalake_core::protocol::DeltaOperation;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// So many other writers may be first before we give up.
const ATTEMPTS_MAX: usize = 100;

/// After this time without a look at the log its newest version is looked for anew; much shorter
/// than the time for which entries of the log are kept.
const STALE: Micros = HOUR;

/// What a commit is to hold.
pub(super) struct Proposal {
    pub(super) operation: DeltaOperation,
    pub(super) actions: Vec<Action>,
    pub(super) transaction: Option<Transaction>,
}

impl Proposal {
    fn into_bytes(self) -> Result<bytes::Bytes, TransactionError> {
        // The count tells a commit that lost its end from a whole one.
        let actions = self.actions.len() + self.transaction.iter().len() + 1;
        let info = HashMap::from([("flowstateActions".to_owned(), Value::from(actions))]);
        CommitData::new(self.actions, self.operation, info, self.transaction.into_iter().collect())
            .get_bytes()
    }
}

impl Table {
    /// Commits a proposal as the next version, taking in the commits of others as they are met.
    ///
    /// `holds` is asked before each attempt whether the proposal still makes sense; `false` is
    /// returned when it does not, and nothing was committed.
    ///
    /// # Errors
    /// [`LogError::Store`] when the commit failed, or when it is unknown what became of it; what is
    /// at the next version is read before the next attempt, so a repeat cannot commit twice.
    pub(super) async fn commit(
        &self,
        state: &mut State,
        proposal: Proposal,
        holds: impl Fn(&State) -> bool + Send,
    ) -> Result<bool, LogError> {
        let location = &self.location;
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store(format!("table `{}` cannot be committed to", location.kind.name()), error)
        };
        let bytes = proposal.into_bytes().map_err(|error| failed(error.into()))?;
        let changes = || parse_commit(&bytes).map_err(|reason| failed(reason.into()));
        changes()?;
        self.reload_if_stale(state).await?;
        for attempt in 0..ATTEMPTS_MAX {
            if let Some(pause) = pause(attempt, &bytes) {
                tokio::time::sleep(pause).await;
            }
            if !holds(state) {
                return Ok(false);
            }
            let version = state.version + 1;
            let commit = CommitOrBytes::LogBytes(bytes.clone());
            let Err(error) = location.log.write_commit_entry(version, commit, uuid::Uuid::nil()).await else {
                self.take_in(state, version, changes()?)?;
                self.at_tip.store(self.clock.now(), SeqCst);
                return Ok(true);
            };
            // Whatever the error says: what stands in the store decides.
            match location.log.read_commit_entry(version).await.map_err(|error| failed(error.into()))? {
                None => return Err(failed(error.into())),
                Some(found) if found == bytes => {
                    location.store.settle(&format!("{}/_delta_log", location.kind.name())).await?;
                    tracing::info!(
                        table = location.kind.name(),
                        version,
                        "a commit stands though its answer was lost"
                    );
                    self.take_in(state, version, changes()?)?;
                    return Ok(true);
                }
                Some(found) => self.take_in_bytes(state, version, &found)?,
            }
        }
        Err(failed(format!("{ATTEMPTS_MAX} other commits were first").into()))
    }

    /// Takes in what other processes have committed since.
    ///
    /// # Errors
    /// [`LogError::Store`] when a commit cannot be read, [`LogError::Damaged`] when it is damaged.
    pub async fn refresh(&self) -> Result<(), LogError> {
        self.reload_if_stale(&mut *self.state.lock().await).await?;
        loop {
            // Read without a hold on the state: a slow store shall not keep appends waiting.
            let version = self.published.load().version + 1;
            let found = self.location.log.read_commit_entry(version).await.map_err(|error| {
                LogError::store(format!("the log of table `{}` cannot be read", self.kind().name()), error)
            })?;
            let Some(bytes) = found else {
                self.at_tip.store(self.clock.now(), SeqCst);
                return Ok(());
            };
            let mut state = self.state.lock().await;
            if state.version + 1 == version {
                self.take_in_bytes(&mut state, version, &bytes)?;
            }
        }
    }

    /// Reads the whole log again when we have not looked for long. The next version may by then
    /// have been made by another process and cleaned away, and making it anew would lose it.
    async fn reload_if_stale(&self, state: &mut State) -> Result<(), LogError> {
        let now = self.clock.now();
        if now.saturating_sub(self.at_tip.load(SeqCst)) < STALE {
            return Ok(());
        }
        let Some(Replayed { state: newest, damaged: damage, .. }) = replay::replay(&self.location).await?
        else {
            return Err(LogError::Damaged(format!("table `{}` is gone", self.kind().name())));
        };
        if let Some(damage) = damage {
            return Err(replay::damage(&self.location, &damage.path, &damage.reason));
        }
        if newest.version < state.version {
            let (had, found) = (state.version, newest.version);
            return Err(damaged(&self.location, had, &format!("it is gone; the newest is version {found}")));
        }
        *state = newest;
        self.publish(state);
        self.at_tip.store(now, SeqCst);
        Ok(())
    }

    fn take_in_bytes(&self, state: &mut State, version: u64, bytes: &[u8]) -> Result<(), LogError> {
        let changes = parse_commit(bytes).map_err(|reason| damaged(&self.location, version, &reason))?;
        self.take_in(state, version, changes)
    }

    fn take_in(&self, state: &mut State, version: u64, changes: Vec<Change>) -> Result<(), LogError> {
        state.apply(version, changes).map_err(|reason| damaged(&self.location, version, &reason))?;
        self.publish(state);
        Ok(())
    }
}

/// The action that takes a file out of the table; `data_change` where its rows go with it.
pub(super) fn remove(kind: TableKind, file: &DataFile, data_change: bool, now: Micros) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(now / 1_000),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::from([(
            kind.date_column().to_owned(),
            append::date_text(file.received_date),
        )])),
        size: i64::try_from(file.bytes).ok(),
        ..Remove::default()
    }
}

/// How long to wait before an attempt when others were first: not at all at first, later up to half a
/// second. Commits differ by their bytes, so that two that meet do not meet again.
fn pause(attempt: usize, bytes: &[u8]) -> Option<Duration> {
    let most_ms = 4 << attempt.checked_sub(2)?.min(7);
    let at = crc32c::crc32c_append(attempt as u32, bytes);
    Some(Duration::from_millis(u64::from(at) % most_ms))
}

fn damaged(location: &Location, version: u64, reason: &str) -> LogError {
    replay::damage(location, &replay::commit_path(version), reason)
}
