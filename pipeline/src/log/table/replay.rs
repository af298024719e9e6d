//! A table's state, read from its Delta log: the newest checkpoint and the commits after it.
//!
//! We read the log ourselves, because an empty commit file must be an error (the library takes it
//! for a commit without actions), because damage must name its file, and because one pass gives
//! all that we need: files, tombstones and the transaction of every partition.
//!
//! Delta protocol, "Delta Log Entries" and "Checkpoints" (read 2026-11).

mod actions;
mod checkpoint;

pub(super) use actions::{Change, parse_commit};

use super::holes::{self, Hole};
use super::promoted::Promoted;
use super::{DataFile, Location, TableKind};
use crate::log::{LogError, Offset, PartitionId};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The version of our own format, kept as the table property [`FORMAT`].
pub(super) const FORMAT_VERSION: &str = "1";

/// The table property that holds the version of our own format.
pub(super) const FORMAT: &str = "flowstate.format";

/// The prefix of the Delta application id of a partition.
const APP: &str = "flowstate/";

/// How many commits are read at once.
const READS_MAX: usize = 8;

/// The Delta application id of a partition.
pub(super) fn app_id(partition: &PartitionId) -> String {
    format!("{APP}{partition}")
}

/// A table at one version.
#[derive(Clone, Debug)]
pub(super) struct State {
    kind: TableKind,
    pub(super) version: u64,
    /// By partition and first offset.
    pub(super) files: Arc<Vec<DataFile>>,
    /// Files that are active no more but may still be in the store.
    pub(super) tombstones: Vec<Tombstone>,
    pub(super) committed: HashMap<PartitionId, Offset>,
    /// The promoted columns.
    pub(super) promoted: Arc<Promoted>,
    /// What was taken out for good.
    pub(super) holes: Arc<Vec<Hole>>,
}

/// A file that a commit removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) path: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(super) deleted_at_ms: i64,
}

/// What was read from a log.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    /// The version of the checkpoint it was read from; 0 without one.
    pub(super) checkpoint: u64,
    /// The newest commit, where it cannot be read; the state is the one before it.
    pub(super) damaged: Option<DamagedCommit>,
}

/// A commit file that cannot be read.
#[derive(Debug)]
pub(super) struct DamagedCommit {
    pub(super) path: Path,
    pub(super) reason: String,
}

impl State {
    fn new(kind: TableKind) -> Self {
        let (files, tombstones, committed, promoted, holes) = Default::default();
        Self { kind, version: 0, files, tombstones, committed, promoted, holes }
    }

    /// Takes in one commit, or one checkpoint.
    ///
    /// # Errors
    /// When the table is no longer one that this program can write; says why.
    pub(super) fn apply(&mut self, version: u64, changes: Vec<Change>) -> Result<(), String> {
        let (mut added, mut removed) = (Vec::new(), HashSet::new());
        for change in changes {
            match change {
                Change::Add(file) => added.push(file),
                Change::Remove(tombstone) => {
                    removed.insert(tombstone.path.clone());
                    self.tombstones.push(tombstone);
                }
                Change::Txn { app, version } => {
                    if let (Some(id), Ok(offset)) = (app.strip_prefix(APP), u64::try_from(version)) {
                        self.committed.insert(PartitionId(id.into()), offset);
                    }
                }
                Change::Protocol { reader, writer } => {
                    if reader > 1 || writer > 2 {
                        return Err(format!(
                            "it asks for reader version {reader} and writer version {writer}; \
                             this program knows 1 and 2"
                        ));
                    }
                }
                Change::Metadata { format, schema, unpinned, holes } => {
                    if format.as_deref() != Some(FORMAT_VERSION) {
                        let format = format.as_deref().unwrap_or("none");
                        return Err(format!(
                            "its property `{FORMAT}` is `{format}`; this program knows `{FORMAT_VERSION}`"
                        ));
                    }
                    self.kind.check_delta_schema(&schema)?;
                    self.promoted = Arc::new(Promoted::of_metadata(&schema, unpinned.as_deref())?);
                    self.holes = Arc::new(holes::of_metadata(holes.as_deref())?);
                }
            }
        }
        if !(added.is_empty() && removed.is_empty()) {
            self.replace(added, &removed)?;
        }
        self.version = version;
        Ok(())
    }

    fn replace(&mut self, added: Vec<DataFile>, removed: &HashSet<String>) -> Result<(), String> {
        let files = Arc::make_mut(&mut self.files);
        if !removed.is_empty() {
            files.retain(|file| !removed.contains(&file.path));
        }
        if added.len() > 16 {
            files.extend(added);
            files.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        } else {
            for file in added {
                let at = files.partition_point(|other| key(other) < key(&file));
                files.insert(at, file);
            }
        }
        // Rows would be read twice.
        let overlap = |pair: &[DataFile]| {
            pair[0].partition == pair[1].partition && pair[0].offsets.1 >= pair[1].offsets.0
        };
        match files.windows(2).find(|pair| overlap(pair)) {
            Some(pair) => Err(format!("the files `{}` and `{}` overlap", pair[0].path, pair[1].path)),
            None => Ok(()),
        }
    }
}

fn key(file: &DataFile) -> (&PartitionId, Offset) {
    (&file.partition, file.offsets.0)
}

/// Reads the table's log; `None` when there is no table.
///
/// # Errors
/// [`LogError::Damaged`] naming the file that is missing or cannot be read, unless it is the newest
/// commit; [`LogError::Store`] when a read failed.
pub(super) async fn replay(location: &Location) -> Result<Option<Replayed>, LogError> {
    replay_until(location, u64::MAX).await
}

/// As [`replay`], of the newest version that is no newer than `until`.
pub(super) async fn replay_until(location: &Location, until: u64) -> Result<Option<Replayed>, LogError> {
    let log = Listing::read(location).await?;
    let Some(last) = log.commits.last().copied().max(log.checkpoints.keys().next_back().copied()) else {
        return Ok(None);
    };
    let last = last.min(until);
    let (mut state, checkpoint) = newest_checkpoint(location, &log, last).await?;
    let next = checkpoint.map_or(0, |version| version + 1);
    let mut damaged = None;
    let commits = futures::stream::iter(next..=last).map(|version| async move {
        let path = commit_path(version);
        match location.objects.get(&path).await {
            Ok(found) => found.bytes().await.map(|bytes| (version, Some(bytes))),
            Err(object_store::Error::NotFound { .. }) => Ok((version, None)),
            Err(error) => Err(error),
        }
    });
    let mut commits = commits.buffered(READS_MAX);
    while let Some((version, bytes)) =
        commits.try_next().await.map_err(|error| unreadable(location, error))?
    {
        let Some(bytes) = bytes else { return Err(damage(location, &commit_path(version), "it is missing")) };
        match parse_commit(&bytes) {
            Ok(changes) => state
                .apply(version, changes)
                .map_err(|reason| damage(location, &commit_path(version), &reason))?,
            Err(reason) if version == last => {
                damaged = Some(DamagedCommit { path: commit_path(version), reason });
            }
            Err(reason) => return Err(damage(location, &commit_path(version), &reason)),
        }
    }
    Ok(Some(Replayed { state, checkpoint: checkpoint.unwrap_or(0), damaged }))
}

/// The error for a file of the table that is damaged.
pub(super) fn damage(location: &Location, path: &Path, reason: &str) -> LogError {
    LogError::Damaged(format!("`{}/{path}`: {reason}", location.kind.name()))
}

pub(super) fn unreadable(location: &Location, error: object_store::Error) -> LogError {
    LogError::store(format!("the log of table `{}` cannot be read", location.kind.name()), error)
}

pub(super) fn commit_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

/// The newest checkpoint that can be read, and its version. An unreadable one is passed over: the
/// commits since the one before, if they are all there, say the same.
async fn newest_checkpoint(
    location: &Location,
    log: &Listing,
    until: u64,
) -> Result<(State, Option<u64>), LogError> {
    for (&version, paths) in log.checkpoints.range(..=until).rev() {
        match checkpoint::read(&*location.objects, paths).await {
            Ok(changes) => {
                let mut state = State::new(location.kind);
                state.apply(version, changes).map_err(|reason| damage(location, &paths[0], &reason))?;
                return Ok((state, Some(version)));
            }
            Err(checkpoint::ReadError::Store(error)) => return Err(unreadable(location, error)),
            Err(checkpoint::ReadError::Damaged(reason)) => {
                tracing::warn!(table = location.kind.name(), path = %paths[0], reason, "a checkpoint is damaged");
            }
        }
    }
    Ok((State::new(location.kind), None))
}

/// What lies in `_delta_log`.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) commits: BTreeSet<u64>,
    /// The complete checkpoints and their parts in order.
    pub(super) checkpoints: BTreeMap<u64, Vec<Path>>,
}

impl Listing {
    pub(super) async fn read(location: &Location) -> Result<Self, LogError> {
        let mut listing = Self::default();
        let mut parts: BTreeMap<(u64, u64), BTreeMap<u64, Path>> = BTreeMap::new();
        let prefix = Path::from("_delta_log");
        let mut objects = location.objects.list(Some(&prefix));
        while let Some(object) = objects.try_next().await.map_err(|error| unreadable(location, error))? {
            let Some(name) = object.location.filename() else { continue };
            let mut words = name.split('.');
            let Some(version) =
                words.next().filter(|word| word.len() == 20).and_then(|word| word.parse().ok())
            else {
                continue;
            };
            match words.collect::<Vec<_>>()[..] {
                ["json"] => {
                    listing.commits.insert(version);
                }
                ["checkpoint", "parquet"] => {
                    listing.checkpoints.insert(version, vec![object.location]);
                }
                ["checkpoint", part, of, "parquet"] => {
                    if let (Ok(part), Ok(of)) = (part.parse(), of.parse()) {
                        parts.entry((version, of)).or_default().insert(part, object.location);
                    }
                }
                _ => {}
            }
        }
        for ((version, of), parts) in parts {
            if parts.len() as u64 == of {
                listing.checkpoints.entry(version).or_insert_with(|| parts.into_values().collect());
            }
        }
        Ok(listing)
    }
}
