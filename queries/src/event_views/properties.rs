//! Which properties an event has.

use super::names::frame;
use crate::table::LogTable;
use arrow::array::AsArray;
use datafusion::common::Result;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{col, lit};
use pipeline::log::table::promoted::each_property;
use std::collections::BTreeSet;

/// So many rows of an event are looked at.
const ROWS_MAX: usize = 1_000;

/// The keys of `properties` in rows of an event that a scan meets first, in files and in what waits
/// for its commit.
pub(super) async fn sample(event: &str, events: &LogTable, state: &SessionState) -> Result<BTreeSet<String>> {
    let is_event = col("type").eq(lit("track")).and(col("event").eq(lit(event)));
    let mut found = BTreeSet::new();
    for table in [Some(events.files_only()), events.fresh_only()].into_iter().flatten() {
        let rows = frame(table, state)?.filter(is_event.clone())?.select(vec![col("properties")])?;
        for batch in rows.limit(0, Some(ROWS_MAX))?.collect().await? {
            let column = batch.column(0).as_string_opt::<i32>();
            for json in column.into_iter().flatten().flatten() {
                each_property(json, |key, _| {
                    if !found.contains(key) {
                        found.insert(key.to_owned());
                    }
                });
            }
        }
    }
    Ok(found)
}
