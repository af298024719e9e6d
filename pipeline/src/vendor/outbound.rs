//! How a vendor wants events to be sent.

use super::State;
use crate::connection::{Order, WhenAmbiguous};
use serde::{Deserialize, Serialize};

/// Events that go to a vendor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Whether it can be used today.
    pub state: State,
    /// One sentence on what events become there.
    pub how: String,
    /// Its names in the `integrations` object of an event, the usual one first (Spec: Common fields,
    /// read 2026-11). They are case-sensitive.
    pub integrations: Vec<String>,
    /// Whether an event goes there only if its `integrations` object names it; `All` is not enough.
    #[serde(default)]
    pub integrations_explicit: bool,
    /// What a repeated request does.
    pub idempotency: Idempotency,
    /// What is kept in order unless the connection says otherwise.
    pub order: Order,
    /// When failed requests are sent again.
    pub retry: Retry,
    /// Requests under way at once, at most.
    pub concurrency_max: usize,
    /// How much may be sent in what time; all of them hold. Empty where the vendor states nothing.
    #[serde(default)]
    pub rates: Vec<Rate>,
    /// What one request may hold.
    pub endpoints: Vec<Endpoint>,
    /// Older events are not sent, in seconds; absent where the vendor takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_age_max_s: Option<u64>,
}

impl Outbound {
    /// The endpoint with this name; `None` for any other.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }
}

/// What a repeated request does at a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case", deny_unknown_fields)]
pub enum Idempotency {
    /// The same again: it sets what is set already.
    Upsert {
        /// By what the vendor knows that it is the same.
        key: String,
    },
    /// Nothing: the vendor knows the id.
    Key {
        /// What the id is.
        key: String,
        /// How long the vendor knows it, in seconds; absent where it states no end.
        #[serde(skip_serializing_if = "Option::is_none")]
        window_s: Option<u64>,
    },
    /// It happens twice.
    None {
        /// What that means for a user.
        effect: String,
        /// What is done after a lost answer unless the connection says otherwise.
        #[serde(default)]
        ambiguous: WhenAmbiguous,
    },
}

/// When failed requests are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "profile", rename_all = "snake_case", deny_unknown_fields)]
pub enum Retry {
    /// Full jitter from 1 s to 300 s, for four hours in which something could be sent.
    Stream {},
    /// The schedule of Standard Webhooks, about 75 hours.
    Webhooks {},
    /// Five attempts within fifteen minutes.
    Notify {},
    /// As [`Retry::Stream`], but only so many attempts after which the vendor may have taken the
    /// request.
    Few {
        /// How many, at least 1.
        attempts: u32,
    },
}

/// A limit on what is sent in a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How much.
    pub amount: f64,
    /// In how many seconds.
    pub per_s: f64,
    /// Of what.
    pub of: Counted,
    /// What shares the limit, and whether it is the vendor's figure or ours below it.
    pub note: String,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Requests.
    Requests,
    /// Events, however many share a request.
    Events,
}

/// What one request to an endpoint may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name here.
    pub name: String,
    /// Its method and path at the vendor.
    pub request: String,
    /// What one request carries at most, at least 1.
    pub operations_max: usize,
    /// What the vendor states, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_operations_max: Option<usize>,
    /// The size of one request's body, in bytes before compression; absent where nothing is stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes_max: Option<usize>,
    /// What the vendor states, where that differs, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_batch_bytes_max: Option<usize>,
    /// The size of one event as it is sent, in bytes; absent where nothing is stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_bytes_max: Option<usize>,
    /// What the vendor states, where that differs, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_operation_bytes_max: Option<usize>,
    /// How long an event may wait for others to share its request, in ms.
    #[serde(default)]
    pub linger_ms: u64,
}
