//! What the console asks of delivery, and the binary answers.

use futures::future::BoxFuture;
use pipeline::Micros;
use pipeline::connection::ReplaySpec;
use pipeline::delivery::Class;
use pipeline::log::{Offset, PartitionId};
use serde::Serialize;
use std::collections::BTreeMap;

/// The delivery of events, as far as people look at it and steer it.
///
/// Connections are named by their ids and exist when they are asked about. No answer holds a
/// credential: where a request would, dots stand for it.
pub trait Deliveries: Send + Sync {
    /// How deliveries to a connection stand, from memory; `None` where nothing is delivered.
    fn status(&self, connection: &str) -> Option<Status>;
    /// Proves a connection step by step, and ends after the first step that failed. `sample` allows an
    /// event that a person will see at the vendor.
    fn test(
        &self,
        connection: String,
        sample: bool,
    ) -> BoxFuture<'static, Result<Vec<Step>, DeliveriesError>>;
    /// The requests that the newest events, at most `count`, would make. Nothing is sent.
    fn preview(
        &self,
        connection: String,
        count: usize,
    ) -> BoxFuture<'static, Result<Preview, DeliveriesError>>;
    /// One page of dead letters, newest first.
    fn dead_letters(&self, of: DeadLettersOf) -> BoxFuture<'static, Result<DeadLetters, DeliveriesError>>;
    /// Sends dead letters again, and says how many.
    fn retry_dead(
        &self,
        connection: String,
        which: DeadOnes,
    ) -> BoxFuture<'static, Result<u64, DeliveriesError>>;
    /// What a replay would look at and send. Nothing is sent.
    fn estimate(
        &self,
        connection: String,
        spec: ReplaySpec,
    ) -> BoxFuture<'static, Result<Estimate, DeliveriesError>>;
    /// How long a replay will still take, in seconds; `None` where it does not run or nobody can tell.
    fn remaining(&self, replay: &str) -> Option<u64>;
    /// Connections, suppressions or replays were changed: look at them now rather than soon.
    fn changed(&self);
}

/// Why delivery could not answer.
#[derive(Debug, thiserror::Error)]
pub enum DeliveriesError {
    /// It cannot be done as things are; the message says what to do first.
    #[error("{0}")]
    Refused(String),
    /// Too much is under way. Try again in a moment.
    #[error("{0}")]
    Busy(String),
    /// It failed. Try again; see the program's log.
    #[error("{0}")]
    Failed(String),
}

/// How deliveries to a connection stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// How many events are not decided yet.
    pub lag_events: u64,
    /// For how long the oldest of them has been there, in seconds.
    pub lag_s: f64,
    /// How many events wait to be sent again.
    pub retrying: u64,
    /// What keeps it from sending right now; `None` when nothing does.
    pub waits_for: Option<WaitsFor>,
}

/// What keeps deliveries from going out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitsFor {
    /// The word for it, such as `rate_limited` or `breaker`.
    pub what: String,
    /// One sentence for people.
    pub text: String,
    /// Until when, as RFC 3339, where that is known.
    pub until: Option<String>,
}

/// One step of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Such as `reachable`, `authenticated` or `sample_event`.
    pub name: String,
    /// How it ended.
    pub state: StepState,
    /// What was found: as whom, which host, what the vendor said.
    pub found: String,
    /// What to do; empty where there is nothing to do.
    pub remedy: String,
    /// How long it took, in ms.
    pub ms: u64,
}

/// How a step of a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It holds.
    Passed,
    /// It does not hold; see the remedy.
    Failed,
    /// The vendor gives no way to tell.
    Unprovable,
    /// It was not asked for.
    Skipped,
}

/// What the newest events would make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The events, newest first, each with what would become of it.
    pub events: Vec<PreviewedEvent>,
    /// The requests, in the order in which they would be sent.
    pub requests: Vec<PreviewedRequest>,
}

/// What would become of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewedEvent {
    /// Its message id.
    pub message_id: String,
    /// The partition it lies in.
    pub partition: String,
    /// Its offset there.
    pub offset: Offset,
    /// `sent`, or why not: `filtered`, `suppressed`, `skipped` or `refused`.
    pub outcome: String,
    /// Which rule left it out, or what is wrong with it.
    pub reason: Option<String>,
}

/// A request as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewedRequest {
    /// Its method.
    pub method: String,
    /// Where it would go.
    pub url: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body as text.
    pub body: String,
    /// The message ids of the events in it.
    pub message_ids: Vec<String>,
}

/// Which dead letters are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettersOf {
    /// Of this connection.
    pub connection: String,
    /// Of this class only.
    pub class: Option<Class>,
    /// Behind the page that gave this as [`DeadLetters::next`].
    pub after: Option<u64>,
    /// At most this many.
    pub limit: u32,
}

/// A page of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// The dead letters, newest first.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<u64>,
    /// How many the connection has, of whatever class.
    pub kept: u64,
    /// How many older ones were dropped, ever. Their events are still in the log.
    pub dropped: u64,
}

/// An event that a destination refused for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The event's message id, where it is known.
    pub message_id: Option<String>,
    /// The partition it lies in.
    pub partition: String,
    /// Its offset there.
    pub offset: Offset,
    /// The id of the replay that sent it; `None` for live traffic.
    pub replay: Option<String>,
    /// The word of the [`Class`].
    pub class: String,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// What happened and what to do.
    pub reason: Option<String>,
    /// How many attempts there were.
    pub attempts: u32,
    /// When it was given up, as RFC 3339.
    pub at: String,
}

/// Which dead letters are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadOnes {
    /// All of the connection.
    All,
    /// These.
    At(Vec<(PartitionId, Offset)>),
    /// Those of this class.
    Class(Class),
    /// Those that were given up before this time.
    Before(Micros),
}

/// What a replay would look at and send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Events that it would look at.
    pub scanned: u64,
    /// Of those, events that it would send, as far as that can be told without mapping them.
    pub matched: u64,
    /// Of those, events that would become dead letters, because they happened longer ago than the
    /// destination takes.
    pub too_old: u64,
    /// Whether the figures are exact rather than estimated.
    pub exact: bool,
    /// How long it would take, in seconds, where that can be told.
    pub seconds: Option<u64>,
}
