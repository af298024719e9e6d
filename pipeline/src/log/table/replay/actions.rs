//! The actions of a commit, as far as they concern us.

use super::Tombstone;
use crate::log::table::DataFile;
use crate::log::table::holes::HOLES;
use crate::log::table::promoted::{FileFacts, UNPINNED};
use crate::log::table::schema::{DATE, RECEIVED_DATE};
use crate::log::{Offset, PartitionId};
use chrono::{Datelike as _, NaiveDate};
use object_store::path::Path;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// One change of a table's state.
#[derive(Debug)]
pub(in crate::log::table) enum Change {
    Add(DataFile),
    Remove(Tombstone),
    Txn { app: String, version: i64 },
    Protocol { reader: i64, writer: i64 },
    Metadata { format: Option<String>, schema: String, unpinned: Option<String>, holes: Option<String> },
}

/// An action as it stands in a commit or a checkpoint; others are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) add: Option<Add>,
    pub(super) remove: Option<Remove>,
    pub(super) txn: Option<Txn>,
    pub(super) protocol: Option<Protocol>,
    pub(super) meta_data: Option<Metadata>,
    pub(super) commit_info: Option<CommitInfo>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CommitInfo {
    /// How many actions the commit has, this one included; in our own commits.
    #[serde(default, rename = "flowstateActions")]
    pub(super) actions: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: String,
    pub(super) size: i64,
    #[serde(default)]
    pub(super) partition_values: HashMap<String, Option<String>>,
    pub(super) stats: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i64,
    pub(super) min_writer_version: i64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(rename = "schemaString")]
    pub(super) schema: String,
    #[serde(default)]
    pub(super) configuration: HashMap<String, Option<String>>,
}

/// Reads a commit file.
///
/// # Errors
/// When it holds no action at all or something that is none; says what.
pub(in crate::log::table) fn parse_commit(bytes: &[u8]) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    let (mut actions, mut expected) = (0, None);
    for action in serde_json::Deserializer::from_slice(bytes).into_iter::<Action>() {
        let action = action.map_err(|error| format!("it is no commit: {error}"))?;
        actions += 1;
        expected = expected.or(action.commit_info.as_ref().and_then(|info| info.actions));
        action.changes(&mut changes)?;
    }
    match expected {
        _ if actions == 0 => Err("it is empty".to_owned()),
        Some(expected) if expected != actions => {
            Err(format!("it has {actions} actions where {expected} were written"))
        }
        _ => Ok(changes),
    }
}

impl Action {
    pub(super) fn changes(self, changes: &mut Vec<Change>) -> Result<(), String> {
        if let Some(add) = self.add {
            changes.push(Change::Add(data_file(add)?));
        }
        if let Some(remove) = self.remove {
            changes.push(Change::Remove(Tombstone {
                path: decode(&remove.path)?,
                deleted_at_ms: remove.deletion_timestamp.unwrap_or(0),
            }));
        }
        if let Some(txn) = self.txn {
            changes.push(Change::Txn { app: txn.app_id, version: txn.version });
        }
        if let Some(protocol) = self.protocol {
            let Protocol { min_reader_version: reader, min_writer_version: writer } = protocol;
            changes.push(Change::Protocol { reader, writer });
        }
        if let Some(mut metadata) = self.meta_data {
            let format = metadata.configuration.remove(super::FORMAT).flatten();
            let unpinned = metadata.configuration.remove(UNPINNED).flatten();
            let holes = metadata.configuration.remove(HOLES).flatten();
            changes.push(Change::Metadata { format, schema: metadata.schema, unpinned, holes });
        }
        Ok(())
    }
}

/// Paths in the log are URL-encoded.
fn decode(path: &str) -> Result<String, String> {
    let path = Path::from_url_path(path).map_err(|error| format!("path `{path}` is none: {error}"))?;
    Ok(path.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: u64,
    min_values: Position,
    max_values: Position,
    #[serde(default)]
    promoted: FileFacts,
}

#[derive(Deserialize)]
struct Position {
    log_partition: Option<String>,
    log_offset: Option<Offset>,
    /// Deliveries are in the order of the journal they come from, whatever partition they are about.
    journal: Option<String>,
    journal_sequence: Option<Offset>,
}

impl Position {
    fn parts(self) -> Option<(String, Offset)> {
        let journal = self.journal.zip(self.journal_sequence);
        journal.or(self.log_partition.zip(self.log_offset))
    }
}

fn data_file(add: Add) -> Result<DataFile, String> {
    let path = decode(&add.path)?;
    let stats = add.stats.as_deref().ok_or_else(|| format!("file `{path}` has no statistics"))?;
    let known: Stats = serde_json::from_str(stats).map_err(|error| {
        format!("the statistics of file `{path}` do not say where its rows belong: {error}")
    })?;
    let Some((min, max)) = known.min_values.parts().zip(known.max_values.parts()) else {
        return Err(format!("the statistics of file `{path}` do not say where its rows belong"));
    };
    if min.0 != max.0 {
        return Err(format!("file `{path}` has rows of several partitions"));
    }
    let date = [RECEIVED_DATE, DATE].into_iter().find_map(|column| add.partition_values.get(column));
    let date = date
        .and_then(|date| date.as_deref()?.parse::<NaiveDate>().ok())
        .ok_or_else(|| format!("file `{path}` has no `{RECEIVED_DATE}` and no `{DATE}`"))?;
    Ok(DataFile {
        bytes: u64::try_from(add.size).map_err(|_| format!("file `{path}` has a negative size"))?,
        rows: known.num_records,
        received_date: date.num_days_from_ce() - EPOCH_DAYS_FROM_CE,
        partition: PartitionId(min.0.into()),
        offsets: (min.1, max.1),
        promoted: Arc::new(known.promoted),
        stats: stats.into(),
        path,
    })
}

/// 1970-01-01 as days of the common era.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;
