//! Conditions on events: SQL boolean expressions over the columns of `events`.
//!
//! Only the seam: the query engine compiles and evaluates them, and the binary hands it over, so that
//! what delivers events need not know a query engine.

use crate::event::Event;
use crate::log::Stored;
use std::sync::Arc;

/// A compiled condition.
pub trait Condition: Send + Sync {
    /// Whether each of the events meets the condition, in their order. What is NULL does not.
    ///
    /// # Errors
    /// When an event cannot be evaluated; the text says why.
    fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String>;
}

/// Compiles conditions.
pub trait Compiler: Send + Sync {
    /// The condition written as `text`, such as `event = 'Order Completed' AND
    /// properties->>'currency' = 'EUR'`.
    ///
    /// # Errors
    /// When the text is no boolean expression over the columns of `events`.
    fn compile(&self, text: &str) -> Result<Arc<dyn Condition>, ConditionError>;
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// What is wrong and what is allowed.
    pub message: String,
    /// The place in the text, in characters from 0, where it is known.
    pub at: Option<usize>,
}
