//! What the console asks of ingest when a file is imported, and the binary answers.

use crate::logged::{Admission, RejectedEvent};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The way in for events from files, and for rejected ones that come again.
pub trait Imports: Send + Sync {
    /// Takes in lines of a file; when it returns, they are durable.
    fn import(&self, piece: Piece) -> BoxFuture<'static, Result<Imported, ImportsError>>;
    /// Admits an event that was rejected; when it returns, the event is durable.
    fn admit(&self, repaired: Repaired) -> BoxFuture<'static, Result<Admission, ImportsError>>;
    /// Says whether an event would be admitted now; nothing is stored.
    fn check(&self, repaired: &Repaired) -> Result<(), ImportsError>;
}

/// An event that was rejected, as it is to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The rejected record.
    pub of: RejectedEvent,
    /// The event as JSON.
    pub event: String,
}

/// Consecutive lines of one file, one event in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The name of the source that the events are of.
    pub source: String,
    /// What the file is known by: the same content, the same text. Ids of events without one are made
    /// of it and the line's number.
    pub file: String,
    /// The number of the first line, counted from 1.
    pub first_line: u64,
    /// Whether destinations get the events.
    pub deliver: bool,
    /// The lines.
    pub lines: Bytes,
}

/// What became of lines; everything in them is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Events stored.
    pub accepted: u64,
    /// Events that had been stored before.
    pub duplicate: u64,
    /// Lines kept aside because they broke a rule.
    pub rejected: u64,
    /// What was wrong, by the code of the rule.
    pub reasons: BTreeMap<String, Reason>,
}

/// Lines that broke the same rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How many.
    pub lines: u64,
    /// The number of the first.
    pub first_line: u64,
    /// What is wrong with that one.
    pub message: String,
}

impl Imported {
    /// Adds what became of later lines of the same file.
    pub fn add(&mut self, later: Self) {
        self.accepted += later.accepted;
        self.duplicate += later.duplicate;
        self.rejected += later.rejected;
        for (code, reason) in later.reasons {
            self.reasons.entry(code).and_modify(|known| known.lines += reason.lines).or_insert(reason);
        }
    }

    /// How many lines there were.
    pub fn lines(&self) -> u64 {
        self.accepted + self.duplicate + self.rejected
    }
}

/// Why lines were not taken in. Nothing of them was kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportsError {
    /// There is no such source.
    #[error("{0}")]
    UnknownSource(String),
    /// The source takes no events. Enable it.
    #[error("{0}")]
    DisabledSource(String),
    /// It breaks a rule still. Correct the field.
    #[error("{message}")]
    Broken {
        /// The stable word for the rule, as for what comes in.
        code: &'static str,
        /// The field, where there is one.
        field: Option<String>,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// They are too many at once. Send fewer.
    #[error("{0}")]
    TooLarge(String),
    /// The log takes nothing now. Try again after the given seconds.
    #[error("{message}")]
    Busy {
        /// Why.
        message: String,
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The log takes nothing until the server is restarted.
    #[error("{0}")]
    Failed(String),
}
