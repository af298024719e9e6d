//! What a Delta action says about the values in a file.

use crate::page::Span;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use pipeline::event::parse_timestamp;
use pipeline::log::table::{DataFile, TableKind, TableSnapshot};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The statistics of one file, in the two forms the planner wants.
#[derive(Debug)]
pub(super) struct FileStats {
    /// For pruning: no value lies outside of min and max. All table columns, partition column last.
    pub(super) bounds: Arc<Statistics>,
    /// For planning: counts are exact; min and max only where they are values in the file. File
    /// columns only.
    pub(super) published: Arc<Statistics>,
}

/// Statistics of the files of the latest snapshots, so that each is parsed once.
#[derive(Debug, Default)]
pub(crate) struct StatsCache(Mutex<HashMap<TableKind, Known>>);

/// The statistics of a table's files by path, and the columns they are about.
type Known = (SchemaRef, HashMap<String, Arc<FileStats>>);

impl StatsCache {
    /// The statistics of each file of `table`, in order. Those of files that are gone are dropped.
    pub(super) fn of(&self, table: &TableSnapshot, schema: &SchemaRef) -> Vec<Arc<FileStats>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&table.kind);
        let known =
            known.filter(|(columns, _)| columns == schema).map(|(_, known)| known).unwrap_or_default();
        let mut next = HashMap::with_capacity(table.files.len());
        let mut all = Vec::with_capacity(table.files.len());
        for file in table.files.iter() {
            let stats = known.get(&file.path).map(Arc::clone);
            let stats = stats.unwrap_or_else(|| Arc::new(FileStats::parse(file, schema)));
            next.insert(file.path.clone(), Arc::clone(&stats));
            all.push(stats);
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table.kind, (Arc::clone(schema), next));
        all
    }

    /// When the rows of each file of `table` were received; the whole day where that is not known.
    pub(crate) fn received(&self, table: &TableSnapshot, schema: &SchemaRef) -> Vec<Span> {
        let Ok(column) = schema.index_of("received_at") else { return Vec::new() };
        let stats = self.of(table, schema);
        let files = table.files.iter().zip(&stats);
        let span = |(file, stats): (&DataFile, &Arc<FileStats>)| {
            let bounds = &stats.bounds.column_statistics[column];
            let day = i64::from(file.received_date) * DAY;
            let first = micros(&bounds.min_value).unwrap_or(day);
            let last = micros(&bounds.max_value).unwrap_or(day + DAY - 1);
            Span { first, last, rows: file.rows }
        };
        files.map(span).collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeltaStats {
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
    null_count: Map<String, Value>,
}

impl FileStats {
    /// Reads the `stats` of a Delta action (Delta protocol, "Per-file Statistics"). What is missing
    /// or of an unexpected type is unknown.
    fn parse(file: &DataFile, schema: &SchemaRef) -> Self {
        let delta: DeltaStats = serde_json::from_str(&file.stats).unwrap_or_default();
        let columns = &schema.fields()[..schema.fields().len().saturating_sub(1)];
        let mut bounds: Vec<ColumnStatistics> = columns
            .iter()
            .map(|column| {
                let name = column.name();
                let nulls = delta.null_count.get(name).and_then(Value::as_u64);
                ColumnStatistics {
                    null_count: nulls.map_or(Precision::Absent, |nulls| Precision::Exact(nulls as usize)),
                    min_value: bound(column.data_type(), delta.min_values.get(name), 0),
                    max_value: bound(column.data_type(), delta.max_values.get(name), MILLISECOND_REST),
                    ..ColumnStatistics::new_unknown()
                }
            })
            .collect();
        let published = columns.iter().zip(&bounds).map(|(column, bounds)| {
            if column.data_type().is_integer() { bounds.clone() } else { inexact(bounds.clone()) }
        });
        let published = statistics(file, published.collect());
        let date = Precision::Exact(ScalarValue::Date32(Some(file.received_date)));
        bounds.push(ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: date.clone(),
            max_value: date,
            ..ColumnStatistics::new_unknown()
        });
        Self { bounds: Arc::new(statistics(file, bounds)), published: Arc::new(published) }
    }
}

fn statistics(file: &DataFile, column_statistics: Vec<ColumnStatistics>) -> Statistics {
    Statistics {
        num_rows: Precision::Exact(file.rows as usize),
        total_byte_size: Precision::Inexact(file.bytes as usize),
        column_statistics,
    }
}

/// Text may be cut and times rounded, so that their bounds are no values of the file.
fn inexact(mut column: ColumnStatistics) -> ColumnStatistics {
    column.min_value = column.min_value.to_inexact();
    column.max_value = column.max_value.to_inexact();
    column
}

/// A day, in µs.
const DAY: i64 = 86_400_000_000;

fn micros(time: &Precision<ScalarValue>) -> Option<i64> {
    match time.get_value() {
        Some(ScalarValue::TimestampMicrosecond(micros, _)) => *micros,
        _ => None,
    }
}

/// What a time may have lost when it was written with milliseconds only.
const MILLISECOND_REST: i64 = 999;

fn bound(kind: &DataType, value: Option<&Value>, rest: i64) -> Precision<ScalarValue> {
    let scalar = match (kind, value) {
        (DataType::Utf8, Some(Value::String(text))) => Some(ScalarValue::Utf8(Some(text.clone()))),
        (DataType::Int64, Some(value)) => value.as_i64().map(|number| ScalarValue::Int64(Some(number))),
        (DataType::Int32, Some(value)) => value
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .map(|number| ScalarValue::Int32(Some(number))),
        (DataType::UInt64, Some(value)) => value.as_u64().map(|number| ScalarValue::UInt64(Some(number))),
        (DataType::Timestamp(TimeUnit::Microsecond, zone), Some(Value::String(text))) => {
            parse_timestamp(text).map(|time| {
                let rest = if fraction_digits(text) > 3 { 0 } else { rest };
                ScalarValue::TimestampMicrosecond(Some(time + rest), zone.clone())
            })
        }
        _ => None,
    };
    scalar.map_or(Precision::Absent, Precision::Exact)
}

fn fraction_digits(time: &str) -> usize {
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).count()
}
