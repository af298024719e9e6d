//! Why a connection could not be made or changed.

use crate::connection::Mistake;
use crate::control::ControlError;
use crate::seal::SealError;

/// Why a connection could not be made or changed. No variant holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Something that was entered is wrong. Show each mistake beside its field.
    #[error("{}", told(.0))]
    Wrong(Vec<Mistake>),
    /// Nothing can be sent to this vendor yet. Choose one of those that work.
    #[error("nothing can be sent to {vendor} yet: what works is `{}`", .works.join("`, `"))]
    NotAvailable {
        /// The vendor's name for people.
        vendor: String,
        /// The names of the vendors that work.
        works: Vec<&'static str>,
    },
    /// The connection or the replay is in a state in which this cannot be done; the message says what
    /// to do first.
    #[error("{0}")]
    State(String),
    /// A credential could not be sealed or opened. Enter it again, or start with the key that sealed it.
    #[error("the credentials cannot be sealed or opened: {0}")]
    Sealed(#[from] SealError),
    /// The control store refused or failed.
    #[error(transparent)]
    Store(#[from] ControlError),
}

fn told(mistakes: &[Mistake]) -> String {
    let each: Vec<_> =
        mistakes.iter().map(|mistake| format!("`{}` {}", mistake.field, mistake.rule)).collect();
    each.join("; ")
}
