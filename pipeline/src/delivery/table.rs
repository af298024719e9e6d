//! The `deliveries` table: the journal's records where people can query them.

mod flush;
mod fresh;
mod needed;
mod rows;

use super::journal::{Journal, JournalConfig};
use super::lane_store::LaneStore;
use crate::Clock;
use crate::log::maintenance::{Maintenance, TICK};
use crate::log::retention::{Keeping, KeepingCell, Limits, Remover};
use crate::log::store::{Store, StoreConfig};
use crate::log::table::{Table, TableKind, TableSnapshot, WalCover};
use crate::log::wal::fs::{RealFs, WalFs};
use crate::log::{LogError, TableView, blocking};
use flush::{Flusher, positions, read};
use fresh::FreshRecords;
use needed::Needed;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Where deliveries are kept.
#[derive(Clone, Debug)]
pub struct DeliveriesConfig {
    /// The directory of the journal; one process at a time holds it.
    pub dir: PathBuf,
    /// The store of the tables, as for the log.
    pub store: StoreConfig,
    /// The size of a segment of the journal; [`JournalConfig::SEGMENT_BYTES`].
    pub segment_bytes: u64,
}

/// The journal of a node and the table that its records move to.
///
/// - A record is in the table exactly once: its sequence number is the Delta transaction version of
///   its journal, and flushing goes on behind the last one.
/// - A record stays in the journal until it is in the table and its lane's checkpoint holds it.
/// - [`Deliveries::snapshot`] has every record whose append has returned.
pub struct Deliveries {
    journal: Arc<Journal>,
    table: Arc<Table>,
    lanes: Arc<dyn LaneStore>,
    flusher: tokio::sync::Mutex<Flusher>,
    flush_error: Mutex<Option<String>>,
    keeping: KeepingCell,
    clock: Clock,
    stop: watch::Sender<bool>,
}

/// How deliveries are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveriesStatus {
    /// Why delivery ended; `None` while it goes on. The process must start anew.
    pub failed: Option<String>,
    /// The last record that is durable in the journal.
    pub last: u64,
    /// The last record that is in the table.
    pub flushed: u64,
    /// The first record that the journal still holds.
    pub first_held: u64,
    /// What the last flush failed with; `None` when it did not. Delivery goes on meanwhile.
    pub flush_error: Option<String>,
    /// Active files of the table.
    pub files: u64,
}

impl Deliveries {
    /// Opens journal and table, and makes them where there are none. Nothing is flushed before
    /// [`Deliveries::run`].
    ///
    /// # Errors
    /// [`LogError::Damaged`] when something durable cannot be read; [`LogError::Store`] when the disk,
    /// the store or the lanes' store fails, or another process holds the journal.
    pub async fn open(
        config: DeliveriesConfig,
        lanes: Arc<dyn LaneStore>,
        clock: Clock,
    ) -> Result<Arc<Self>, LogError> {
        let store = Store::open(&config.store).await?;
        Self::open_on(RealFs, &store, config, lanes, clock).await
    }

    async fn open_on(
        fs: impl WalFs + Clone,
        store: &Store,
        config: DeliveriesConfig,
        lanes: Arc<dyn LaneStore>,
        clock: Clock,
    ) -> Result<Arc<Self>, LogError> {
        let (peeking, dir) = (fs.clone(), config.dir.clone());
        let held = blocking(move || Ok(Journal::peek(&peeking, &dir)?)).await?;
        let cover = held.map(|(partition, first)| WalCover { partition, first });
        let table =
            Table::open_or_create(store, TableKind::Deliveries, clock.clone(), cover.as_ref()).await?;
        let committed = cover.and_then(|cover| table.committed(&cover.partition)).unwrap_or(0);
        let folded = positions(&*lanes).await?.into_iter().map(|lane| lane.journal).max().unwrap_or(0);
        let known = committed.max(folded);
        let journal =
            Journal::open(fs, JournalConfig { dir: config.dir, segment_bytes: config.segment_bytes, known })
                .await?;
        // In a journal that was begun anew, the numbers before its first are none of its own.
        let flushed = committed.max(journal.first() - 1);
        let mut needed = Needed::default();
        let (mut reader, mut noted) = (journal.reader(journal.first()), journal.first() - 1);
        while noted < flushed {
            let part;
            (reader, part) = read(reader, journal.id().clone(), flushed).await?;
            let Some(part) = part else { break };
            noted = part.last;
            needed.note(noted.min(flushed) + 1, part.lanes);
        }
        let (stop, _) = watch::channel(false);
        Ok(Arc::new(Self {
            journal: Arc::new(journal),
            table: Arc::new(table),
            lanes,
            flusher: tokio::sync::Mutex::new(Flusher { flushed, needed }),
            flush_error: Mutex::new(None),
            keeping: KeepingCell::default(),
            clock,
            stop,
        }))
    }

    /// The journal that lanes append to and recover from.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// All records as they are now; every append that has returned is in it.
    pub fn snapshot(&self) -> TableView {
        // The journal first: what is released from it later is in the table that is looked at then.
        let reader = self.journal.reader(self.journal.first());
        let table = self.table.snapshot();
        let flushed = self.flushed(&table).max(reader.first() - 1);
        let records = reader.last().saturating_sub(flushed);
        let journal = (records > 0).then(|| (self.journal.id().clone(), reader.starting_at(flushed + 1)));
        TableView::new(table, Arc::new(FreshRecords { journal, records }))
    }

    /// Has records removed from the table from now on that are older than `limits` says of deliveries;
    /// only the first call counts. Lanes do not need them: their state is in the journal and in their
    /// checkpoints.
    pub fn retain(&self, limits: Limits) {
        // The first call counts.
        let _ = self.keeping.set(Keeping { limits, needs: None });
    }

    /// Flushes every 2 s, or as soon as 20,000 records wait, and looks after the table, until
    /// [`Deliveries::close`]. Give it a task of its own.
    pub async fn run(self: Arc<Self>) {
        let (tables, stopped) = (vec![Arc::clone(&self.table)], self.stop.subscribe());
        let lease = self.table.lease("deliveries", &self.journal.id().0);
        let maintenance = Maintenance {
            tick: TICK,
            lease,
            stopped,
            published: None,
            promotion: Default::default(),
            keeping: Arc::clone(&self.keeping),
            remover: Remover::new(tables.clone(), self.clock.clone()),
            notices: None,
            tables,
        };
        tokio::join!(self.flush_when_due(), maintenance.run());
    }

    /// Flushes all records that are durable now, and lets the journal go of what nobody needs.
    ///
    /// # Errors
    /// [`LogError::Store`] when a store fails; the records stay in the journal, and the next flush
    /// repeats none. [`LogError::Damaged`] when the journal cannot be read.
    pub async fn flush(&self) -> Result<(), LogError> {
        let outcome = self.flush_all().await;
        if outcome.is_err() {
            metrics::counter!("flowstate_deliveries_flush_errors_total").increment(1);
        }
        *self.flush_error.lock().unwrap_or_else(PoisonError::into_inner) =
            outcome.as_ref().err().map(ToString::to_string);
        outcome
    }

    /// How deliveries are doing now.
    pub fn status(&self) -> DeliveriesStatus {
        let table = self.table.snapshot();
        DeliveriesStatus {
            failed: self.journal.usable().err().map(|error| error.to_string()),
            last: self.journal.last(),
            flushed: self.flushed(&table).max(self.journal.first() - 1),
            first_held: self.journal.first(),
            flush_error: self.flush_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            files: table.files.len() as u64,
        }
    }

    /// Ends [`Deliveries::run`], flushes, and lets go of the journal. Lanes must have stopped.
    ///
    /// # Errors
    /// As [`Deliveries::flush`]; the journal is let go all the same.
    pub async fn close(&self) -> Result<(), LogError> {
        self.stop.send_replace(true);
        let flushed = self.flush().await;
        let closed = self.journal.close().await;
        flushed?;
        Ok(closed?)
    }

    fn flushed(&self, table: &TableSnapshot) -> u64 {
        table.committed.get(self.journal.id()).copied().unwrap_or(0)
    }
}

/// The committed records in a store that nobody needs to be writing to; `None` where there never were
/// any.
///
/// # Errors
/// As [`crate::log::read_only`].
pub async fn read_only(store: &StoreConfig) -> Result<Option<TableView>, LogError> {
    let store = Store::open_read_only(store)?;
    let table = Table::read(&store, TableKind::Deliveries).await?;
    let none = || Arc::new(FreshRecords { journal: None, records: 0 });
    Ok(table.map(|table| TableView::new(Arc::new(table), none())))
}

#[cfg(test)]
mod tests;
