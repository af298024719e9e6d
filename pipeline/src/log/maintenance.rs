//! Work that keeps the tables quick to read: compaction, checkpoints, and cleaning up; and taking in
//! what other nodes have committed.

use super::LogError;
use super::census::{self, Census};
use super::lease::Lease;
use super::published::Published;
use super::table::promoted::{COLUMNS_MAX, ColumnChange, ColumnError};
use super::table::{Compacted, CompactionPolicy, Retention, Table, TableKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the commits of other nodes are looked for.
const REFRESH: Duration = Duration::from_secs(1);

/// How often each table is looked after.
const TICK: Duration = Duration::from_secs(5);

/// How often files and log entries that nobody needs are looked for.
const CLEAN: Duration = Duration::from_secs(15 * 60);

/// How often a file of a day that is over is rewritten with the promoted columns that it lacks.
const BACKFILL: Duration = Duration::from_secs(30);

pub(crate) struct Maintenance {
    pub(crate) tables: Vec<Arc<Table>>,
    /// Whose turn it is among several nodes.
    pub(crate) lease: Lease,
    pub(crate) stopped: watch::Receiver<bool>,
    /// What readers of the log see; without it there is no census.
    pub(crate) published: Option<Arc<Published>>,
}

impl Maintenance {
    /// Runs until it is stopped, between two pieces of work. A failure is told and tried again.
    pub(crate) async fn run(mut self) {
        let (mut tick_at, mut clean_at) = (Instant::now() + TICK, Instant::now() + CLEAN);
        let mut backfill_at = Instant::now() + BACKFILL;
        let mut census = Census::default();
        loop {
            tokio::select! {
                _ = self.stopped.changed() => return,
                () = tokio::time::sleep(REFRESH) => {}
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "commits of other nodes cannot be read");
            }
            if Instant::now() < tick_at {
                continue;
            }
            tick_at = Instant::now() + TICK;
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

    /// Gives columns to properties that are frequent in recent rows.
    async fn promote(&self, census: &mut Census) -> Result<(), ColumnError> {
        let Some(published) = &self.published else { return Ok(()) };
        let events = published.table(TableKind::Events);
        let frequent = census.look(&events.snapshot()).await?;
        let before = events.snapshot().promoted.columns().len();
        let (keys, not) = census::sorted(&events.snapshot().promoted, frequent);
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
