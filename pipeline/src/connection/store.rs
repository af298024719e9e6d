//! Where connections, suppressions and replays are kept.

use super::{
    Connection, Credential, IdentifierKind, Reason, Replay, ReplayCounts, ReplayState, Routing, Start, State,
    Suppressed, Suppression,
};
use crate::Micros;
use crate::control::ControlError;
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The part of the control store that holds connections, suppressions and replays.
///
/// Every write is durable and atomic when it returns. Reads see all writes that returned before, of
/// other processes too. What does not exist is [`ControlError::Unknown`], and a write that is refused
/// changes nothing.
#[async_trait]
pub trait ConnectionStore: Send + Sync {
    /// A number that grows with every change that delivery has to follow: to connections, their state,
    /// suppressions, and replays. The results of checks and the counts of replays do not move it.
    async fn changes(&self) -> Result<i64, ControlError>;

    /// Adds a connection. [`ControlError::Exists`] when its name or its id is taken.
    async fn add_connection(&self, connection: &Connection) -> Result<(), ControlError>;
    /// All connections by name.
    async fn connections(&self) -> Result<Vec<Connection>, ControlError>;
    /// The connection with this id.
    async fn connection(&self, id: &str) -> Result<Connection, ControlError>;
    /// Changes a connection's configuration and gives what it is now; its version grows by one.
    /// Credentials replace those of the same name. A credential for a held connection enables it.
    /// [`ControlError::Exists`] when the new name is taken.
    async fn change_connection(
        &self,
        id: &str,
        change: Change,
        now: Micros,
    ) -> Result<Connection, ControlError>;
    /// Puts a connection into a state if it is in one of the states `from` and, where `version` is
    /// given, its version is still that one: news about an old credential must not hold a new one.
    /// Gives the connection as it is then, changed or not.
    async fn set_state(
        &self,
        id: &str,
        from: &[State],
        version: Option<u64>,
        to: State,
        reason: Option<Reason>,
        now: Micros,
    ) -> Result<Connection, ControlError>;
    /// Enables a connection whose live lanes begin at `start`. One that is enabled stays as it is.
    async fn start_connection(&self, id: &str, start: Start) -> Result<Connection, ControlError>;
    /// Keeps what a check found.
    async fn keep_check(&self, id: &str, found: &Value) -> Result<(), ControlError>;
    /// Replaces the sealed bytes of a credential, sealed anew under another key, if they are still
    /// `old`; neither the version nor [`ConnectionStore::changes`] moves.
    async fn reseal(&self, id: &str, name: &str, old: &[u8], new: &[u8]) -> Result<(), ControlError>;
    /// Erases a connection, its credentials and its replays. The ciphertext is overwritten, not only
    /// unlinked. Its name is free again.
    async fn erase_connection(&self, id: &str) -> Result<(), ControlError>;

    /// Suppresses an identifier, or changes the reason of one that is suppressed. The value is kept as
    /// [`IdentifierKind::normal`] has it.
    async fn suppress(&self, suppression: &Suppression) -> Result<(), ControlError>;
    /// Lifts a suppression.
    async fn lift(&self, kind: IdentifierKind, value: &str) -> Result<(), ControlError>;
    /// Suppressions by kind and value, at most `max`, those behind `after` only.
    async fn suppressions(
        &self,
        after: Option<(IdentifierKind, &str)>,
        max: u32,
    ) -> Result<Vec<Suppression>, ControlError>;
    /// All suppressed identifiers.
    async fn suppressed(&self) -> Result<Suppressed, ControlError>;

    /// Adds a replay. [`ControlError::Unknown`] when there is no such connection.
    async fn add_replay(&self, replay: &Replay) -> Result<(), ControlError>;
    /// The newest replays, newest first, at most `max`; of one connection where one is given.
    async fn replays(&self, connection: Option<&str>, max: u32) -> Result<Vec<Replay>, ControlError>;
    /// The replays that are running or paused, oldest first.
    async fn open_replays(&self) -> Result<Vec<Replay>, ControlError>;
    /// The replay with this id.
    async fn replay(&self, id: &str) -> Result<Replay, ControlError>;
    /// Puts a replay into a state, unless it is in one that is final. Gives it as it is then, changed
    /// or not.
    async fn set_replay_state(
        &self,
        id: &str,
        to: ReplayState,
        error: Option<&str>,
        now: Micros,
    ) -> Result<Replay, ControlError>;
    /// Keeps how far a replay is.
    async fn count_replay(&self, id: &str, counts: ReplayCounts, now: Micros) -> Result<(), ControlError>;
}

/// What is changed about a connection; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Another name.
    pub name: Option<String>,
    /// All settings anew.
    pub settings: Option<Map<String, Value>>,
    /// All addresses of hosts anew.
    pub hosts: Option<BTreeMap<String, String>>,
    /// The routing anew.
    pub routing: Option<Routing>,
    /// New credentials by name; those of other names stay.
    pub credentials: BTreeMap<String, Credential>,
    /// Names of credentials that are taken away.
    pub forget: Vec<String>,
}

#[cfg(test)]
pub(crate) mod conformance;
