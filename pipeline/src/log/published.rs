//! What readers see: the newest version of each table, and how far back someone still reads the WAL.

use super::table::{DataFile, Hole, Table, TableKind, TableSnapshot};
use super::{LogError, NotPromoted, Offset, PartitionId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

const NOT_PROMOTED_MAX: usize = 1_000;

/// The tables are looked at so often until they hold the same of other nodes' partitions.
pub(crate) const LOOKS_MAX: usize = 5;

pub(crate) struct Published {
    partition: PartitionId,
    /// In the order of [`TableKind::ALL`].
    tables: Vec<Arc<Table>>,
    inner: Mutex<Inner>,
    /// Told after each look at what other nodes have committed.
    refreshed: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    /// Offsets that must stay readable in the WAL, with how many hold on to each.
    pins: BTreeMap<Offset, usize>,
    commit_error: Option<String>,
    /// By key.
    not_promoted: BTreeMap<String, NotPromoted>,
    ended: Option<String>,
    others: Arc<Others>,
}

/// What other nodes had committed to all tables when these were looked at last: whole requests.
#[derive(Default)]
pub(crate) struct Others {
    /// In the order of [`TableKind::ALL`]; none before the first look.
    tables: Vec<Arc<TableSnapshot>>,
    /// Up to where all of them hold a partition.
    whole: Arc<HashMap<PartitionId, Offset>>,
}

/// Keeps the WAL from `from` on readable while it lives.
pub(crate) struct Pin {
    published: Arc<Published>,
    from: Offset,
}

impl Published {
    pub(crate) fn new(partition: PartitionId, tables: Vec<Arc<Table>>) -> Arc<Self> {
        Arc::new(Self { partition, tables, inner: Mutex::default(), refreshed: watch::Sender::new(()) })
    }

    /// The tables now, the first offset that is not committed in each, and a hold on the WAL.
    pub(crate) fn pin(self: &Arc<Self>) -> (Vec<Arc<TableSnapshot>>, [Offset; 3], Pin) {
        let mut inner = self.lock();
        let tables = self.tables_now();
        let bounds = bounds(&tables, &self.partition);
        let from = bounds.into_iter().min().unwrap_or(0);
        *inner.pins.entry(from).or_default() += 1;
        (tables, bounds, Pin { published: Arc::clone(self), from })
    }

    /// The tables as this node knows them.
    ///
    /// Receipts come first: they are committed last and removed last, so what they hold the others hold by
    /// then, and what they lack the others lack.
    fn tables_now(&self) -> Vec<Arc<TableSnapshot>> {
        let mut tables: Vec<_> = self.tables.iter().rev().map(|table| table.snapshot()).collect();
        tables.reverse();
        tables
    }

    /// Takes in what other nodes have committed since.
    ///
    /// A node commits to one table after the other, receipts last. So what the receipts hold before
    /// the others are looked at, all of them hold afterwards. Files that were compacted meanwhile may reach
    /// further; then all tables are looked at again.
    ///
    /// # Errors
    /// As [`Table::refresh`].
    pub(crate) async fn refresh(&self) -> Result<(), LogError> {
        let receipts = self.table(TableKind::Receipts);
        for look in 1..=LOOKS_MAX {
            receipts.refresh().await?;
            let whole = receipts.snapshot().committed.clone();
            for table in self.tables.iter().filter(|table| table.kind() != TableKind::Receipts) {
                table.refresh().await?;
            }
            let tables = self.tables_now();
            if look == LOOKS_MAX || !have_files_across(&tables, &self.partition, &whole) {
                self.lock().others = Arc::new(Others { tables, whole: Arc::new(whole) });
                break;
            }
        }
        self.refreshed.send_replace(());
        Ok(())
    }

    /// What other nodes have committed to all tables.
    pub(crate) fn others(&self) -> Arc<Others> {
        Arc::clone(&self.lock().others)
    }

    /// Tells after each look at what other nodes have committed.
    pub(crate) fn follow(&self) -> watch::Receiver<()> {
        self.refreshed.subscribe()
    }

    /// One of the tables.
    pub(crate) fn table(&self, kind: TableKind) -> &Arc<Table> {
        &self.tables[kind.index()]
    }

    /// The hole of `events` that a reader at `next` has before it, with no event of the tables between.
    pub(crate) fn hole_at(&self, partition: &PartitionId, next: Offset) -> Option<Hole> {
        let events = self.table(TableKind::Events).snapshot();
        if events.holes.is_empty() {
            return None;
        }
        let hole = events.holes_of(partition).find(|hole| hole.last >= next)?;
        let comes_first = |file: &DataFile| {
            file.partition == *partition && file.offsets.1 >= next && file.offsets.0 < hole.first
        };
        (!events.files.iter().any(comes_first)).then(|| hole.clone())
    }

    /// How far the WAL may be released when everything below `committed` is in the tables.
    pub(crate) fn releasable(&self, committed: Offset) -> Offset {
        self.lock().pins.keys().next().map_or(committed, |&pinned| pinned.min(committed))
    }

    /// Notes frequent properties that got no column; no more than a thousand are kept.
    pub(crate) fn note_not_promoted(&self, keys: Vec<NotPromoted>) {
        let known = &mut self.lock().not_promoted;
        for key in keys {
            if known.len() < NOT_PROMOTED_MAX || known.contains_key(&key.key) {
                known.insert(key.key.clone(), key);
            }
        }
    }

    /// The frequent properties that got no column.
    pub(crate) fn not_promoted(&self) -> Vec<NotPromoted> {
        self.lock().not_promoted.values().cloned().collect()
    }

    pub(crate) fn set_commit_error(&self, error: Option<String>) {
        self.lock().commit_error = error;
    }

    /// What the last commit failed with; `None` when it did not.
    pub(crate) fn commit_error(&self) -> Option<String> {
        self.lock().commit_error.clone()
    }

    /// Notes that a background thread ended though the log is open.
    pub(crate) fn set_ended(&self, thread: &str) {
        self.lock().ended =
            Some(format!("the thread `{thread}` ended; restart, nothing acknowledged is lost"));
    }

    /// Which background thread ended though the log is open.
    pub(crate) fn ended(&self) -> Option<String> {
        self.lock().ended.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first offset of `partition` that each table does not hold.
///
/// Every frame has a receipt and receipts are committed last, so what the receipts' table has
/// committed, the others have too, even where they had no row to commit.
pub(crate) fn bounds(tables: &[Arc<TableSnapshot>], partition: &PartitionId) -> [Offset; 3] {
    let next =
        |kind: TableKind| tables[kind.index()].committed.get(partition).map_or(0, |&committed| committed + 1);
    let all = next(TableKind::Receipts);
    TableKind::ALL.map(|kind| next(kind).max(all))
}

/// Whether a file of another partition than `own` holds rows on both sides of where `whole` ends it.
///
/// Compaction makes no such file of what is not whole when it runs, see [`Table::compact_once`]; one is met
/// where `whole` was read before that.
pub(crate) fn have_files_across(
    tables: &[Arc<TableSnapshot>],
    own: &PartitionId,
    whole: &HashMap<PartitionId, Offset>,
) -> bool {
    let is_across = |file: &DataFile| {
        let ends = |whole: &Offset| (file.offsets.0..file.offsets.1).contains(whole);
        file.partition != *own && whole.get(&file.partition).is_some_and(ends)
    };
    tables.iter().any(|table| table.files.iter().any(is_across))
}

impl Others {
    pub(crate) fn new(tables: Vec<Arc<TableSnapshot>>, whole: HashMap<PartitionId, Offset>) -> Self {
        Self { tables, whole: Arc::new(whole) }
    }

    /// Up to where all tables hold what other nodes have committed, by partition.
    pub(crate) fn whole(&self) -> Arc<HashMap<PartitionId, Offset>> {
        Arc::clone(&self.whole)
    }

    /// The tables with what they hold now of the partition `own`, whose rest is in memory, and of every
    /// other one what all tables held at the last look.
    pub(crate) fn beside(
        &self,
        tables: Vec<Arc<TableSnapshot>>,
        own: &PartitionId,
    ) -> Vec<Arc<TableSnapshot>> {
        let is_alone = |table: &TableSnapshot| table.committed.keys().all(|partition| partition == own);
        let beside = |table: Arc<TableSnapshot>| {
            let theirs = self.tables.get(table.kind.index()).filter(|theirs| !is_alone(theirs));
            if theirs.is_none() && is_alone(&table) {
                return table;
            }
            let mut table = TableSnapshot::clone(&table);
            let files = Arc::make_mut(&mut table.files);
            files.retain(|file| file.partition == *own);
            table.committed.retain(|partition, _| partition == own);
            let holes = Arc::make_mut(&mut table.holes);
            holes.retain(|hole| hole.partition == *own);
            if let Some(theirs) = theirs {
                let whole = |partition: &PartitionId| self.whole.get(partition).filter(|_| partition != own);
                let is_whole =
                    |file: &&DataFile| whole(&file.partition).is_some_and(|whole| file.offsets.0 <= *whole);
                files.extend(theirs.files.iter().filter(is_whole).cloned());
                files.sort_by(|a, b| (&a.partition, a.offsets.0).cmp(&(&b.partition, b.offsets.0)));
                // Whoever has the rows has no hole for them yet.
                holes.extend(theirs.holes.iter().filter(|hole| hole.partition != *own).cloned());
                holes.sort_by(|a, b| (&a.partition, a.first).cmp(&(&b.partition, b.first)));
                table.committed.extend(
                    theirs.committed.iter().filter_map(|(partition, last)| {
                        Some((partition.clone(), *last.min(whole(partition)?)))
                    }),
                );
            }
            Arc::new(table)
        };
        tables.into_iter().map(beside).collect()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut inner = self.published.lock();
        if let Some(count) = inner.pins.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                inner.pins.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests;
