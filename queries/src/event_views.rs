//! A view for each name of a `track` event: `order_completed` for "Order Completed".
//!
//! There may be thousands, so none is made before it is asked for. Names are collected from the
//! events that came since the last look; see [`Names`].

mod names;
mod properties;

pub(crate) use names::Names;

use crate::table::LogTable;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySchemaProvider;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::{MemTable, TableType, ViewTable};
use datafusion::execution::context::SessionState;
use pipeline::log::table::promoted::PromotedColumn;
use std::sync::Arc;

/// The table of event names: `event`, its `view` where it has one, and a `note` where it has none.
pub(crate) const EVENT_VIEWS: &str = "event_views";

/// The columns of `events` that each view has, beside the event's promoted properties.
const ENVELOPE: [&str; 17] = [
    "log_partition",
    "log_offset",
    "received_at",
    "source",
    "test",
    "event",
    "message_id",
    "original_message_id",
    "anonymous_id",
    "user_id",
    "group_id",
    "previous_id",
    "name",
    "category",
    "timestamp",
    "original_timestamp",
    "sent_at",
];

/// The tables and views of one query: those that are always there, and those of events.
pub(crate) struct Schema {
    fixed: Arc<MemorySchemaProvider>,
    events: LogTable,
    /// A session in which `events` is a table.
    state: SessionState,
    names: Arc<Names>,
    /// The names of views, once they were collected for this query.
    listed: std::sync::OnceLock<Vec<String>>,
}

impl Schema {
    /// The tables of `fixed`, and the views of the events in `events`, a table of `state`.
    pub(crate) fn new(
        fixed: Arc<MemorySchemaProvider>,
        events: LogTable,
        state: SessionState,
        names: Arc<Names>,
    ) -> Self {
        Self { fixed, events, state, names, listed: std::sync::OnceLock::new() }
    }

    /// Collects the names of views, so that they can be listed.
    pub(crate) async fn list(&self) -> Result<()> {
        let names = self.names.of(&self.events, &self.state).await?;
        let listed =
            names.views().map(|(view, _)| view.to_owned()).filter(|view| !self.fixed.table_exist(view));
        let _ = self.listed.set(listed.collect());
        Ok(())
    }

    async fn view(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let names = self.names.of(&self.events, &self.state).await?;
        let event = match names.events(name) {
            [] => return Ok(None),
            [event] => event,
            several => {
                let several: Vec<_> = several.iter().map(|event| format!("`{event}`")).collect();
                return plan_err!(
                    "the events {} would all have the view `{name}`; select from `events` by name",
                    several.join(" and ")
                );
            }
        };
        let promoted = self.events.promoted();
        let found = self.names.properties(event, &self.events, &self.state).await?;
        let columns = promoted.columns().iter().filter(|column| found.contains(&column.key));
        let sql = select(event, columns);
        let plan = self.state.create_logical_plan(&sql).await?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some(sql)))))
    }

    /// Every event name with its view.
    async fn event_views(&self) -> Result<Arc<dyn TableProvider>> {
        let names = self.names.of(&self.events, &self.state).await?;
        let (mut events, mut views, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (view, of_view) in names.all() {
            for event in of_view {
                let note = match view {
                    None => Some("its name has no ASCII letter or digit".to_owned()),
                    Some(view) if self.fixed.table_exist(view) => Some(format!("`{view}` is another table")),
                    Some(view) if of_view.len() > 1 => Some(format!("several events would have `{view}`")),
                    Some(_) => None,
                };
                events.push(Some(event.as_str()));
                views.push(view.filter(|_| note.is_none()));
                notes.push(note);
            }
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("event", Arc::new(StringArray::from(events))),
            ("view", Arc::new(StringArray::from(views))),
            ("note", Arc::new(StringArray::from(notes))),
        ];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))?;
        Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
    }
}

/// The query of one event's view. A property has its own name, or its column's where the envelope has
/// that name.
fn select<'a>(event: &str, columns: impl Iterator<Item = &'a PromotedColumn>) -> String {
    let mut selected: Vec<String> = ENVELOPE.iter().map(|column| format!("\"{column}\"")).collect();
    for column in columns {
        let key = column.key.replace('\'', "''");
        let short = column.name.strip_prefix("p_").unwrap_or(&column.name);
        let name = if ENVELOPE.contains(&short) { &column.name } else { short };
        let text = format!("properties->>'{key}'");
        let value = match column.kind.as_str() {
            "text" => text,
            other => format!("CAST({text} AS {other})"),
        };
        selected.push(format!("{value} AS \"{name}\""));
    }
    let (selected, event) = (selected.join(", "), event.replace('\'', "''"));
    format!("SELECT {selected} FROM events WHERE \"type\" = 'track' AND event = '{event}'")
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema({:?})", self.fixed.table_names())
    }
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        let listed = self.listed.get().into_iter().flatten().cloned();
        self.fixed.table_names().into_iter().chain([EVENT_VIEWS.to_owned()]).chain(listed).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.fixed.table(name).await? {
            Some(table) => Ok(Some(table)),
            None if name == EVENT_VIEWS => self.event_views().await.map(Some),
            None => self.view(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        match self.fixed.table_type(name).await? {
            Some(kind) => Ok(Some(kind)),
            None => Ok(self.table_exist(name).then_some(TableType::View)),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.fixed.table_exist(name)
            || name == EVENT_VIEWS
            || self.listed.get().is_some_and(|listed| listed.iter().any(|view| view == name))
    }
}

#[cfg(test)]
mod tests;
