//! What is fuzzed: the readers of bytes that nobody vouches for.
//!
//! Each function takes any bytes and panics where a promise is broken. The code under test is the
//! rooms' own, file by file.
#![allow(dead_code, reason = "of the rooms' files only the readers are used")]

// Files of `ingest` name the room `pipeline`.
extern crate self as pipeline;

pub mod requests;
pub mod wals;

pub use clock::Micros;
pub use pipeline_room::{clock, event, json, log};

#[path = "../../pipeline/src"]
mod pipeline_room {
    pub mod clock;
    pub mod event;
    pub mod json;

    /// The WAL's format, and what it names of the rest of the log.
    pub mod log {
        pub mod frame;
        pub mod wal;

        pub(crate) mod dedup {
            #[derive(Clone, Copy, Debug)]
            pub(crate) struct IdHash;

            impl IdHash {
                pub(crate) fn of(_source: &str, _message_id: &str) -> Self {
                    Self
                }
            }
        }

        pub use frame::{Batch, Frame, Origin};

        pub type Offset = u64;

        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct PartitionId(pub std::sync::Arc<str>);

        impl std::fmt::Display for PartitionId {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[derive(Debug)]
        pub enum LogError {
            InUse(std::path::PathBuf),
            Damaged(String),
            Store { what: String, source: Box<dyn std::error::Error + Send + Sync> },
        }

        impl LogError {
            pub fn store(
                what: impl Into<String>,
                source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
            ) -> Self {
                Self::Store { what: what.into(), source: source.into() }
            }
        }
    }
}

#[path = "../../ingest/src"]
mod ingest_room {
    pub(crate) mod envelope;
    pub(crate) mod item;
    pub(crate) mod object;
    pub(crate) mod rules;
    pub(crate) mod shared;
    pub(crate) mod text;
}

pub(crate) use ingest_room::{envelope, item, object, rules, shared, text};
