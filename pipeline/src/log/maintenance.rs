//! Work that keeps the tables quick to read: compaction, checkpoints, and cleaning up.

use super::LogError;
use super::table::{CompactionPolicy, Retention, Table};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often each table is looked at.
const TICK: Duration = Duration::from_secs(5);

/// How often files and log entries that nobody needs are looked for.
const CLEAN: Duration = Duration::from_secs(15 * 60);

pub(crate) struct Maintenance {
    pub(crate) tables: Vec<Arc<Table>>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Maintenance {
    /// Runs until it is stopped, between two pieces of work. A failure is told and tried again.
    pub(crate) async fn run(mut self) {
        let mut clean_at = Instant::now() + CLEAN;
        loop {
            tokio::select! {
                _ = self.stopped.changed() => return,
                () = tokio::time::sleep(TICK) => {}
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
        }
    }

    async fn maintain(&self, table: &Table, clean: bool) -> Result<(), LogError> {
        while !*self.stopped.borrow() {
            let Some(done) = table.compact_once(CompactionPolicy::default()).await? else { break };
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
