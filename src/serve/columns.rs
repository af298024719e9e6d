//! What the console asks about promoted properties, answered by the log.

use console::{Column, ColumnList, ColumnsError, WithoutColumn};
use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::log::Log;
use pipeline::log::table::promoted::{ColumnChange, ColumnError, PromotedColumn, PromotedType, Votes};
use pipeline::log::table::{TableKind, TableSnapshot};
use queries::{Engine, SqlError};
use std::sync::Arc;

/// The console's columns over the log, whose values an engine looks at.
pub(crate) struct LogColumns {
    pub(crate) log: Arc<Log>,
    pub(crate) engine: Arc<Engine>,
}

impl console::Columns for LogColumns {
    fn list(&self) -> BoxFuture<'static, Result<ColumnList, ColumnsError>> {
        let list = list(&self.log);
        async move { Ok(list) }.boxed()
    }

    fn pin(
        &self,
        key: String,
        kind: Option<PromotedType>,
    ) -> BoxFuture<'static, Result<Column, ColumnsError>> {
        let (log, engine) = (Arc::clone(&self.log), Arc::clone(&self.engine));
        async move {
            let change = |kind| ColumnChange::Pin { key: key.clone(), kind };
            let changed = match log.change_columns(&change(kind)).await {
                Err(ColumnError::NoType(_)) => {
                    let kind = kind_of_values(&engine, &key).await?;
                    log.change_columns(&change(kind)).await
                }
                changed => changed,
            };
            changed.map_err(error)?;
            let column = list(&log).columns.into_iter().find(|column| column.key == key);
            column
                .ok_or_else(|| ColumnsError::Conflict(format!("the column of `{key}` was taken away again")))
        }
        .boxed()
    }

    fn unpin(&self, key: String) -> BoxFuture<'static, Result<(), ColumnsError>> {
        let log = Arc::clone(&self.log);
        async move { log.change_columns(&ColumnChange::Unpin { key }).await.map(drop).map_err(error) }.boxed()
    }
}

fn list(log: &Log) -> ColumnList {
    let snapshot = log.snapshot();
    let events = &snapshot.tables[0].table;
    debug_assert_eq!(events.kind, TableKind::Events);
    let not_promoted =
        log.not_promoted().into_iter().filter(|not| events.promoted.of_key(&not.key).is_none());
    let unpinned = events.promoted.unpinned().keys().map(|key| WithoutColumn {
        key: key.clone(),
        reason: "its column was taken away; pin it to have it back".to_owned(),
    });
    let mut without: Vec<_> =
        not_promoted.map(|not| WithoutColumn { key: not.key, reason: not.reason }).chain(unpinned).collect();
    without.sort_by(|one, other| one.key.cmp(&other.key));
    ColumnList {
        columns: events.promoted.columns().iter().map(|column| shown(column, events)).collect(),
        rows: events.files.iter().map(|file| file.rows).sum(),
        not_promoted: without,
    }
}

fn shown(column: &PromotedColumn, events: &TableSnapshot) -> Column {
    let mut shown = Column {
        key: column.key.clone(),
        name: column.name.clone(),
        r#type: column.kind,
        pinned: column.pinned,
        rows_filled: 0,
        mismatches: 0,
    };
    for file in events.files.iter() {
        if let Some(facts) = file.promoted.get(&column.name) {
            shown.rows_filled += file.rows;
            shown.mismatches += facts.mismatches;
        }
    }
    shown
}

/// The type of the first thousand values that a scan meets.
async fn kind_of_values(engine: &Engine, key: &str) -> Result<Option<PromotedType>, ColumnsError> {
    let failed =
        |error: SqlError| ColumnsError::Failed(format!("the values of `{key}` cannot be read: {error}"));
    let literal = key.replace('\'', "''");
    let values = pipeline::log::table::promoted::VALUES_MAX;
    let sql = format!(
        "SELECT json FROM (SELECT json_get_json(properties, '{literal}') AS json FROM events) \
         WHERE json IS NOT NULL AND json <> 'null' LIMIT {values}"
    );
    let (batches, _) = engine.query(&sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    let mut votes = Votes::default();
    for batch in &batches {
        votes.add_all(batch);
    }
    Ok(votes.decide())
}

fn error(error: ColumnError) -> ColumnsError {
    let message = error.to_string();
    match error {
        ColumnError::NoName(_) => ColumnsError::Wrong("key", message),
        ColumnError::OtherType { .. } | ColumnError::NoType(_) => ColumnsError::Wrong("type", message),
        ColumnError::Collision { .. } | ColumnError::TooMany => ColumnsError::Conflict(message),
        ColumnError::Unknown(_) => ColumnsError::Unknown(message),
        ColumnError::Log(_) => ColumnsError::Failed(message),
    }
}
