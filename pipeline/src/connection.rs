//! Connections: authorised links to accounts at vendors.

mod routing;
mod suppression;

pub use routing::{Consent, Order, Routing, Rule};
pub use suppression::{IdentifierKind, Suppressed};
