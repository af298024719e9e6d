//! Changing which properties are promoted: one commit of the table's metadata.

use super::{COLUMNS_MAX, Promoted, PromotedColumn, PromotedType, UNPINNED};
use crate::log::LogError;
use crate::log::table::Table;
use crate::log::table::commit::Proposal;
use crate::log::table::replay::State;
use deltalake_core::kernel::{Action, Metadata, StructField};
use deltalake_core::protocol::DeltaOperation;
use serde_json::Value;
use std::sync::Arc;

/// So many times another change of the columns may be met before we give up.
const ATTEMPTS_MAX: usize = 10;

/// What is to become of promoted columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnChange {
    /// A person wants a column for a key. Without a type it has the one that it has or had.
    Pin {
        /// The key of `properties`.
        key: String,
        /// The column's type.
        kind: Option<PromotedType>,
    },
    /// A person wants no column for a key.
    Unpin {
        /// The key of `properties`.
        key: String,
    },
    /// Keys that are frequent enough. Those that have a column, must not have one or make a name that
    /// is taken are passed over, and so are all beyond [`COLUMNS_MAX`].
    Promote(Vec<(String, PromotedType)>),
}

/// Why the columns were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// Name a key that makes a name for a column.
    #[error(
        "the key `{0}` makes no name for a column: it needs an ASCII letter or digit, and at most 100 bytes"
    )]
    NoName(String),
    /// Only one of the two keys can have a column.
    #[error("the column `{name}` of `{key}` would have the name of that of `{taken_by}`")]
    Collision {
        /// The key.
        key: String,
        /// The name it makes.
        name: String,
        /// The key that has it.
        taken_by: String,
    },
    /// Ask for the type that it has.
    #[error("the column of `{key}` is `{}` and cannot become `{}`: older files hold it", .is.as_str(), .wanted.as_str())]
    OtherType {
        /// The key.
        key: String,
        /// The type it has or had.
        is: PromotedType,
        /// The type that was asked for.
        wanted: PromotedType,
    },
    /// Give a type.
    #[error("there is no value of `{0}` to tell a type by; give one: text, double, bigint or boolean")]
    NoType(String),
    /// Unpin another column first.
    #[error("there are {COLUMNS_MAX} promoted columns already; unpin one first")]
    TooMany,
    /// There is nothing to unpin.
    #[error("the property `{0}` has no column")]
    Unknown(String),
    /// The table could not be changed; try again.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Promoted {
    /// The columns as they are after a change.
    pub(super) fn changed(&self, change: &ColumnChange) -> Result<Self, ColumnError> {
        let mut next = self.clone();
        match change {
            ColumnChange::Pin { key, kind } => next.pin(key, *kind)?,
            ColumnChange::Unpin { key } => {
                let column = self.of_key(key).ok_or_else(|| ColumnError::Unknown(key.clone()))?;
                next.unpinned.insert(key.clone(), column.kind);
                next.columns.retain(|column| column.key != *key);
            }
            ColumnChange::Promote(keys) => {
                for (key, kind) in keys {
                    let column = PromotedColumn::new(key, *kind, false);
                    let column = column.filter(|column| {
                        next.columns.iter().all(|other| other.name != column.name && other.key != *key)
                    });
                    let is_free = next.columns.len() < COLUMNS_MAX && !next.unpinned.contains_key(key);
                    next.columns.extend(column.filter(|_| is_free));
                }
            }
        }
        Ok(Self { unpinned: next.unpinned, ..Self::new(next.columns) })
    }

    fn pin(&mut self, key: &str, kind: Option<PromotedType>) -> Result<(), ColumnError> {
        let had = self.of_key(key).map(|column| column.kind).or_else(|| self.unpinned.get(key).copied());
        if let (Some(is), Some(wanted)) = (had, kind.filter(|kind| had.is_some_and(|had| had != *kind))) {
            return Err(ColumnError::OtherType { key: key.to_owned(), is, wanted });
        }
        if let Some(column) = self.columns.iter_mut().find(|column| column.key == key) {
            column.pinned = true;
            return Ok(());
        }
        let kind = had.or(kind).ok_or_else(|| ColumnError::NoType(key.to_owned()))?;
        let column =
            PromotedColumn::new(key, kind, true).ok_or_else(|| ColumnError::NoName(key.to_owned()))?;
        if let Some(other) = self.of_name(&column.name) {
            let (name, taken_by) = (column.name, other.key.clone());
            return Err(ColumnError::Collision { key: key.to_owned(), name, taken_by });
        }
        if self.columns.len() >= COLUMNS_MAX {
            return Err(ColumnError::TooMany);
        }
        self.unpinned.remove(key);
        self.columns.push(column);
        Ok(())
    }
}

impl Table {
    /// Changes which properties are promoted, and returns the columns there are then. Rows that are
    /// appended from now on fill them; older files are filled when they are compacted.
    ///
    /// # Errors
    /// [`ColumnError`] when the change cannot be made; [`ColumnError::Log`] when the store fails. The
    /// same change again finds out whether it was made.
    pub async fn change_columns(&self, change: &ColumnChange) -> Result<Arc<Promoted>, ColumnError> {
        self.refresh().await?;
        let mut state = self.state.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let (before, holes) = (Arc::clone(&state.promoted), Arc::clone(&state.holes));
            let next = before.changed(change)?;
            if next == *before {
                return Ok(before);
            }
            let proposal = self.proposal_of(&before, &next).await?;
            // Another commit of metadata would be undone by ours.
            let still = |state: &State| state.promoted == before && state.holes == holes;
            if self.commit(&mut state, proposal, still).await? {
                return Ok(Arc::clone(&state.promoted));
            }
        }
        let what = format!("the columns of `{}` cannot be changed", self.kind().name());
        Err(LogError::store(what, "another process changes them").into())
    }

    /// The commit of the table's metadata with other promoted columns.
    async fn proposal_of(&self, before: &Promoted, next: &Promoted) -> Result<Proposal, LogError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store(format!("the columns of `{}` cannot be changed", self.kind().name()), error)
        };
        let metadata = self.metadata().await?;
        let metadata = with_columns(&metadata, before, next).map_err(|error| failed(error.into()))?;
        let changed = next.columns().iter().filter(|column| !before.columns().contains(column));
        let fields: Result<Vec<StructField>, _> =
            changed.map(|column| serde_json::from_value(column.delta_field())).collect();
        let fields = fields.map_err(|error| failed(error.into()))?;
        let operation = if next.columns().len() > before.columns().len() {
            DeltaOperation::AddColumn { fields }
        } else {
            DeltaOperation::UpdateFieldMetadata { fields }
        };
        Ok(Proposal { operation, actions: vec![Action::Metadata(metadata)], transaction: None })
    }
}

/// The table's metadata with the columns of `next` in place of those of `before`; all else as it was.
fn with_columns(
    metadata: &Metadata,
    before: &Promoted,
    next: &Promoted,
) -> Result<Metadata, serde_json::Error> {
    let mut metadata = serde_json::to_value(metadata)?;
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap_or_default())?;
    if let Some(fields) = schema["fields"].as_array_mut() {
        fields.retain(|field| before.columns().iter().all(|column| field["name"] != column.name.as_str()));
        fields.extend(next.columns().iter().map(PromotedColumn::delta_field));
    }
    metadata["schemaString"] = schema.to_string().into();
    metadata["configuration"][UNPINNED] = serde_json::to_string(&next.unpinned)?.into();
    serde_json::from_value(metadata)
}
