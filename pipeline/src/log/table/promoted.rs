//! Promoted properties: keys of `properties` with a typed column of their own in `events`.
//!
//! The table's Delta schema is the only place that says which there are: a column that carries the
//! property `PROPERTY` in its field metadata holds the values of that key. So every node and
//! every other engine sees the same. `properties` stays whole and is the truth.
//!
//! Each file says in its footer, under [`FACTS`], and in its Delta statistics what its columns are
//! good for; see [`Facts`].

mod change;
mod decide;
mod fill;
mod scan;

pub use change::{ColumnChange, ColumnError};
pub use decide::{VALUES_MAX, Votes};
pub use fill::value_text;
pub use fill::{Facts, FileFacts};
pub(super) use fill::{Filler, merge};

use super::TableKind;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// No table has more promoted columns than this.
pub const COLUMNS_MAX: usize = 200;

/// The field metadata that names the key of `properties` that a column holds.
const PROPERTY: &str = "flowstate.property";

/// The field metadata of a column that a person asked for.
const PINNED: &str = "flowstate.pinned";

/// The table property with the keys that a person took the column from, as JSON.
pub(super) const UNPINNED: &str = "flowstate.unpinned";

/// The key of a Parquet file's metadata that holds its [`FileFacts`] as JSON.
pub const FACTS: &str = "flowstate.promoted";

/// The longest name of a column, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// What a promoted column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromotedType {
    /// Strings.
    Text,
    /// Numbers, as 64-bit floats.
    Double,
    /// Whole numbers of 64 bits.
    Bigint,
    /// True and false.
    Boolean,
}

/// A key of `properties` that has a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromotedColumn {
    /// The key, as clients write it.
    pub key: String,
    /// The column's name: `p_` and the key in snake case.
    pub name: String,
    /// The column's type.
    #[serde(rename = "type")]
    pub kind: PromotedType,
    /// Whether a person asked for it.
    pub pinned: bool,
}

/// The promoted columns of a table, in the order of their names, so that files with the same columns
/// have them in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promoted {
    columns: Vec<PromotedColumn>,
    by_key: HashMap<String, usize>,
    unpinned: BTreeMap<String, PromotedType>,
}

impl PromotedType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Text, Self::Double, Self::Bigint, Self::Boolean];

    /// The word for it, which is SQL's too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Double => "double",
            Self::Bigint => "bigint",
            Self::Boolean => "boolean",
        }
    }

    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The type in memory.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Double => DataType::Float64,
            Self::Bigint => DataType::Int64,
            Self::Boolean => DataType::Boolean,
        }
    }

    /// The type's name in a Delta schema (Delta protocol, "Primitive Types", read 2026-11).
    fn delta_type(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Double => "double",
            Self::Bigint => "long",
            Self::Boolean => "boolean",
        }
    }
}

impl PromotedColumn {
    /// A column for a key; `None` when the key makes no name: it has no ASCII letter and no digit,
    /// or is longer than a hundred bytes.
    pub fn new(key: &str, kind: PromotedType, pinned: bool) -> Option<Self> {
        let name = snake_case(key).filter(|_| key.len() <= NAME_BYTES_MAX)?;
        Some(Self { key: key.to_owned(), name: format!("p_{name}"), kind, pinned })
    }

    fn field(&self) -> Field {
        Field::new(&self.name, self.kind.data_type(), true)
    }

    /// The field of a Delta schema that describes the column.
    fn delta_field(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind.delta_type(), "nullable": true,
            "metadata": {PROPERTY: self.key, PINNED: self.pinned},
        })
    }

    /// The column that a field of a Delta schema describes, when it is one.
    fn of_field(field: &DeltaField) -> Option<Self> {
        let key = field.metadata.get(PROPERTY)?.as_str()?.to_owned();
        let kind = PromotedType::ALL.into_iter().find(|kind| field.kind == kind.delta_type())?;
        let pinned = field.metadata.get(PINNED).and_then(Value::as_bool).unwrap_or(false);
        Some(Self { key, name: field.name.clone(), kind, pinned })
    }
}

/// A Delta schema, as far as it concerns promoted columns.
#[derive(Deserialize)]
struct DeltaSchema {
    fields: Vec<DeltaField>,
}

#[derive(Deserialize)]
struct DeltaField {
    name: String,
    #[serde(rename = "type")]
    kind: Value,
    #[serde(default)]
    metadata: Map<String, Value>,
}

impl Promoted {
    /// These columns; where two hold one key the first by name counts.
    pub fn new(mut columns: Vec<PromotedColumn>) -> Self {
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let mut by_key = HashMap::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            by_key.entry(column.key.clone()).or_insert(at);
        }
        Self { columns, by_key, unpinned: BTreeMap::new() }
    }

    /// The promoted columns that a table's Delta schema describes, and those that its property
    /// [`UNPINNED`] forbids.
    pub(super) fn of_metadata(schema: &str, unpinned: Option<&str>) -> Result<Self, String> {
        let schema: DeltaSchema =
            serde_json::from_str(schema).map_err(|error| format!("its schema cannot be read: {error}"))?;
        let mut promoted = Self::new(schema.fields.iter().filter_map(PromotedColumn::of_field).collect());
        if let Some(unpinned) = unpinned {
            promoted.unpinned = serde_json::from_str(unpinned)
                .map_err(|error| format!("its property `{UNPINNED}` cannot be read: {error}"))?;
        }
        Ok(promoted)
    }

    /// The columns in order.
    pub fn columns(&self) -> &[PromotedColumn] {
        &self.columns
    }

    /// The keys that a person took the column from, and the type it had. They get one only when a
    /// person asks, and of the same type: old files may still hold it.
    pub fn unpinned(&self) -> &BTreeMap<String, PromotedType> {
        &self.unpinned
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The column of a key.
    pub fn of_key(&self, key: &str) -> Option<&PromotedColumn> {
        self.by_key.get(key).map(|&at| &self.columns[at])
    }

    fn of_name(&self, name: &str) -> Option<&PromotedColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether a file holds all of these columns and no other promoted one.
    pub(super) fn are_held(&self, file: &FileFacts) -> bool {
        let holds =
            |column: &PromotedColumn| file.get(&column.name).is_some_and(|facts| facts.kind == column.kind);
        file.len() == self.columns.len() && self.columns.iter().all(holds)
    }

    /// The table's own columns, the promoted ones, and the date last.
    pub fn schema(&self, kind: TableKind) -> SchemaRef {
        let schema = kind.schema();
        if self.is_empty() {
            return schema;
        }
        let (date, own) = schema.fields().split_last().expect("a table has its date");
        Arc::new(Schema::new(self.after(own).chain([Arc::clone(date)]).collect::<Vec<_>>()))
    }

    /// The columns within a data file.
    pub(super) fn file_schema(&self, kind: TableKind) -> SchemaRef {
        let schema = kind.file_schema();
        if self.is_empty() {
            return schema;
        }
        Arc::new(Schema::new(self.after(schema.fields()).collect::<Vec<_>>()))
    }

    fn after(&self, own: &[FieldRef]) -> impl Iterator<Item = FieldRef> {
        own.iter().map(Arc::clone).chain(self.columns.iter().map(|column| Arc::new(column.field())))
    }
}

/// Gives each key of `properties` and its value as JSON text, as far as it is an object that can be
/// read; of equal keys all.
pub fn each_property(properties: &str, mut found: impl FnMut(&str, &str)) {
    scan::all(properties, &mut found);
}

/// A name in snake case, as warehouses have it: ASCII letters and digits in lower case, one `_` for
/// whatever lies between, and before a capital that begins a word. `None` when nothing is left.
pub fn snake_case(name: &str) -> Option<String> {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_ascii_alphanumeric() {
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
            before = None;
            continue;
        }
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before: char| {
                let in_word = before.is_ascii_uppercase();
                !in_word || letters.peek().is_some_and(char::is_ascii_lowercase)
            });
        if begins && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    let snake = snake.trim_end_matches('_');
    (!snake.is_empty()).then(|| snake.to_owned())
}

#[cfg(test)]
mod tests;
