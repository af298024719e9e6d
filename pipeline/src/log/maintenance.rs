//! Work that keeps the tables quick to read: compaction, checkpoints, retention, and cleaning up; and,
//! beside it, taking in what other nodes have committed.

use super::LogError;
use super::census::{self, Census, Promotion};
use super::lease::Lease;
use super::published::Published;
use super::retention::{KeepingCell, Need, Notices, Remover};
use super::table::promoted::{COLUMNS_MAX, ColumnChange, ColumnError};
use super::table::{Compacted, CompactionPolicy, Retention, Table, TableKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the commits of other nodes are looked for.
const REFRESH: Duration = Duration::from_secs(1);

/// How often each table is looked after.
pub(crate) const TICK: Duration = Duration::from_secs(5);

/// How often files and log entries that nobody needs are looked for.
const CLEAN: Duration = Duration::from_secs(15 * 60);

/// How often it is looked for rows that are older than their table keeps them.
const RETAIN: Duration = Duration::from_secs(60);

/// How often a file of a day that is over is rewritten with the promoted columns that it lacks.
const BACKFILL: Duration = Duration::from_secs(30);

pub(crate) struct Maintenance {
    /// How often each table is looked after: [`TICK`].
    pub(crate) tick: Duration,
    pub(crate) tables: Vec<Arc<Table>>,
    /// Whose turn it is among several nodes.
    pub(crate) lease: Lease,
    pub(crate) stopped: watch::Receiver<bool>,
    /// What readers of the log see; without it there is no census.
    pub(crate) published: Option<Arc<Published>>,
    /// What the census decides about.
    pub(crate) promotion: Promotion,
    /// How long rows are kept, once that is told.
    pub(crate) keeping: KeepingCell,
    pub(crate) remover: Remover,
    /// Where nodes tell each other what they need; of tables that nobody reads, nothing is needed.
    pub(crate) notices: Option<Notices>,
}

/// Takes in what other nodes commit, whatever else is going on.
struct Follower {
    tables: Vec<Arc<Table>>,
    published: Option<Arc<Published>>,
    stopped: watch::Receiver<bool>,
}

impl Maintenance {
    /// Runs until it is stopped, between two pieces of work. A failure is told and tried again.
    pub(crate) async fn run(self) {
        let (tables, published) = (self.tables.clone(), self.published.clone());
        let follower = Follower { tables, published, stopped: self.stopped.clone() };
        // A compaction may take minutes, and other nodes' rows shall be seen in a second.
        tokio::join!(follower.run(), self.look_after());
    }

    async fn look_after(mut self) {
        let (mut clean_at, mut retain_at) = (Instant::now() + CLEAN, Instant::now());
        let mut backfill_at = Instant::now() + BACKFILL;
        let mut census = Census::default();
        loop {
            tokio::select! {
                _ = self.stopped.changed() => return,
                () = tokio::time::sleep(self.tick) => {}
            }
            let retain = Instant::now() >= retain_at;
            if retain {
                retain_at = Instant::now() + RETAIN;
                self.tell_needs().await;
            }
            match self.lease.hold().await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(%error, "the tables are not looked after");
                    continue;
                }
            }
            let clean = Instant::now() >= clean_at;
            if clean {
                clean_at = Instant::now() + CLEAN;
            }
            for table in &self.tables {
                if let Err(error) = self.maintain(table, clean).await {
                    tracing::warn!(%error, table = table.kind().name(), "a table could not be looked after");
                }
            }
            if retain && let Err(error) = self.retain().await {
                tracing::warn!(%error, "rows that are due could not be removed");
            }
            if let Err(error) = self.promote(&mut census).await {
                tracing::warn!(%error, "frequent properties could not be given columns");
            }
            if Instant::now() >= backfill_at {
                backfill_at = Instant::now() + BACKFILL;
                if let Err(error) = self.backfill().await {
                    tracing::warn!(%error, "promoted columns of an older file could not be filled");
                }
            }
        }
    }

    /// Tells the other nodes what this one's destinations need, as one of them may remove rows.
    async fn tell_needs(&mut self) {
        let (Some(keeping), Some(notices)) = (self.keeping.get(), &mut self.notices) else { return };
        let told = match keeping.needs().await {
            Ok(Some(needs)) => notices.tell(&needs).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "other nodes do not know which events are needed here");
        }
    }

    /// Removes rows that are older than their table keeps them, and that nobody needs.
    async fn retain(&mut self) -> Result<(), LogError> {
        let Some(keeping) = self.keeping.get() else { return Ok(()) };
        let mut needs: Vec<Need> = keeping.needs().await?.unwrap_or_default();
        if keeping.limits.events.is_some()
            && let Some(notices) = &self.notices
        {
            needs.extend(notices.of_others().await?);
        }
        self.remover.remove(&keeping.limits, &needs).await
    }

    /// Gives columns to properties that are frequent in recent rows, or tells which have none.
    async fn promote(&self, census: &mut Census) -> Result<(), ColumnError> {
        let Some(published) = &self.published else { return Ok(()) };
        let events = published.table(TableKind::Events);
        let frequent = census.look(&events.snapshot()).await?;
        let before = events.snapshot().promoted.columns().len();
        let (keys, not) = census::sorted(self.promotion, &events.snapshot().promoted, frequent);
        published.note_not_promoted(not);
        if !keys.is_empty() && before < COLUMNS_MAX {
            let promoted = events.change_columns(&ColumnChange::Promote(keys)).await?;
            let columns = promoted.columns().len();
            tracing::info!(
                columns,
                new = columns - before.min(columns),
                "frequent properties have columns now"
            );
        }
        Ok(())
    }

    /// One file each time: it costs as much as a compaction, and nothing waits for it.
    async fn backfill(&self) -> Result<(), LogError> {
        let events = self.tables.iter().find(|table| table.kind() == TableKind::Events);
        let Some(events) = events else { return Ok(()) };
        if let Some(done) = events.backfill_once(CompactionPolicy::default()).await? {
            let Compacted { rows, bytes, .. } = done;
            tracing::info!(rows, bytes, "the promoted columns of an older file were filled");
            metrics::counter!("flowstate_log_backfills_total").increment(1);
        }
        Ok(())
    }

    async fn maintain(&self, table: &Table, clean: bool) -> Result<(), LogError> {
        let receipts = self.published.as_ref().map(|published| published.table(TableKind::Receipts));
        while !*self.stopped.borrow() {
            let whole = receipts.map(|receipts| receipts.snapshot().committed.clone());
            let done = table.compact_once(CompactionPolicy::default(), whole.as_ref()).await?;
            let Some(done) = done else { break };
            tracing::info!(
                table = table.kind().name(),
                files = done.files_in,
                rows = done.rows,
                bytes = done.bytes,
                "small files became one"
            );
            metrics::counter!("flowstate_log_compactions_total", "table" => table.kind().name()).increment(1);
        }
        table.checkpoint().await?;
        if clean {
            table.clean(Retention::default()).await?;
        }
        Ok(())
    }
}

impl Follower {
    /// Runs until it is stopped. A failure is told and tried again.
    async fn run(mut self) {
        loop {
            tokio::select! {
                _ = self.stopped.changed() => return,
                () = tokio::time::sleep(REFRESH) => {}
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "commits of other nodes cannot be read");
            }
        }
    }

    /// Takes in what other nodes have committed; of the log's own tables, whole requests only.
    async fn refresh(&self) -> Result<(), LogError> {
        if let Some(published) = &self.published {
            return published.refresh().await;
        }
        for table in &self.tables {
            table.refresh().await?;
        }
        Ok(())
    }
}
