//! Which events a destination gets, and in what shape.

mod check;

pub(crate) use check::check_condition;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which events a destination gets, in what shape, how fast and in what order.
///
/// The default sends every event as the vendor's own mapping has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// The kinds of call, such as `track`; empty for all.
    pub kinds: Vec<String>,
    /// The names of `track` events; empty for all. Other kinds are not affected.
    pub names: Vec<String>,
    /// A SQL condition over the columns of `events`; see [`crate::condition`].
    pub condition: Option<String>,
    /// Changes made to each event, one after the other, before the vendor's mapping.
    pub mapping: Vec<Rule>,
    /// At most this many events in a second.
    pub rate_cap: Option<f64>,
    /// What is kept in order; `None` for the vendor's default.
    pub order: Option<Order>,
    /// What is done with events whose request got no answer, where the vendor knows no repeats; `None`
    /// for the vendor's default.
    pub ambiguous: Option<WhenAmbiguous>,
    /// What is done with consent.
    pub consent: Consent,
}

/// What is done with an event that the vendor may have taken, where it would not know the repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenAmbiguous {
    /// It becomes a dead letter, so that a person decides.
    Hold,
    /// It is sent again, and may happen twice.
    #[default]
    Resend,
}

/// What is kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The events of one person.
    PerUser,
    /// Nothing.
    None,
    /// All events of a partition, one request at a time.
    Strict,
}

/// What is done with the consent of `context.consent.categoryPreferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    /// The categories that this destination belongs to; an event is sent only with consent to all of
    /// them. Empty: consent is not asked for.
    pub categories: Vec<String>,
    /// Whether events that say nothing about consent are kept back; by default they are sent.
    pub required: bool,
}

/// One change to an event. Paths are written as in JavaScript, such as `properties.order.id` or
/// `traits.address['postal code']`; the first word is a field of the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Moves a value.
    Rename {
        /// Its path now.
        from: String,
        /// Its new path.
        to: String,
    },
    /// Takes a value out.
    Drop {
        /// Its path.
        path: String,
    },
    /// Puts a fixed value.
    Set {
        /// Its path.
        path: String,
        /// The value.
        value: Value,
    },
    /// Copies the first of several values that is there.
    Copy {
        /// The paths that are tried in turn.
        from: Vec<String>,
        /// The path of the copy.
        to: String,
    },
}
