//! Vendor facts: what Flowstate knows about each third-party service, as data.
//!
//! There is one file for each vendor in `pipeline/vendors`. It draws the form for a new connection,
//! checks what is entered, tells the engine how the vendor wants to be treated and is the catalogue
//! that the API shows. What a vendor's requests look like is code, and not here.

mod auth;
mod check;
mod facts;
mod field;
mod outbound;

pub use auth::{Auth, ClientAuth, Form, OAuth, Scope, TokenSuccess};
pub use check::{Checked, FieldError};
pub use field::{Choice, Field, Kind, Pattern, Rule};
pub use outbound::{Counted, Endpoint, Idempotency, Outbound, Rate, Retry};

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// All vendors, in the order of the catalogue: analytics, CRM, mail, chat, webhooks, calendars,
/// payments.
pub fn all() -> &'static [Vendor] {
    static VENDORS: LazyLock<Vec<Vendor>> = LazyLock::new(|| {
        let parse = |facts: &&str| toml::from_str(facts).expect("a test parses every facts file");
        facts::FACTS.iter().map(parse).collect()
    });
    &VENDORS
}

/// The vendor with this name; `None` for any other.
pub fn named(name: &str) -> Option<&'static Vendor> {
    all().iter().find(|vendor| vendor.name == name)
}

/// A third-party service: facts, no state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    /// Its name in the API: lower case letters and underscores.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// What kind of service it is.
    pub category: Category,
    /// One sentence on what a connection to it does.
    pub summary: String,
    /// The address of the vendor's own documentation.
    pub documentation: String,
    /// The month in which that was read, such as `2026-11`.
    pub read: String,
    /// Events that go to it.
    pub outbound: Outbound,
    /// Data that comes from it.
    pub inbound: Inbound,
    /// The ways to be let in, the recommended one first.
    pub auth: Vec<Auth>,
    /// The hosts that requests go to. A connection may send requests for one of these names to
    /// another address.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// What can be set, in the order of the form.
    #[serde(default)]
    pub settings: Vec<Field>,
    /// What proves who we are, in the order of the form. Everything here is sealed when it is stored.
    #[serde(default)]
    pub credentials: Vec<Field>,
    /// What holds between several fields.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How far a connection can be proven.
    pub proof: Proof,
    /// What a user should know before the surprise.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Vendor {
    /// The name of the host for `purpose`, such as `ingestion`, in `region`; a host without a region
    /// serves all of them. `None` where the vendor has no such host.
    pub fn host(&self, purpose: &str, region: &str) -> Option<&str> {
        let fits = |host: &&Host| {
            host.purpose == purpose && host.region.as_deref().is_none_or(|named| named == region)
        };
        self.hosts.iter().find(fits).map(|host| host.name.as_str())
    }
}

/// What kind of service a vendor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// It counts and shows what people do.
    Analytics,
    /// It holds what a company knows about its customers.
    Crm,
    /// It sends or holds mail.
    Mail,
    /// It carries messages between people.
    Chat,
    /// It is any address that takes requests.
    Webhooks,
    /// It holds appointments.
    Calendar,
    /// It takes money.
    Payments,
}

/// Whether something can be used today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It works.
    Works,
    /// It does not work yet; the facts are there for what is to come.
    Planned,
}

/// Data that comes from a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// Whether it can be used today.
    pub state: State,
    /// One sentence on what comes in and by which way.
    pub how: String,
}

/// A host that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name. A word in braces stands for the setting of that name, or for what the vendor's
    /// answer to the login says.
    pub name: String,
    /// What is asked of it, such as `ingestion` or `api`.
    pub purpose: String,
    /// The choice of the setting `region` or `environment` that leads to it; absent where it is the
    /// same for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// How far a connection can be proven without sending an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Whether the vendor confirms the credentials.
    pub provable: bool,
    /// What is asked, and what a good answer proves.
    pub how: String,
    /// What the vendor does not confirm, and where a person can see it; absent where it confirms all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
}

#[cfg(test)]
mod tests;
