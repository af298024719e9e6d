//! Retention: how long each table keeps its rows, and what goes next.
//!
//! Rows go by whole days, by the day they were received, oldest first: a day goes as soon as its last
//! moment is older than the table's limit. What goes is listed as a [`Hole`] in the same commit, and
//! nothing is gone without one.
//!
//! Three things keep rows that are due:
//! - Events wait for the destinations that still need them; see [`Need`].
//! - Receipts wait until the events and rejected events that they account for are gone, and those of
//!   the next day, too: a request at midnight has its receipt on one day and records on the next. So
//!   received = accepted + duplicate + rejected + what retention removed can always be checked.
//! - A day waits as a whole: while one of its files waits, all do.
//!
//! [`Hole`]: super::table::Hole

mod notices;
mod remove;

pub(crate) use notices::Notices;
pub(crate) use remove::Remover;

use super::store::{Store, StoreConfig};
use super::table::{DataFile, Table, TableKind, TableSnapshot};
use super::{LogError, Offset, PartitionId};
use crate::Micros;
use crate::clock::DAY;
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// How long each table keeps its rows, in µs; `None` keeps them for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Accepted events. No shorter than the deduplication window: the index of message ids is made
    /// anew from them.
    pub events: Option<Micros>,
    /// Rejected events.
    pub rejected: Option<Micros>,
    /// Receipts. No shorter than `events` and `rejected`, which they account for.
    pub receipts: Option<Micros>,
    /// Deliveries.
    pub deliveries: Option<Micros>,
}

impl Limits {
    /// The limit of one table.
    pub fn of(&self, table: TableKind) -> Option<Micros> {
        match table {
            TableKind::Events => self.events,
            TableKind::Rejected => self.rejected,
            TableKind::Receipts => self.receipts,
            TableKind::Deliveries => self.deliveries,
        }
    }
}

/// Events that somebody has not got yet: all from an offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The partitions of the events.
    pub partitions: Partitions,
    /// The first of them, in each partition.
    pub offset: Offset,
    /// Only those that were received at this time or later, in µs since 1970; `None` for all.
    pub from: Option<Micros>,
    /// Whose they are, such as ``destination `Our backend` ``.
    pub by: String,
    /// Why nobody waits for it; `None` where retention does.
    ///
    /// A destination that a person paused, that was disabled, or that is held may stay so for ever, and
    /// would keep all events for as long. It is told what it misses.
    pub passed_over: Option<String>,
}

/// Some of a log's partitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partitions {
    /// This one.
    One(PartitionId),
    /// All but these, those that nobody has heard of yet included.
    ///
    /// A replay goes through one partition after the other, and has a place in those only that it has
    /// come to.
    AllBut(BTreeSet<PartitionId>),
}

impl Partitions {
    /// Whether a partition is among them.
    pub fn contain(&self, partition: &PartitionId) -> bool {
        match self {
            Self::One(one) => one == partition,
            Self::AllBut(others) => !others.contains(partition),
        }
    }
}

impl Need {
    /// Whether a file of one of its partitions has, or may have, events of it.
    fn reaches(&self, file: &DataFile) -> bool {
        let day_ends_at = i64::from(file.received_date + 1) * DAY;
        self.offset <= file.offsets.1 && self.from.is_none_or(|from| from < day_ends_at)
    }
}

/// Tells who needs events of the log on this node.
#[async_trait]
pub trait Needs: Send + Sync {
    /// All needs now. One that is not told is not waited for.
    ///
    /// # Errors
    /// When they cannot be known; then no event is removed.
    async fn needs(&self) -> Result<Vec<Need>, LogError>;
}

/// What a log is told about retention once its destinations are known.
pub(crate) struct Keeping {
    pub(crate) limits: Limits,
    pub(crate) needs: Option<Arc<dyn Needs>>,
}

impl Keeping {
    /// The needs of this node; `None` where events are kept for ever.
    pub(crate) async fn needs(&self) -> Result<Option<Vec<Need>>, LogError> {
        match &self.needs {
            Some(needs) if self.limits.events.is_some() => needs.needs().await.map(Some),
            _ => Ok(None),
        }
    }
}

/// Set once; until then nothing is removed.
pub(crate) type KeepingCell = Arc<OnceLock<Keeping>>;

/// Whole days of one table and partition that are older than their limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The table.
    pub table: TableKind,
    /// The partition.
    pub partition: PartitionId,
    /// The first and the last day, as days since 1970-01-01.
    pub days: (i32, i32),
    /// The first and the last offset.
    pub offsets: (Offset, Offset),
    /// The files, by offset.
    pub files: Vec<DataFile>,
    /// What they wait for, each a phrase such as ``destination `Our backend` ``; empty where nothing
    /// does, and they go with the next look.
    pub waits_for: Vec<String>,
    /// Who will not get the events of these days that they have not got yet, and why.
    pub missed_by: Vec<String>,
}

impl Due {
    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// How many bytes their files have.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Everything of `tables` that is older than its limit at `now`, by table, partition and day: first what
/// goes, then what waits.
pub fn due(tables: &[Arc<TableSnapshot>], limits: &Limits, needs: &[Need], now: Micros) -> Vec<Due> {
    let mut all = Vec::new();
    for table in tables {
        let Some(limit) = limits.of(table.kind) else { continue };
        for files in table.files.chunk_by(|a, b| a.partition == b.partition) {
            let whole = whole_requests(table.kind, files, tables);
            let is_due = |file: &DataFile| {
                i64::from(file.received_date + 1) * DAY + limit <= now && file.offsets.1 <= whole
            };
            let end = files.iter().position(|file| !is_due(file)).unwrap_or(files.len());
            let files = &files[..end];
            // Only events are needed by anybody.
            let needs = if table.kind == TableKind::Events { needs_of(files, needs) } else { Vec::new() };
            let (goes, waits_for) = match table.kind {
                TableKind::Events => before_needs(files, &needs),
                TableKind::Receipts => before_records(files, tables),
                TableKind::Rejected | TableKind::Deliveries => (files.len(), Vec::new()),
            };
            all.extend(of_files(table.kind, &files[..goes], Vec::new(), &needs));
            all.extend(of_files(table.kind, &files[goes..], waits_for, &needs));
        }
    }
    all
}

/// Up to where the log's tables hold all of a partition's requests; receipts are committed last.
fn whole_requests(table: TableKind, files: &[DataFile], tables: &[Arc<TableSnapshot>]) -> Offset {
    if table == TableKind::Deliveries {
        return Offset::MAX;
    }
    let receipts = tables.iter().find(|table| table.kind == TableKind::Receipts);
    receipts
        .zip(files.first())
        .map_or(Offset::MAX, |(receipts, file)| receipts.committed.get(&file.partition).copied().unwrap_or(0))
}

/// The needs of the partition of these files.
fn needs_of<'a>(files: &[DataFile], needs: &'a [Need]) -> Vec<&'a Need> {
    let Some(partition) = files.first().map(|file| &file.partition) else { return Vec::new() };
    needs.iter().filter(|need| need.partitions.contain(partition)).collect()
}

fn of_files(table: TableKind, files: &[DataFile], waits_for: Vec<String>, needs: &[&Need]) -> Option<Due> {
    let (first, last) = (files.first()?, files.last()?);
    let misses = |need: &&Need| {
        let why = need.passed_over.as_ref()?;
        need.reaches(last).then(|| format!("{}: {why}", need.by))
    };
    Some(Due {
        table,
        partition: first.partition.clone(),
        days: (first.received_date, last.received_date),
        offsets: (first.offsets.0, last.offsets.1),
        files: files.to_vec(),
        waits_for,
        missed_by: needs.iter().filter_map(misses).collect(),
    })
}

/// How many of the files, by whole days, nobody needs, and who needs one of the others.
fn before_needs(files: &[DataFile], needs: &[&Need]) -> (usize, Vec<String>) {
    let Some(last) = files.last() else { return (0, Vec::new()) };
    let waited_for: Vec<_> =
        needs.iter().filter(|need| need.passed_over.is_none() && need.reaches(last)).collect();
    let by: BTreeSet<String> = waited_for.iter().map(|need| need.by.clone()).collect();
    // Offsets and days ascend together, so a need that reaches a file reaches all behind it.
    let free = files.partition_point(|file| !waited_for.iter().any(|need| need.reaches(file)));
    let Some(needed) = files.get(free) else { return (files.len(), Vec::new()) };
    let goes = files.partition_point(|file| file.received_date < needed.received_date);
    (goes, by.into_iter().collect())
}

/// How many of these files of receipts are of days whose records are gone, those of the day after them
/// too.
fn before_records(files: &[DataFile], tables: &[Arc<TableSnapshot>]) -> (usize, Vec<String>) {
    let Some(partition) = files.first().map(|file| &file.partition) else { return (0, Vec::new()) };
    let mut goes = files.len();
    let mut waits_for = Vec::new();
    for kind in [TableKind::Events, TableKind::Rejected] {
        let Some(table) = tables.iter().find(|table| table.kind == kind) else { return (0, Vec::new()) };
        let of_partition = table.files.iter().filter(|file| file.partition == *partition);
        let Some(oldest) = of_partition.map(|file| file.received_date).min() else { continue };
        let these = files.partition_point(|file| file.received_date + 1 < oldest);
        if these < files.len() {
            waits_for.push(format!("the rows of `{}` that they account for", kind.name()));
        }
        goes = goes.min(these);
    }
    (goes, waits_for)
}

/// What a store's tables keep and have removed, for people.
#[derive(Clone, Debug)]
pub struct Overview {
    /// How long each table keeps its rows.
    pub limits: Limits,
    /// The tables, those of the log first; the table of deliveries only where there is one.
    pub tables: Vec<Arc<TableSnapshot>>,
    /// Who needs events, on all nodes.
    pub needs: Vec<Need>,
    /// What is older than its limit.
    pub due: Vec<Due>,
}

impl Overview {
    /// The overview of these tables at `now`.
    pub fn new(tables: Vec<Arc<TableSnapshot>>, limits: Limits, needs: Vec<Need>, now: Micros) -> Self {
        let due = due(&tables, &limits, &needs, now);
        Self { limits, tables, needs, due }
    }

    /// The overview that a store gives, whoever writes to it. Needs are `own`, those of the node with the
    /// partition `node`, and what other nodes have told the store. Changes nothing.
    ///
    /// # Errors
    /// As [`super::read_only`].
    pub async fn read(
        store: &StoreConfig,
        limits: Limits,
        node: Option<&PartitionId>,
        own: Vec<Need>,
        now: Micros,
    ) -> Result<Self, LogError> {
        let store = Store::open_read_only(store)?;
        let mut tables = Vec::new();
        for kind in TableKind::ALL.into_iter().chain([TableKind::Deliveries]) {
            tables.extend(Table::read(&store, kind).await?.map(Arc::new));
        }
        let others = Notices::read(&store, node, now).await?;
        let needs = own.into_iter().chain(others).collect();
        Ok(Self::new(tables, limits, needs, now))
    }
}

#[cfg(test)]
mod tests;
