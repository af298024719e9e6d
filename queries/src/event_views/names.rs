//! The names of events, and the views they have.

use super::properties;
use crate::table::LogTable;
use arrow::array::AsArray;
use datafusion::common::Result;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::logical_expr::{col, lit};
use pipeline::log::table::promoted::snake_case;
use pipeline::log::{Offset, PartitionId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The properties of an event are looked up again after so many versions of the table.
const VERSIONS_MAX: u64 = 100;

/// No more names than this are known; events beyond have no view.
const NAMES_MAX: usize = 100_000;

/// What is known about the names of events. It only grows: events are not changed.
///
/// Each look reads the column `event` of the files that came since the one before, and of the rows
/// that wait for their commit.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Every name in files up to these offsets is in `names`.
    read: HashMap<PartitionId, Offset>,
    names: BTreeSet<String>,
    /// The keys that were found in an event, and at which version of the table.
    properties: HashMap<String, (u64, Arc<BTreeSet<String>>)>,
}

/// The names at one moment, by their view.
#[derive(Debug, Default)]
pub(super) struct ByView(BTreeMap<Option<String>, Vec<String>>);

impl ByView {
    /// Views and the events that would have them; `None` for events whose name makes none.
    pub(super) fn all(&self) -> impl Iterator<Item = (Option<&str>, &Vec<String>)> {
        self.0.iter().map(|(view, events)| (view.as_deref(), events))
    }

    /// The views that belong to one event.
    pub(super) fn views(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(view, events)| match events.as_slice() {
            [event] => Some((view.as_deref()?, event.as_str())),
            _ => None,
        })
    }

    /// The events that would have a view.
    pub(super) fn events(&self, view: &str) -> &[String] {
        self.0.get(&Some(view.to_owned())).map_or(&[], Vec::as_slice)
    }
}

impl Names {
    /// All names in `events`, with what waits for its commit.
    pub(super) async fn of(&self, events: &LogTable, state: &SessionState) -> Result<ByView> {
        let read = self.lock().read.clone();
        let (new, fresh) = (events.files_after(&read), events.fresh_only());
        let mut found = BTreeSet::new();
        for table in [new, fresh].into_iter().flatten() {
            found.append(&mut distinct(table, state).await?);
        }
        let mut known = self.lock();
        known.names.extend(found);
        while known.names.len() > NAMES_MAX {
            known.names.pop_last();
        }
        for (partition, offset) in events.last_offsets() {
            let read = known.read.entry(partition).or_default();
            *read = offset.max(*read);
        }
        let mut by_view = ByView::default();
        for name in &known.names {
            by_view.0.entry(snake_case(name)).or_default().push(name.clone());
        }
        Ok(by_view)
    }

    /// The keys of `properties` that an event has, as far as a sample tells.
    pub(super) async fn properties(
        &self,
        event: &str,
        events: &LogTable,
        state: &SessionState,
    ) -> Result<Arc<BTreeSet<String>>> {
        let version = events.version();
        if let Some((at, found)) = self.lock().properties.get(event)
            && version.abs_diff(*at) < VERSIONS_MAX
        {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(properties::sample(event, events, state).await?);
        self.lock().properties.insert(event.to_owned(), (version, Arc::clone(&found)));
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names in a table.
async fn distinct(table: LogTable, state: &SessionState) -> Result<BTreeSet<String>> {
    let is_named = col("type").eq(lit("track")).and(col("event").is_not_null());
    let names = frame(table, state)?.filter(is_named)?.select(vec![col("event")])?.distinct()?;
    let names = names.limit(0, Some(NAMES_MAX))?.collect().await?;
    let columns = names.iter().filter_map(|batch| batch.column(0).as_string_opt::<i32>());
    Ok(columns.flatten().flatten().map(ToOwned::to_owned).collect())
}

/// A table to make a plan over.
pub(super) fn frame(table: LogTable, state: &SessionState) -> Result<DataFrame> {
    SessionContext::new_with_state(state.clone()).read_table(Arc::new(table))
}
