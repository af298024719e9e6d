//! Holes: rows that a table once had and that were taken out of it for good.
//!
//! Offsets are dense when they are given, so a row that is missing is damage, unless a hole says why
//! it is gone. That list has to change in the very commit that takes the rows out, outlive the
//! cleaning of the Delta log, and hinder no other engine. The table property [`HOLES`] does all of it:
//! it stands in the `metaData` action, which is part of the commit and of every checkpoint, and a
//! property asks for no feature, so the table stays at reader 1 and writer 2. `commitInfo` goes when
//! the log is cleaned, `domainMetadata` asks for writer version 7 (Delta protocol, "Domain Metadata",
//! read 2026-11), and neither an object nor a table beside it can change in the same commit.
//!
//! The list stays short: what follows a hole of the same partition and reason, with nothing of the
//! table between them, becomes part of it. So retention, which takes the oldest first, makes one hole
//! for each partition, whatever the years.

use super::DataFile;
use super::append::date_text;
use super::commit::{Proposal, remove};
use super::replay::State;
use super::{Table, TableSnapshot};
use crate::log::{LogError, Offset, PartitionId};
use crate::{Micros, failpoint};
use deltalake_core::kernel::{Action, Metadata};
use deltalake_core::protocol::DeltaOperation;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// The table property with the holes, as JSON.
pub(super) const HOLES: &str = "flowstate.holes";

/// Rows of one table and partition that were taken out for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The partition that they came through.
    #[serde(serialize_with = "partition_text", deserialize_with = "partition_of_text")]
    pub partition: PartitionId,
    /// The offset of the first of them. Offsets between the first and the last belong to this hole
    /// only as far as the table had them: the other tables have offsets there, too.
    pub first: Offset,
    /// The offset of the last of them.
    pub last: Offset,
    /// How many rows they were.
    pub rows: u64,
    /// Why they are gone.
    pub reason: HoleReason,
    /// The day that the first was received on, as days since 1970-01-01.
    pub first_day: i32,
    /// The day that the last was received on.
    pub last_day: i32,
    /// When the last of them were taken out.
    pub at: Micros,
}

/// Why rows were taken out of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoleReason {
    /// They were older than the table keeps rows.
    Retention,
}

impl Hole {
    /// The days that the first and the last were received on, such as `2026-11-27`.
    pub fn days(&self) -> [String; 2] {
        [self.first_day, self.last_day].map(|day| date_text(day).unwrap_or_else(|| day.to_string()))
    }
}

impl HoleReason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
        }
    }
}

impl TableSnapshot {
    /// The holes of a partition, by offset.
    pub fn holes_of<'a>(&'a self, partition: &'a PartitionId) -> impl Iterator<Item = &'a Hole> {
        self.holes.iter().filter(move |hole| hole.partition == *partition)
    }
}

impl Table {
    /// Takes whole files out of the table for good, all of them or none, and lists their rows as
    /// holes in the same commit; says whether it did. It does not where another process has replaced
    /// one of them, or has made another hole: then look again.
    ///
    /// The files stay in the store until [`Table::clean`] takes them away, so running queries are not
    /// disturbed.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails; whether the commit stands may then be unknown, and
    /// the table tells.
    pub async fn take_out(&self, files: &[DataFile], reason: HoleReason) -> Result<bool, LogError> {
        if files.is_empty() {
            return Ok(false);
        }
        let _one = self.maintenance.lock().await;
        self.refresh().await?;
        let now = self.clock.now();
        let mut state = self.state.lock().await;
        if !are_active(&state, files) {
            return Ok(false);
        }
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store(format!("rows of `{}` cannot be taken out", self.kind().name()), error)
        };
        let before = (Arc::clone(&state.promoted), Arc::clone(&state.holes));
        let holes = with_hole_of(&state, files, reason, now);
        let metadata = self.metadata().await?;
        let metadata = with_holes(&metadata, &holes).map_err(|error| failed(error.into()))?;
        let removes = files.iter().map(|file| Action::Remove(remove(self.kind(), file, true, now)));
        let proposal = Proposal {
            operation: DeltaOperation::Delete { predicate: None },
            actions: std::iter::once(Action::Metadata(metadata)).chain(removes).collect(),
            transaction: None,
        };
        failpoint::hit("before_retention_commit");
        // Another commit of metadata would be undone by ours.
        let still =
            |state: &State| state.promoted == before.0 && state.holes == before.1 && are_active(state, files);
        let done = self.commit(&mut state, proposal, still).await?;
        failpoint::hit("after_retention_commit");
        Ok(done)
    }
}

/// The holes that a table's metadata lists.
pub(super) fn of_metadata(holes: Option<&str>) -> Result<Vec<Hole>, String> {
    let Some(holes) = holes else { return Ok(Vec::new()) };
    serde_json::from_str(holes).map_err(|error| format!("its property `{HOLES}` cannot be read: {error}"))
}

fn with_holes(metadata: &Metadata, holes: &[Hole]) -> Result<Metadata, serde_json::Error> {
    let mut metadata = serde_json::to_value(metadata)?;
    metadata["configuration"][HOLES] = serde_json::to_string(holes)?.into();
    serde_json::from_value(metadata)
}

fn are_active(state: &State, files: &[DataFile]) -> bool {
    let is_active = |file: &DataFile| {
        let key = (&file.partition, file.offsets.0);
        let at = state.files.partition_point(|other| (&other.partition, other.offsets.0) < key);
        state.files.get(at).is_some_and(|other| other.path == file.path)
    };
    files.iter().all(is_active)
}

/// The holes of a table once these files are gone, by partition and offset.
fn with_hole_of(state: &State, files: &[DataFile], reason: HoleReason, at: Micros) -> Vec<Hole> {
    let new = files.iter().map(|file| Hole {
        partition: file.partition.clone(),
        first: file.offsets.0,
        last: file.offsets.1,
        rows: file.rows,
        reason,
        first_day: file.received_date,
        last_day: file.received_date,
        at,
    });
    let mut all: Vec<Hole> = state.holes.iter().cloned().chain(new).collect();
    all.sort_by(|a, b| (&a.partition, a.first).cmp(&(&b.partition, b.first)));
    // What is taken out now is a hole of its own by here, so nothing of it lies between two of them.
    let stays = |one: &Hole, next: &Hole| {
        let at = state
            .files
            .partition_point(|file| (&file.partition, file.offsets.0) <= (&one.partition, one.last));
        state.files.get(at).is_some_and(|file| file.partition == one.partition && file.offsets.0 < next.first)
    };
    let mut holes: Vec<Hole> = Vec::new();
    for hole in all {
        match holes.last_mut() {
            Some(before)
                if before.partition == hole.partition
                    && before.reason == hole.reason
                    && !stays(before, &hole) =>
            {
                before.last = hole.last;
                before.last_day = hole.last_day;
                before.rows += hole.rows;
                before.at = before.at.max(hole.at);
            }
            _ => holes.push(hole),
        }
    }
    holes
}

fn partition_text<S: Serializer>(partition: &PartitionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&partition.0)
}

fn partition_of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PartitionId, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(PartitionId(text.into()))
}
