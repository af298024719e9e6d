//! Rows of the log in pages, by time of receipt.

mod window;

use crate::engine::{Engine, execute};
use crate::{Answer, SqlError};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, col, lit};
use pipeline::Micros;
use pipeline::event::{Event, Rejected};
use pipeline::log::table::TableKind;
use pipeline::log::{EVENT_COLUMNS, LogError, Offset, Snapshot, Stored, stored_events, stored_rejected};
pub(crate) use window::Span;
use window::Window;

/// How many rows the first look covers, about; each next one covers [`GROWTH`] times as many.
const FIRST_ROWS: u64 = 10_000;
const GROWTH: u64 = 8;
/// A page looks at no more rows than about this, whatever it found by then.
const ROWS_MAX: u64 = 5_000_000;

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageOf {
    /// Columns and the text that each must hold.
    pub equal: Vec<(&'static str, String)>,
    /// The one at this offset of the log.
    pub offset: Option<Offset>,
    /// Received at this time or later.
    pub from: Option<Micros>,
    /// Received before this time.
    pub to: Option<Micros>,
    /// Behind this place, in the order of the page.
    pub after: Option<Place>,
    /// Whether the oldest come first, and not the newest.
    pub oldest_first: bool,
    /// At most this many rows.
    pub limit: usize,
}

/// A place between rows in the order of time of receipt, and of partition where that is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The time of receipt.
    pub received_at: Micros,
    /// The partition; no text lies before all partitions.
    pub partition: String,
}

/// Rows of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in order. They may be fewer than asked for, or none, before the end.
    pub rows: Vec<Stored<T>>,
    /// Where the next page begins; `None` when there is nothing more.
    pub next: Option<Place>,
}

impl Engine {
    /// A page of events: newest first where nothing else is said, those that are not committed yet too.
    ///
    /// It walks through time in growing steps until the page is full. After some five million rows it
    /// ends with what it has, and [`Page::next`] goes on from there; no page costs more than that.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn events_page(&self, of: &PageOf) -> Result<Page<Event<'static>>, SqlError> {
        self.page(TableKind::Events, of, stored_events).await
    }

    /// A page of rejected events; see [`Engine::events_page`].
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn rejected_page(&self, of: &PageOf) -> Result<Page<Rejected<'static>>, SqlError> {
        self.page(TableKind::Rejected, of, stored_rejected).await
    }

    async fn page<T>(
        &self,
        kind: TableKind,
        of: &PageOf,
        read: impl Fn(&RecordBatch) -> Result<Vec<Stored<T>>, LogError>,
    ) -> Result<Page<T>, SqlError> {
        let snapshot = self.snapshot();
        let spans = self.received(&snapshot, kind);
        let want = of.limit.max(1);
        let (mut rows, mut looked_at, mut step) = (Vec::new(), 0, FIRST_ROWS);
        let mut rest = Window::of(of);
        loop {
            let (window, behind) = rest.split(&spans, step, of.oldest_first);
            // One more than there is room for tells whether there is more.
            let answer = self.window(&snapshot, kind, of, window, want + 1 - rows.len()).await?;
            let (batches, truncated) = answer.collect().await?;
            for batch in &batches {
                rows.extend(read(batch).map_err(|error| SqlError::Failed { message: error.to_string() })?);
            }
            looked_at += step;
            let more = behind.is_some() || truncated || rows.len() > want;
            if rows.len() >= want || truncated && !rows.is_empty() {
                rows.truncate(want);
                let next = rows.last().filter(|_| more).map(place);
                return Ok(Page { rows, next });
            }
            match behind {
                None => return Ok(Page { rows, next: None }),
                Some(behind) if looked_at >= ROWS_MAX => {
                    let next = behind.begin(of.oldest_first);
                    return Ok(Page { rows, next });
                }
                Some(behind) => (rest, step) = (behind, step * GROWTH),
            }
        }
    }

    /// The first rows of a window.
    async fn window(
        &self,
        snapshot: &Snapshot,
        kind: TableKind,
        of: &PageOf,
        window: Window,
        limit: usize,
    ) -> Result<Answer, SqlError> {
        let filters: Vec<_> = filters(of, window).collect();
        let (snapshot, ascending) = (snapshot.clone(), of.oldest_first);
        self.run("".into(), move |planner, _| async move {
            let (state, mut table) = planner.table(&snapshot, kind).await?;
            for filter in filters {
                table = table.filter(filter)?;
            }
            if kind == TableKind::Events {
                table = table.select_columns(&EVENT_COLUMNS)?;
            }
            let order = ["received_at", "log_partition"].map(|column| col(column).sort(ascending, false));
            let plan = table.sort(order.to_vec())?.limit(0, Some(limit))?.into_unoptimized_plan();
            execute(&state, plan).await
        })
        .await
    }
}

fn filters(of: &PageOf, window: Window) -> impl Iterator<Item = Expr> {
    let received_at = || col("received_at");
    let equal = of.equal.iter().map(|(column, text)| col(*column).eq(lit(text)));
    let from = window.from.map(|from| received_at().gt_eq(time(from)));
    let to = window.to.map(|to| received_at().lt(time(to)));
    let after = of.after.as_ref().map(|after| {
        let (at, partition) = (time(after.received_at), lit(&after.partition));
        let same = received_at().eq(at.clone());
        if of.oldest_first {
            received_at().gt(at).or(same.and(col("log_partition").gt(partition)))
        } else {
            received_at().lt(at).or(same.and(col("log_partition").lt(partition)))
        }
    });
    let offset = of.offset.map(|offset| col("log_offset").eq(lit(i64::try_from(offset).unwrap_or(i64::MAX))));
    equal.chain(offset).chain(from).chain(to).chain(after)
}

fn time(at: Micros) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())))
}

fn place<T>(row: &Stored<T>) -> Place {
    Place { received_at: row.received_at, partition: row.partition.to_string() }
}

#[cfg(test)]
mod tests;
