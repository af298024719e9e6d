//! Removes what is due: the part of retention that changes tables.

use super::{Due, Limits, Need, due};
use crate::Clock;
use crate::log::LogError;
use crate::log::table::{DataFile, HoleReason, Table, TableKind};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Removes what is due from some tables, one commit for each, and tells what waits.
pub(crate) struct Remover {
    tables: Vec<Arc<Table>>,
    clock: Clock,
    /// What was said to wait, so that it is said once.
    told: BTreeSet<String>,
}

impl Remover {
    /// A remover over these tables; receipts come behind what they account for.
    pub(crate) fn new(tables: Vec<Arc<Table>>, clock: Clock) -> Self {
        Self { tables, clock, told: BTreeSet::new() }
    }

    /// Removes what is older than `limits` and waits for nothing.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails. What was not removed is due at the next look.
    pub(crate) async fn remove(&mut self, limits: &Limits, needs: &[Need]) -> Result<(), LogError> {
        for table in &self.tables {
            table.refresh().await?;
        }
        let mut waiting = BTreeSet::new();
        for table in &self.tables {
            let snapshots: Vec<_> = self.tables.iter().map(|table| table.snapshot()).collect();
            let (goes, waits): (Vec<Due>, Vec<Due>) = due(&snapshots, limits, needs, self.clock.now())
                .into_iter()
                .filter(|due| due.table == table.kind())
                .partition(|due| due.waits_for.is_empty());
            let files: Vec<DataFile> = goes.iter().flat_map(|due| due.files.iter().cloned()).collect();
            if table.take_out(&files, HoleReason::Retention).await? {
                goes.iter().for_each(removed);
            }
            // It is there before the first row goes, for whoever draws it.
            metrics::counter!("flowstate_log_retention_rows_total", "table" => table.kind().name())
                .increment(0);
            let rows: u64 = waits.iter().map(Due::rows).sum();
            metrics::gauge!("flowstate_log_retention_waiting_rows", "table" => table.kind().name())
                .set(rows as f64);
            waiting.extend(waits.iter().map(waits_for));
        }
        for line in waiting.difference(&self.told) {
            tracing::warn!("{line}");
        }
        self.told = waiting;
        Ok(())
    }
}

fn waits_for(due: &Due) -> String {
    let (table, partition, what) = (due.table.name(), &due.partition, due.waits_for.join(", "));
    format!("rows of `{table}` in partition {partition} are due and wait for {what}")
}

fn removed(due: &Due) {
    let Due { table, partition, days: (first_day, last_day), offsets: (first, last), .. } = due;
    metrics::counter!("flowstate_log_retention_rows_total", "table" => table.name()).increment(due.rows());
    tracing::info!(
        table = table.name(),
        %partition,
        first,
        last,
        rows = due.rows(),
        files = due.files.len(),
        days = last_day - first_day + 1,
        "rows that were older than their table keeps them were removed"
    );
    for who in &due.missed_by {
        tracing::warn!(
            table = TableKind::Events.name(),
            %partition,
            first,
            last,
            "{who}; events that it had not got were removed"
        );
    }
}
