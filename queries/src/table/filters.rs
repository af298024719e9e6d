//! The Bloom filters of message ids, kept in memory, so that a look-up opens only files that may hold
//! the id.

use super::LogTable;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use futures::{StreamExt, TryStreamExt, stream};
use pipeline::log::table::{DataFile, IdFilters, TableKind, TableSnapshot};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Filters are kept up to this many bytes; those of ten million ids take about 13 MB.
const BYTES_MAX: usize = 64 << 20;

/// The filters of so many files are read at once.
const CONCURRENT: usize = 8;

/// The filters of the files that were asked for, until the files are compacted away.
#[derive(Debug, Default)]
pub(crate) struct FilterCache(Mutex<HashMap<(TableKind, String), Arc<IdFilters>>>);

impl FilterCache {
    /// The table with only what may hold `message_id`: what waits for its commit, and of the files the
    /// row groups whose filters do not rule it out.
    pub(crate) async fn narrow(self: &Arc<Self>, table: LogTable, message_id: &str) -> Result<LogTable> {
        let snapshot = Arc::clone(&table.view.table);
        self.forget_others(&snapshot);
        let reads: Vec<_> = snapshot
            .files
            .iter()
            .cloned()
            .map(|file| {
                let (cache, table) = (Arc::clone(self), Arc::clone(&snapshot));
                async move { Ok::<_, DataFusionError>((cache.of(&table, &file).await?, file)) }
            })
            .collect();
        let filters: Vec<(Arc<IdFilters>, DataFile)> =
            stream::iter(reads).buffered(CONCURRENT).try_collect().await?;
        let may_hold =
            |(filters, file): (Arc<IdFilters>, DataFile)| Some((file, plan(filters.may_hold(message_id))?));
        Ok(table.only(filters.into_iter().filter_map(may_hold).collect()))
    }

    async fn of(&self, table: &TableSnapshot, file: &DataFile) -> Result<Arc<IdFilters>> {
        let key = (table.kind, file.path.clone());
        if let Some(known) = self.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let read = IdFilters::read(table, file).await;
        let read = Arc::new(read.map_err(|error| DataFusionError::External(error.into()))?);
        let mut all = self.lock();
        let bytes: usize = all.values().map(|filters| filters.bytes()).sum();
        if bytes + read.bytes() <= BYTES_MAX {
            all.insert(key, Arc::clone(&read));
        }
        Ok(read)
    }

    /// Files that are no longer in the table were compacted, or are too old.
    fn forget_others(&self, table: &TableSnapshot) {
        let paths: HashSet<&str> = table.files.iter().map(|file| file.path.as_str()).collect();
        self.lock().retain(|(kind, path), _| *kind != table.kind || paths.contains(path.as_str()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TableKind, String), Arc<IdFilters>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The row groups that are to be read; `None` when none is.
fn plan(wanted: impl ExactSizeIterator<Item = bool>) -> Option<ParquetAccessPlan> {
    let mut plan = ParquetAccessPlan::new_none(wanted.len());
    let groups = wanted.enumerate().filter(|(_, wanted)| *wanted);
    let count = groups.map(|(group, _)| plan.scan(group)).count();
    (count > 0).then_some(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lake;
    use pipeline::event::{Event, Kind};

    async fn files_left(lake: &Lake, cache: &Arc<FilterCache>, kind: TableKind, id: &str) -> usize {
        let view = lake.log.snapshot().tables.into_iter().find(|view| view.table.kind == kind).unwrap();
        let table = LogTable::new(view, Arc::default(), true);
        cache.narrow(table, id).await.unwrap().view.table.files.len()
    }

    #[tokio::test]
    async fn only_files_that_may_hold_an_id_are_left() {
        let lake = Lake::new().await;
        for file in 1..7 {
            let events: Vec<_> =
                (0..50).map(|nth| Event::new(Kind::Track, format!("file-{file}-event-{nth}"))).collect();
            lake.append(&events).await;
            // The first event of the file before comes again; before the first file there is none.
            lake.append(&[Event::new(Kind::Track, format!("file-{}-event-0", file - 1))]).await;
            lake.log.flush().await.unwrap();
        }
        let cache = Arc::new(FilterCache::default());
        for id in ["file-1-event-7", "file-6-event-49"] {
            assert_eq!(files_left(&lake, &cache, TableKind::Events, id).await, 1, "{id}");
            assert_eq!(files_left(&lake, &cache, TableKind::Receipts, id).await, 0, "{id}");
        }
        assert_eq!(files_left(&lake, &cache, TableKind::Receipts, "file-2-event-0").await, 1);
        assert_eq!(files_left(&lake, &cache, TableKind::Events, "no such id").await, 0);
        assert_eq!(cache.lock().len(), 12, "each file's filters are read once");
        for (id, stored, repeats) in [("file-2-event-0", 1, 1), ("file-2-event-1", 1, 0)] {
            let report = lake.engine().event(id).await.unwrap();
            let found = (report.sources[0].stored.len(), report.sources[0].repeats.len());
            assert_eq!(found, (stored, repeats), "{id}");
        }
    }
}
