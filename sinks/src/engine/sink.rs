//! What a vendor's code has to offer.

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::connection::WhenAmbiguous;
use pipeline::control::Secret;
use pipeline::delivery::Class;
use pipeline::egress::{Answer, Http, HttpError, Request};
use pipeline::event::Event;
use pipeline::log::Stored;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why an event is refused that [`Manners::is_too_old`].
pub(crate) const TOO_OLD: &str = "the event happened longer ago than the destination takes";

/// One vendor's way of taking events, made for one connection: pure functions from events to
/// requests and from answers to verdicts.
///
/// The engine does everything else: it leaves out events that are not meant for the destination,
/// sends, waits, keeps a person's order, retries, splits refused batches and keeps account.
///
/// What an event becomes depends on the event and the connection's settings alone, so that every
/// attempt sends the same operations and above all the same ids. An implementation never shows a
/// credential: not in `Debug`, not in a [`Failure`].
#[async_trait]
pub trait Sink: Send + Sync {
    /// How the vendor wants to be treated.
    fn manners(&self) -> &Manners;

    /// What one event becomes at the vendor.
    fn map(&self, event: &Stored<Event<'static>>) -> Mapped;

    /// The one request that carries these operations, at least one, all of one endpoint and one
    /// group, in this order. `now` is the time of the attempt.
    fn request(&self, operations: &[&Operation], now: Micros) -> Request;

    /// What the answer says about each of the operations, in their order. Never shorter or longer
    /// than `operations`.
    fn verdicts(&self, operations: &[&Operation], answer: &Answer, now: Micros) -> Vec<Verdict>;

    /// Proves the connection step by step as far as the vendor lets it; `sample` allows the last
    /// step, an event that a person will see at the vendor.
    ///
    /// It ends after the first step that failed.
    async fn check(&self, http: &dyn Http, now: Micros, sample: bool) -> Check;
}

/// What a connection gives its sink: checked against the vendor's facts before.
#[derive(Clone, Debug)]
pub struct Account {
    /// The settings, by the names of the vendor's facts.
    pub settings: Map<String, Value>,
    /// The credentials, by the names of the vendor's facts.
    pub credentials: BTreeMap<String, Secret>,
}

/// What one event becomes at a vendor.
#[derive(Clone, Debug)]
pub enum Mapped {
    /// One operation or more; the event is delivered when all of them are. Their order is kept.
    Operations(Vec<Operation>),
    /// The vendor has nothing that this event could be. The text says why.
    Skipped(&'static str),
    /// The vendor would not take it, which can be told without asking.
    Refused(Failure),
}

/// A piece of work for a vendor: the event in its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The index of its endpoint in [`Manners::endpoints`].
    pub endpoint: usize,
    /// Only operations with the same text may share a request.
    pub group: String,
    /// The event in the vendor's words, such as one JSON object of an array.
    pub body: Bytes,
}

/// How a vendor wants to be treated; from its facts.
#[derive(Clone, Debug)]
pub struct Manners {
    /// What a repeated operation does.
    pub idempotency: Idempotency,
    /// What is done with an event that may have happened, where idempotency is [`Idempotency::None`],
    /// unless the connection says otherwise.
    pub ambiguous: WhenAmbiguous,
    /// When failed operations are sent again.
    pub retry: RetryProfile,
    /// What is kept in order unless the connection says otherwise.
    pub order: OrderMode,
    /// Requests under way at once, at most.
    pub concurrency_max: usize,
    /// How many requests or events in what time; all of them hold.
    pub rates: Vec<Rate>,
    /// What one request to each endpoint may hold.
    pub endpoints: Vec<Limits>,
    /// Events that happened longer ago are dead letters; in µs.
    pub event_age_max: Option<Micros>,
}

/// What one request to an endpoint may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations in one request, at least 1.
    pub operations_max: usize,
    /// The sum of the bodies of one request, in bytes.
    pub batch_bytes_max: usize,
    /// One body, in bytes. A larger one is refused without asking the vendor.
    pub operation_bytes_max: usize,
    /// How long an operation may wait for others to share its request.
    pub linger: Duration,
}

/// What a repeated operation does at a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// The same again: it sets what is set already.
    Upsert,
    /// Nothing, within this time: the vendor knows the operation's id.
    Key(Duration),
    /// It happens twice. An intent is written down before each request. An event should be one
    /// operation: of several, those taken before are repeated with a later attempt.
    None,
}

/// When failed operations are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryProfile {
    /// Analytics and CRM: full jitter from 1 s to 300 s, for four hours in which the lane could send.
    Stream,
    /// Webhooks: 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, up to a tenth later.
    Webhook,
    /// Chat and mail: five attempts within fifteen minutes.
    Notify,
    /// As [`RetryProfile::Stream`], but this many attempts after which the vendor may have taken the
    /// operation (time-outs, broken connections, 5xx), because a repeat counts twice.
    Few(u32),
}

/// What is kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderMode {
    /// The events of one person.
    PerUser,
    /// Nothing.
    None,
    /// All events of a partition, one request at a time.
    Strict,
}

/// A limit on what is sent in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How much.
    pub amount: f64,
    /// In what time.
    pub per: Duration,
    /// Whether operations are counted rather than requests.
    pub operations: bool,
}

/// What an answer says about one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The vendor took it, or had it already.
    Delivered,
    /// It did not.
    Failed(Failure),
}

/// Why an operation was not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What is done about it.
    pub class: Class,
    /// What it says something about.
    pub scope: Scope,
    /// How long the vendor asked to wait.
    pub retry_after: Option<Duration>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// What happened, in the vendor's words where there are any; at most 2 KB, no secret.
    pub detail: String,
    /// What a person should do, as a sentence; empty where nothing helps but time.
    pub remedy: String,
}

/// What a failure says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This operation alone.
    Item,
    /// The request as a whole: nobody knows which operation it was. The engine halves it.
    Batch,
    /// The destination: every request would fare the same.
    Destination,
}

/// What a check of a connection found, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The steps in their order; those after a failed one are left out.
    pub steps: Vec<Step>,
}

/// One step of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `reachable`, `authenticated`, `permissions`, `object_exists` or `sample_event`.
    pub name: &'static str,
    /// How it ended.
    pub state: StepState,
    /// What was found: as whom, which host, what the vendor said.
    pub found: String,
    /// What to do; empty where there is nothing to do.
    pub remedy: String,
    /// How long it took, in ms. Filled in by whoever times the step.
    pub ms: u64,
}

/// How a step of a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It holds.
    Passed,
    /// It does not hold; see the remedy.
    Failed,
    /// The vendor gives no way to tell; the text says what a person can look at.
    Unprovable,
    /// It was not asked for.
    Skipped,
}

impl Manners {
    /// Whether an event happened longer ago than the vendor takes. An event that is said to have
    /// happened after its receipt happened then.
    pub fn is_too_old(&self, event: &Stored<Event<'_>>, now: Micros) -> bool {
        self.event_age_max.is_some_and(|most| {
            let happened_at = event.record.timestamp(event.received_at).0.min(event.received_at);
            now.saturating_sub(happened_at) > most
        })
    }
}

impl Failure {
    /// The failure of a request that got no answer.
    pub fn unanswered(error: &HttpError) -> Self {
        Self {
            class: error.class,
            scope: Scope::Destination,
            retry_after: None,
            status: None,
            vendor_code: None,
            detail: error.detail.clone(),
            remedy: String::new(),
        }
    }
}
