//! Filling promoted columns from `properties`, and knowing what they are good for.

use super::scan::{self, Kind};
use super::{Promoted, PromotedColumn, PromotedType};
use crate::log::table::TableKind;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// What a promoted column of one file is good for.
///
/// `T` is the column's type, `value` what the column holds, and `properties->>'key'` the text that
/// JSON gives. Both are checked for every row while the file is written, so they hold for all of its
/// rows or are `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The column's type.
    #[serde(rename = "type")]
    pub kind: PromotedType,
    /// `properties->>'key'` is the text of `value`, see [`value_text`], and NULL where `value` is;
    /// every value in JSON that is not null has the column's type.
    pub exact: bool,
    /// `TRY_CAST(properties->>'key' AS T)` is `value`.
    pub cast: bool,
    /// So many values were of another type, or did not fit; they are NULL in the column.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mismatches: u64,
}

// serde wants a reference.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The facts of one file, by the column's name. A column that is missing here is none of ours.
pub type FileFacts = BTreeMap<String, Facts>;

/// What the columns are good for once rows with other facts follow.
pub(in crate::log::table) fn merge(known: &mut FileFacts, more: &FileFacts) {
    known.retain(|column, known| {
        let Some(more) = more.get(column).filter(|more| more.kind == known.kind) else { return false };
        known.exact &= more.exact;
        known.cast &= more.cast;
        known.mismatches += more.mismatches;
        true
    });
}

/// Fills the promoted columns of one file, batch by batch.
pub(in crate::log::table) struct Filler {
    promoted: Arc<Promoted>,
    facts: Vec<Facts>,
    seen: Vec<bool>,
}

impl Filler {
    pub(in crate::log::table) fn new(promoted: Arc<Promoted>) -> Self {
        let fact =
            |column: &PromotedColumn| Facts { kind: column.kind, exact: true, cast: true, mismatches: 0 };
        let facts = promoted.columns().iter().map(fact).collect();
        Self { promoted, facts, seen: Vec::new() }
    }

    /// The promoted columns of rows with these `properties`.
    pub(super) fn fill(&mut self, properties: &StringArray) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut columns: Vec<Column> =
            self.promoted.columns().iter().map(|column| Column::new(column.kind)).collect();
        let mut sure = true;
        for (row, json) in properties.iter().enumerate() {
            let Some(json) = json else { continue };
            let found = |at: usize, kind, text: &str| columns[at].push(row, kind, text);
            sure &= scan::scan(json, &self.promoted.by_key, &mut self.seen, found).is_ok();
        }
        let finished = columns.into_iter().zip(&mut self.facts).map(|(column, facts)| {
            let filled = column.finish(properties.len())?;
            facts.exact &= sure && filled.exact;
            facts.cast &= sure && filled.cast;
            facts.mismatches += filled.mismatches;
            Ok(filled.values)
        });
        finished.collect()
    }

    /// Rows with the promoted columns beside their own.
    pub(in crate::log::table) fn beside(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut columns = batch.columns().to_vec();
        columns.extend(self.fill(properties(batch)?)?);
        RecordBatch::try_new(self.promoted.file_schema(TableKind::Events), columns)
    }

    /// What the columns of all rows so far are good for.
    pub(in crate::log::table) fn facts(&self) -> FileFacts {
        let names = self.promoted.columns().iter().map(|column| column.name.clone());
        names.zip(self.facts.iter().copied()).collect()
    }
}

impl Promoted {
    /// A batch of the table's own columns with the promoted ones before its last column.
    ///
    /// # Errors
    /// When the batch has no `properties`.
    pub fn extend(self: &Arc<Self>, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.is_empty() {
            return Ok(batch.clone());
        }
        let filled = Filler::new(Arc::clone(self)).fill(properties(batch)?)?;
        let mut columns = batch.columns().to_vec();
        let last = columns.len() - 1;
        columns.splice(last..last, filled);
        RecordBatch::try_new(self.schema(TableKind::Events), columns)
    }
}

/// The column `properties` of a batch.
pub(super) fn properties(batch: &RecordBatch) -> Result<&StringArray, ArrowError> {
    let column = batch.column_by_name("properties").and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| ArrowError::SchemaError("rows have no text column `properties`".into()))
}

/// One column while it is filled: the texts of values of its type, by row, and those of others.
struct Column {
    kind: PromotedType,
    texts: StringBuilder,
    others: StringBuilder,
    /// Whether all texts so far are as [`value_text`] writes them.
    canonical: bool,
}

struct Filled {
    values: ArrayRef,
    exact: bool,
    cast: bool,
    mismatches: u64,
}

impl Column {
    fn new(kind: PromotedType) -> Self {
        Self { kind, texts: StringBuilder::new(), others: StringBuilder::new(), canonical: true }
    }

    fn push(&mut self, row: usize, kind: Kind, text: &str) {
        let fits = match self.kind {
            PromotedType::Text => kind == Kind::Text,
            PromotedType::Double | PromotedType::Bigint => kind == Kind::Number,
            PromotedType::Boolean => kind == Kind::Boolean,
        };
        if fits {
            self.pad(row);
            self.texts.append_value(text);
            self.canonical &= is_canonical(self.kind, text);
        } else {
            self.others.append_value(text);
        }
    }

    /// Rows without a value of the type.
    fn pad(&mut self, rows: usize) {
        use arrow::array::ArrayBuilder as _;
        self.texts.append_nulls(rows - self.texts.len());
    }

    fn finish(mut self, rows: usize) -> Result<Filled, ArrowError> {
        self.pad(rows);
        let (texts, others) = (self.texts.finish(), self.others.finish());
        let data_type = self.kind.data_type();
        let cast = |texts: &StringArray| cast_with_options(texts, &data_type, &CastOptions::default());
        let values =
            if self.kind == PromotedType::Text { Arc::new(texts.clone()) as _ } else { cast(&texts)? };
        let lost = (values.null_count() - texts.null_count()) as u64;
        let exact = others.is_empty() && lost == 0 && self.canonical;
        let others_are_null = cast(&others)?.null_count() == others.len();
        Ok(Filled {
            values,
            exact,
            cast: others_are_null && (self.kind != PromotedType::Text || exact),
            mismatches: lost + others.len() as u64,
        })
    }
}

/// The values of a promoted column as clients mostly write them in JSON, and as `->>` gives them
/// where a file's column is [`Facts::exact`].
///
/// A double is written as JavaScript does, without exponent: whole ones without a fraction, others
/// with as many digits as tell them apart. One beyond what is written so (2^53 and more, very small
/// fractions, the negative zero) has no text here.
///
/// # Errors
/// When the type is none of a promoted column.
pub fn value_text(values: &ArrayRef) -> Result<StringArray, ArrowError> {
    match values.data_type() {
        DataType::Utf8 => Ok(values.as_string::<i32>().clone()),
        DataType::Float64 => {
            let mut texts = StringBuilder::with_capacity(values.len(), 8 * values.len());
            let mut text = String::new();
            for value in values.as_primitive::<Float64Type>() {
                text.clear();
                let has = value.is_some_and(|value| double_text(value, &mut text));
                texts.append_option(has.then_some(&text));
            }
            Ok(texts.finish())
        }
        DataType::Int64 => {
            let mut texts = StringBuilder::with_capacity(values.len(), 8 * values.len());
            let mut text = String::new();
            for value in values.as_primitive::<Int64Type>() {
                text.clear();
                let has = value.is_some_and(|value| write!(text, "{value}").is_ok());
                texts.append_option(has.then_some(&text));
            }
            Ok(texts.finish())
        }
        DataType::Boolean => {
            let texts = values
                .as_boolean()
                .iter()
                .map(|value| value.map(|value| if value { "true" } else { "false" }));
            Ok(texts.collect())
        }
        other => Err(ArrowError::SchemaError(format!("`{other}` is no type of a promoted column"))),
    }
}

/// Whether a value that JSON writes so, and that fits the type, is written so by [`value_text`] too.
///
/// Most doubles have at most 15 digits and no exponent. No two of those are the same double, so the
/// shortest text of one is its own; that saves writing it.
fn is_canonical(kind: PromotedType, text: &str) -> bool {
    match kind {
        PromotedType::Text | PromotedType::Boolean => true,
        PromotedType::Bigint => text != "-0",
        PromotedType::Double => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain =
                digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            match digits.split_once('.') {
                None if plain && digits.len() <= 15 => text != "-0",
                Some((whole, fraction)) if plain && (whole != "0" || !fraction.starts_with("000")) => {
                    !fraction.ends_with('0')
                }
                _ => {
                    let mut written = String::new();
                    text.parse().is_ok_and(|value| double_text(value, &mut written)) && written == text
                }
            }
        }
    }
}

/// 2^53: up to it every whole number is a double of its own.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn double_text(value: f64, text: &mut String) -> bool {
    let size = value.abs();
    if value == 0.0 {
        return value.is_sign_positive() && text.write_char('0').is_ok();
    }
    if value.fract() == 0.0 {
        return size < WHOLE_MAX && write!(text, "{}", value as i64).is_ok();
    }
    (1e-6..WHOLE_MAX).contains(&size) && write!(text, "{value}").is_ok()
}
