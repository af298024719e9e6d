//! The statistics of a file, as Delta keeps them: bounds that hold, or nothing.
//!
//! Delta protocol, "Per-file Statistics" (read 2026-11).

use super::TableKind;
use super::promoted::FileFacts;
use chrono::{DateTime, Datelike as _, SecondsFormat};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// Texts are cut at this many bytes: a minimum downwards, a maximum upwards.
pub(super) const TEXT_BYTES_MAX: usize = 32;

const MILLISECOND: i64 = 1_000;

/// The `stats` of a file's action. Columns without any value have only a `nullCount`.
///
/// `promoted`, which the protocol does not know and readers pass over, says what the promoted columns
/// of the file are good for.
pub(super) fn to_json(kind: TableKind, file: &ParquetMetaData, promoted: &FileFacts) -> String {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    let schema = file.file_metadata().schema_descr();
    for name in kind.statistics_columns() {
        let Some(index) = schema.columns().iter().position(|column| column.path().string() == name) else {
            continue;
        };
        let mut bounds = Bounds::default();
        for group in file.row_groups() {
            bounds.widen(group.column(index).statistics(), group.num_rows());
        }
        let is_time = matches!(name, "received_at" | "timestamp" | "at");
        let (low, high) = bounds.to_values(is_time);
        min.extend(low.map(|value| (name.to_owned(), value)));
        max.extend(high.map(|value| (name.to_owned(), value)));
        nulls.extend(bounds.nulls.map(|count| (name.to_owned(), count.into())));
    }
    let rows = file.file_metadata().num_rows();
    let mut stats = json!({"numRecords": rows, "minValues": min, "maxValues": max, "nullCount": nulls});
    if !promoted.is_empty() {
        stats["promoted"] = json!(promoted);
    }
    stats.to_string()
}

/// The bounds of one column over all row groups.
struct Bounds {
    low: Option<Bound>,
    high: Option<Bound>,
    /// Whether every row group with values had bounds.
    known: bool,
    nulls: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Int(i64),
    Text(String),
}

impl Default for Bounds {
    fn default() -> Self {
        Self { low: None, high: None, known: true, nulls: Some(0) }
    }
}

impl Bounds {
    fn widen(&mut self, statistics: Option<&Statistics>, rows: i64) {
        let nulls = statistics.and_then(Statistics::null_count_opt);
        self.nulls = self.nulls.zip(nulls).map(|(sum, nulls)| sum + nulls);
        if nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(rows)) {
            return;
        }
        let bounds = match statistics {
            Some(Statistics::Int64(values)) => {
                values.min_opt().zip(values.max_opt()).map(|(min, max)| (Bound::Int(*min), Bound::Int(*max)))
            }
            Some(Statistics::ByteArray(values)) => values
                .min_opt()
                .zip(values.max_opt())
                .and_then(|(min, max)| Some((min.as_utf8().ok()?, max.as_utf8().ok()?)))
                .map(|(min, max)| (Bound::Text(min.to_owned()), Bound::Text(max.to_owned()))),
            _ => None,
        };
        let Some((low, high)) = bounds else {
            self.known = false;
            return;
        };
        self.low = Some(match self.low.take() {
            Some(known) => known.min(low),
            None => low,
        });
        self.high = Some(match self.high.take() {
            Some(known) => known.max(high),
            None => high,
        });
    }

    fn to_values(&self, is_time: bool) -> (Option<Value>, Option<Value>) {
        if !self.known {
            return (None, None);
        }
        let value = |bound: &Bound, round: fn(i64) -> i64| match bound {
            Bound::Int(micros) if is_time => time(round(*micros)),
            Bound::Int(number) => Some((*number).into()),
            // One that could not be cut says less than it costs.
            Bound::Text(text) => (text.len() <= 2 * TEXT_BYTES_MAX).then(|| text.as_str().into()),
        };
        let floor = |micros: i64| micros.saturating_sub(micros.rem_euclid(MILLISECOND));
        let ceiling =
            |micros: i64| micros.saturating_add((-micros.rem_euclid(MILLISECOND)).rem_euclid(MILLISECOND));
        (
            self.low.as_ref().and_then(|bound| value(bound, floor)),
            self.high.as_ref().and_then(|bound| value(bound, ceiling)),
        )
    }
}

/// Delta's times have milliseconds and four digits for the year.
fn time(micros: i64) -> Option<Value> {
    let time = DateTime::from_timestamp_micros(micros)?;
    (1..=9999).contains(&time.year()).then(|| time.to_rfc3339_opts(SecondsFormat::Millis, true).into())
}

#[cfg(test)]
mod tests {
    use super::super::encode::{Effort, Encoder};
    use super::*;
    use crate::event::Rejected;
    use crate::log::PartitionId;
    use crate::log::frame::{self, Batch, Frame, Origin};
    use crate::log::rows::Rows;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// The statistics of rejected events with these message ids, received from `received_at` on.
    fn stats(ids: &[Option<String>], received_at: i64) -> Value {
        let mut batch = Batch::new(Origin { source: "web".into(), test: false }, ids.len() as u32);
        for id in ids {
            batch.push_rejected(&Rejected {
                code: "bad".into(),
                field: None,
                message: "it is wrong".into(),
                message_id: id.as_deref().map(Into::into),
                body: None,
                body_bytes: 0,
            });
        }
        let mut bytes = Vec::new();
        frame::encode(&batch, &[], 0, received_at, &mut bytes);
        let mut rows = Rows::after(PartitionId("a".into()), [None; 3]);
        rows.push(&Frame::decode(&mut bytes.as_slice()).unwrap()).unwrap();
        let kind = TableKind::Rejected;
        let mut encoder = Encoder::new(kind, &Arc::default(), Effort::Append).unwrap();
        for batch in rows.finish().get(kind) {
            encoder.push(batch).unwrap();
        }
        serde_json::from_str(&encoder.finish().unwrap().unwrap().stats).unwrap()
    }

    fn id() -> impl Strategy<Value = Option<String>> {
        let characters =
            prop_oneof![Just('a'), Just('\u{7f}'), Just('\u{7ff}'), Just('\u{ffff}'), Just('\u{10ffff}')];
        let text = proptest::collection::vec(characters, 0..60).prop_map(String::from_iter);
        proptest::option::of(text)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_value_lies_outside_the_bounds(
            ids in proptest::collection::vec(id(), 1..5), received_at in 0..4_000_000_000_000_000_i64,
        ) {
            let stats = stats(&ids, received_at);
            let nulls = ids.iter().filter(|id| id.is_none()).count();
            prop_assert_eq!(&stats["nullCount"]["message_id"], &Value::from(nulls));
            for id in ids.iter().flatten() {
                let [min, max] = ["minValues", "maxValues"].map(|bound| stats[bound]["message_id"].as_str());
                prop_assert!(min.is_none_or(|min| min <= id.as_str()), "{min:?} {id:?}");
                prop_assert!(max.is_none_or(|max| max >= id.as_str()), "{max:?} {id:?}");
            }
            let time = |bound: &str| {
                let text = stats[bound]["received_at"].as_str().unwrap();
                DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
            };
            let last = received_at + ids.len() as i64;
            prop_assert!((0..MILLISECOND).contains(&(received_at + 1 - time("minValues"))));
            prop_assert!((0..MILLISECOND).contains(&(time("maxValues") - last)));
        }
    }

    #[test]
    fn long_texts_are_cut_and_still_bound() {
        let stats = stats(&[Some("x".repeat(100)), Some("x".repeat(99))], 0);
        assert_eq!(stats["minValues"]["message_id"], "x".repeat(32));
        assert_eq!(stats["maxValues"]["message_id"], format!("{}y", "x".repeat(31)));
    }
}
