//! What became of one request to a destination.

use std::time::Duration;

/// The outcome of one attempt to deliver a batch: one variant for each thing the worker does next.
///
/// A vendor's statuses are mapped onto these; a new variant is made only when the worker would act
/// differently on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The vendor took the batch. The cursor moves on.
    Delivered,
    /// The vendor will never take this batch as it is: it is too large or something in it is wrong.
    /// The batch is split; an event refused by itself is kept as a dead letter.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The vendor's words, at most 2 KB.
        reason: String,
    },
    /// The vendor does not accept the credential. Nothing is lost: the destination waits until a
    /// person has put it right.
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// The vendor asks for fewer requests. The same batch is sent again later.
    RateLimited {
        /// How long the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The vendor failed or could not be reached. The same batch is sent again later, for ever.
    Unavailable {
        /// What failed, without the vendor's body.
        reason: String,
        /// How long the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
    /// No answer came in time, so the vendor may have taken the batch. It is sent again under the
    /// same ids.
    TimedOut,
}

impl Outcome {
    /// The word for it in metrics and log lines.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused { .. } => "refused",
            Self::Unauthorized { .. } => "unauthorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::TimedOut => "timed_out",
        }
    }
}
