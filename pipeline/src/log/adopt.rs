//! Taking over the partition of a node that is lost.

use super::claims::Claims;
use super::committer;
use super::objects::{Created, Header, Kind, Listed, Objects};
use super::published::bounds;
use super::store::{Store, StoreConfig};
use super::table::{Table, TableKind, TableSnapshot};
use super::tail::Group;
use super::wal::WalReader;
use super::{LogError, Offset, PartitionId, blocking};
use crate::{Clock, Micros};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// About how much goes into one commit.
const COMMIT_BYTES: usize = 32 << 20;

/// So often it is begun again because an object was removed, or another node was first.
const ATTEMPTS_MAX: usize = 100;

/// What an adoption came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The offset behind the partition's last record; all below are in the tables.
    pub end: Offset,
    /// How many records this call committed, or found committed by another node meanwhile.
    pub records: u64,
    /// Whether the partition had been sealed before.
    pub was_sealed: bool,
}

/// A partition as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// Its id.
    pub partition: PartitionId,
    /// How it stands.
    pub state: PartitionState,
    /// The first offset that the tables do not hold.
    pub committed: Offset,
    /// The offset behind its last record, as far as the store shows it.
    pub end: Offset,
    /// How many objects it has.
    pub objects: u64,
    /// When the last of them was written; `None` without one.
    pub written_at: Option<Micros>,
    /// The node, by its own partition, that delivers the events of this one, which has ended; `None` where
    /// nobody has claimed them, and where its own node delivers them.
    pub claimed_by: Option<PartitionId>,
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// Its records are on its node's disk only until they are committed. It cannot be adopted.
    Local,
    /// Its node appends, or is lost.
    Open,
    /// An adoption was begun and is not finished: adopt it again.
    Sealed,
    /// It ended, and all of it is in the tables.
    Adopted,
}

impl PartitionState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Adopted => "adopted",
        }
    }
}

/// Takes over a partition with [`super::Durability::Object`] whose node is lost: seals it, so that the
/// node can never acknowledge anything again, and commits what lies above the partition's Delta
/// transaction, each record once.
///
/// May be repeated, and made by several at once: who seals is decided by create-if-absent, and the
/// tables' transactions let each record in once. A node that lives after all stops acknowledging.
///
/// # Errors
/// [`LogError::Store`] when the store fails, or when the partition has no objects: its records behind
/// the last commit wait for its node's disk. [`LogError::Damaged`] when an object is.
pub async fn adopt(config: &StoreConfig, partition: &PartitionId, clock: Clock) -> Result<Adopted, LogError> {
    adopt_on(&Store::open(config).await?, partition, clock).await
}

pub(super) async fn adopt_on(
    store: &Store,
    partition: &PartitionId,
    clock: Clock,
) -> Result<Adopted, LogError> {
    let was_sealed = seal(&Objects::of(store, partition)).await?;
    finish(store, partition, clock).await.map(|adopted| Adopted { was_sealed, ..adopted })
}

/// The partitions that the tables and the objects know.
///
/// # Errors
/// [`LogError::Store`] when the store fails; [`LogError::Damaged`] when an object, a table or a claim is.
pub async fn partitions(config: &StoreConfig) -> Result<Vec<PartitionReport>, LogError> {
    partitions_on(&Store::open_read_only(config)?).await
}

pub(super) async fn partitions_on(store: &Store) -> Result<Vec<PartitionReport>, LogError> {
    let mut tables: Vec<Arc<TableSnapshot>> = Vec::new();
    for kind in TableKind::ALL.into_iter().rev() {
        tables.extend(Table::read(store, kind).await?.map(Arc::new));
    }
    tables.reverse();
    let complete = tables.len() == TableKind::ALL.len();
    let committed = tables.iter().flat_map(|table| table.committed.keys().cloned());
    let known: BTreeSet<_> = committed.chain(Objects::partitions(store).await?).collect();
    let mut claims = Claims::default();
    claims.refresh(store).await?;
    let mut reports = Vec::new();
    for partition in known {
        let committed = if complete { bounds(&tables, &partition)[TableKind::Receipts.index()] } else { 0 };
        let objects = Objects::of(store, &partition);
        let newest = newest(&objects).await?;
        let (state, end) = match newest.as_ref().map(|(_, last)| last) {
            None => (PartitionState::Local, committed),
            Some(last) => match last.kind {
                Kind::Local => (PartitionState::Local, committed),
                Kind::Group => (PartitionState::Open, committed.max(last.end_offset)),
                Kind::Sealed | Kind::Ended if last.end_offset <= committed => {
                    (PartitionState::Adopted, committed)
                }
                Kind::Sealed | Kind::Ended => (PartitionState::Sealed, last.end_offset),
            },
        };
        let listed = newest.map(|(listed, _)| listed).unwrap_or_default();
        let written_at = listed.last().map(|last| last.written_at_ms * 1_000);
        let objects = listed.len() as u64;
        let claimed_by = claims.claimed_by(&partition).cloned();
        reports.push(PartitionReport { partition, state, committed, end, objects, written_at, claimed_by });
    }
    Ok(reports)
}

/// Whether the partition is sealed.
pub(super) async fn is_sealed(objects: &Objects) -> Result<bool, LogError> {
    Ok(newest(objects).await?.is_some_and(|(_, last)| last.kind.is_end()))
}

/// The offset at which a partition has ended; `None` while its node may append to it.
pub(super) async fn ended_at(store: &Store, partition: &PartitionId) -> Result<Option<Offset>, LogError> {
    let newest = newest(&Objects::of(store, partition)).await?;
    Ok(newest.map(|(_, last)| last).filter(|last| last.kind.is_end()).map(|last| last.end_offset))
}

/// The partitions that are sealed.
pub(super) async fn sealed(store: &Store) -> Result<Vec<PartitionId>, LogError> {
    let mut sealed = Vec::new();
    for partition in Objects::partitions(store).await? {
        if is_sealed(&Objects::of(store, &partition)).await? {
            sealed.push(partition);
        }
    }
    Ok(sealed)
}

/// Creates the next object as `sealed`; says whether there was one before.
async fn seal(objects: &Objects) -> Result<bool, LogError> {
    let partition = objects.partition();
    let failed = |why: String| LogError::store(format!("partition {partition} cannot be adopted"), why);
    for attempt in 0..ATTEMPTS_MAX {
        let Some((_, last)) = newest(objects).await? else {
            return Err(failed(
                "it has no objects in the store: records behind its last commit wait for its node's disk"
                    .into(),
            ));
        };
        match last.kind {
            Kind::Sealed | Kind::Ended => return Ok(attempt == 0),
            Kind::Local => {
                return Err(failed(
                    "its node went back to `durability = \"local\"`: records behind its last commit wait for its \
                     disk"
                    .into(),
                ));
            }
            Kind::Group => {}
        }
        let seal = Header::end(Kind::Sealed, partition.clone(), last.n + 1, last.end_offset);
        if objects.create(&seal, Bytes::new()).await? == Created::Stands {
            return Ok(false);
        }
        // Its node wrote another group, or another adopter was first: look again.
    }
    Err(failed("its node goes on writing faster than it can be sealed".into()))
}

/// Commits what a sealed partition's objects hold and the tables do not, then removes the objects. The
/// seal stays, for its node to see should it come back.
pub(super) async fn finish(
    store: &Store,
    partition: &PartitionId,
    clock: Clock,
) -> Result<Adopted, LogError> {
    let objects = Objects::of(store, partition);
    let tables = open_tables(store, &clock).await?;
    let begun = committed(&tables, partition);
    for _ in 0..ATTEMPTS_MAX {
        let newest = newest(&objects).await?.filter(|(_, last)| last.kind.is_end());
        let (listed, seal) = newest.ok_or_else(|| {
            LogError::Damaged(format!("partition {partition} was sealed, and its seal is gone"))
        })?;
        if !commit_all(&objects, &listed, &tables).await? {
            // Its node lives, and removed what it had committed itself.
            for table in &tables {
                table.refresh().await?;
            }
            continue;
        }
        let end = committed(&tables, partition);
        if end < seal.end_offset {
            return Err(LogError::Damaged(format!(
                "partition {partition}: objects of offsets {end} to {} are missing",
                seal.end_offset
            )));
        }
        let numbers: Vec<u64> = listed.iter().map(|object| object.n).filter(|&n| n < seal.n).collect();
        objects.remove(&numbers).await?;
        return Ok(Adopted { end, records: end - begun.min(end), was_sealed: true });
    }
    Err(LogError::store(
        format!("partition {partition} cannot be adopted"),
        "its objects are removed while they are read",
    ))
}

/// Commits the groups in order; `false` when an object was gone that may be needed.
async fn commit_all(objects: &Objects, listed: &[Listed], tables: &[Arc<Table>]) -> Result<bool, LogError> {
    let partition = objects.partition();
    let mut part: Vec<Arc<Group>> = Vec::new();
    let mut next = committed(tables, partition);
    for object in listed {
        let Some(header) = objects.header(object.n).await? else { return Ok(false) };
        if header.kind != Kind::Group || header.end_offset <= next {
            continue;
        }
        if header.first_offset > next {
            return Err(objects.damaged(object.n, &format!("offset {next} is missing before it")));
        }
        let Some((header, payload)) = objects.read(object.n).await? else { return Ok(false) };
        next = header.end_offset;
        let (first, end, since) = (header.first_offset, header.end_offset, tokio::time::Instant::now());
        part.push(Arc::new(Group { first, end, payload, since }));
        if part.iter().map(|group| group.payload.len()).sum::<usize>() >= COMMIT_BYTES {
            committer::commit(tables, partition, std::mem::take(&mut part), next).await?;
        }
    }
    if !part.is_empty() {
        committer::commit(tables, partition, part, next).await?;
    }
    Ok(true)
}

/// Ends a partition whose node is gone, for good: what is in the tables, and in its objects, is all there is of
/// it. Answers with the offset behind its last record. May be repeated.
pub(super) async fn end_on(store: &Store, partition: &PartitionId, clock: Clock) -> Result<Offset, LogError> {
    let objects = Objects::of(store, partition);
    for _ in 0..ATTEMPTS_MAX {
        let n = match newest(&objects).await?.map(|(_, last)| last) {
            None => 0,
            Some(last) if last.kind == Kind::Local => last.n + 1,
            Some(_) => return Ok(adopt_on(store, partition, clock).await?.end),
        };
        let end = committed(&open_tables(store, &clock).await?, partition);
        let ended = Header::end(Kind::Ended, partition.clone(), n, end);
        if objects.create(&ended, Bytes::new()).await? == Created::Stands {
            return Ok(end);
        }
    }
    Err(LogError::store(format!("partition {partition} cannot be ended"), "its node goes on writing"))
}

/// Commits what the WAL of a partition holds behind the tables, where a restored backup ended it: its node had
/// acknowledged that. After an adoption the WAL has nothing of the kind.
pub(super) async fn commit_rest(
    store: &Store,
    partition: &PartitionId,
    wal: &WalReader,
    clock: &Clock,
) -> Result<(), LogError> {
    let last = newest(&Objects::of(store, partition)).await?;
    if last.is_none_or(|(_, last)| last.kind != Kind::Ended) {
        return Ok(());
    }
    let tables = open_tables(store, clock).await?;
    let mut next = committed(&tables, partition);
    while next < wal.end() {
        let wal = wal.clone();
        let groups = blocking(move || super::groups_of_wal(&wal, next, COMMIT_BYTES as u64)).await?;
        let groups = groups.unwrap_or_default();
        let Some(last) = groups.last() else {
            return Err(LogError::Damaged(format!("the WAL does not hold offset {next}")));
        };
        next = last.end;
        committer::commit(&tables, partition, groups, next).await?;
    }
    Ok(())
}

async fn open_tables(store: &Store, clock: &Clock) -> Result<Vec<Arc<Table>>, LogError> {
    let mut tables = Vec::new();
    for kind in TableKind::ALL {
        tables.push(Arc::new(Table::open_or_create(store, kind, clock.clone(), None).await?));
    }
    Ok(tables)
}

/// All objects and what the newest says of itself.
async fn newest(objects: &Objects) -> Result<Option<(Vec<Listed>, Header)>, LogError> {
    for _ in 0..ATTEMPTS_MAX {
        let listed = objects.list().await?;
        let Some(last) = listed.last() else { return Ok(None) };
        if let Some(header) = objects.header(last.n).await? {
            return Ok(Some((listed, header)));
        }
        // It was the newest when it was listed, and is removed by now.
    }
    let what = format!("the objects of partition {} cannot be read", objects.partition());
    Err(LogError::store(what, "its node removes them while they are read"))
}

fn committed(tables: &[Arc<Table>], partition: &PartitionId) -> Offset {
    let snapshots: Vec<_> = tables.iter().map(|table| table.snapshot()).collect();
    bounds(&snapshots, partition)[TableKind::Receipts.index()]
}
