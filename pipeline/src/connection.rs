//! Connections: authorised links to accounts at vendors.
//!
//! [`Connections`] makes and changes them, with everything checked and every credential sealed;
//! [`ConnectionStore`] keeps them.

mod mistake;
mod path;
mod record;
mod replay;
mod routing;
mod service;
mod store;
mod suppression;

pub use mistake::Mistake;
pub use path::{Path, PathError};
pub use record::{Connection, Credential, Reason, Start, StartFrom, State, Summary};
pub use replay::{Only, Replay, ReplayCounts, ReplaySpec, ReplayState};
pub use routing::{Consent, Order, Routing, Rule, WhenAmbiguous};
pub use service::{ConnectionError, Connections, Edit, Entered, Made};
#[cfg(test)]
pub(crate) use store::conformance;
pub use store::{Change, ConnectionStore};
pub use suppression::{IdentifierKind, Suppressed, Suppression};
