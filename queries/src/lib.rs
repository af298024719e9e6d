//! The read side: SQL over the log.
//!
//! An [`Engine`] answers one read-only statement at a time over one [`pipeline::log::Snapshot`]:
//! committed Parquet files and the rows that are not committed yet. Beside the log's own tables it
//! has the views `accounting` and `profiles`, and `holes`, which lists what was removed. [`mod@format`] turns answers into JSON, CSV or text.
//!
//! It writes nothing, knows no HTTP route and calls no vendor.

mod answer;
mod condition;
mod date_trunc;
mod engine;
mod error;
mod event;
mod event_views;
pub mod format;
mod holes;
mod json_casts;
mod page;
mod promoted;
mod statement;
mod table;
#[cfg(test)]
mod testing;
mod traits_fold;
mod views;

pub use answer::Answer;
pub use condition::Conditions;
pub use engine::{Engine, EngineConfig, Snapshots};
pub use error::{Position, SqlError};
pub use event::{EventReport, RejectedAt, RepeatAt, SourceReport, StoredAt};
pub use page::{Page, PageOf, Place};
