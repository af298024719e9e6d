//! The table `holes`: what was removed from the log for good, and why.

use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use pipeline::log::Snapshot;
use pipeline::log::table::{Hole, TableKind};
use std::sync::Arc;

/// Its name in SQL.
pub(crate) const HOLES: &str = "holes";

/// One row for each hole: the table and the partition, the first and the last offset of the rows that
/// are gone, how many they were, why they went, the days they were received on, and when they went.
pub(crate) fn table(snapshot: &Snapshot) -> Result<MemTable> {
    let holes: Vec<(TableKind, &Hole)> = snapshot
        .tables
        .iter()
        .flat_map(|view| view.table.holes.iter().map(|hole| (view.table.kind, hole)))
        .collect();
    let texts = |text: fn(&(TableKind, &Hole)) -> String| -> ArrayRef {
        Arc::new(holes.iter().map(|hole| Some(text(hole))).collect::<StringArray>())
    };
    let numbers = |number: fn(&Hole) -> u64| -> ArrayRef {
        // As in the tables: offsets are below 2^63.
        Arc::new(holes.iter().map(|(_, hole)| number(hole) as i64).collect::<Int64Array>())
    };
    let days = |day: fn(&Hole) -> i32| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(holes.iter().map(|(_, hole)| day(hole))))
    };
    let at = TimestampMicrosecondArray::from_iter_values(holes.iter().map(|(_, hole)| hole.at));
    let columns: [(&str, ArrayRef); 9] = [
        ("table_name", texts(|(kind, _)| kind.name().to_owned())),
        ("log_partition", texts(|(_, hole)| hole.partition.to_string())),
        ("first_offset", numbers(|hole| hole.first)),
        ("last_offset", numbers(|hole| hole.last)),
        ("rows", numbers(|hole| hole.rows)),
        ("reason", texts(|(_, hole)| hole.reason.as_str().to_owned())),
        ("first_date", days(|hole| hole.first_day)),
        ("last_date", days(|hole| hole.last_day)),
        ("at", Arc::new(at.with_timezone("UTC"))),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))?;
    MemTable::try_new(rows.schema(), vec![vec![rows]])
}
