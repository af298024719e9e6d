//! One table of the log as DataFusion sees it.

mod filters;
mod fresh;
mod stats;

use crate::promoted::PromotedColumns;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::{DFSchema, Result, ScalarValue, project_schema};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetAccessPlan};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, utils::conjunction};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, Statistics};
pub(crate) use filters::FilterCache;
use object_store::path::Path;
use pipeline::log::table::promoted::Promoted;
use pipeline::log::table::{DataFile, TableKind, TableSnapshot};
use pipeline::log::{Offset, PartitionId, TableView};
pub(crate) use stats::StatsCache;
use std::collections::HashMap;
use std::sync::Arc;

/// Rejected bodies may have 1 MiB each, so few of them make a batch.
const REJECTED_BATCH_ROWS: usize = 256;

/// How much of a file's end is read first; it mostly holds all of the Parquet footer.
const FOOTER_BYTES: usize = 64 << 10;

/// One table at one moment: its committed files and its fresh rows.
///
/// The files become a stock Parquet scan, which any engine that speaks DataFusion's plans can
/// ship; the fresh rows are a second input beside it. Files that cannot hold a matching row by
/// their partition value or their statistics are left out when the query is planned; row groups,
/// pages and rows are left out while it runs. Filters are inexact: the plan above applies them too.
#[derive(Clone)]
pub(crate) struct LogTable {
    view: TableView,
    schema: SchemaRef,
    stats: Arc<StatsCache>,
    promotion: bool,
    fresh: bool,
    /// Which row groups of a file are looked at, by its path; all where nothing is said.
    row_groups: Arc<HashMap<String, ParquetAccessPlan>>,
}

impl LogTable {
    /// The table as `view` has it. With `promotion` what is taken out of `properties` comes from
    /// promoted columns where the answer is the same.
    pub(crate) fn new(view: TableView, stats: Arc<StatsCache>, promotion: bool) -> Self {
        let schema = view.table.promoted.schema(view.table.kind);
        Self { schema, view, stats, promotion, fresh: true, row_groups: Arc::default() }
    }

    /// The columns of its properties.
    pub(crate) fn promoted(&self) -> &Promoted {
        &self.view.table.promoted
    }

    /// The version of its committed part.
    pub(crate) fn version(&self) -> u64 {
        self.view.table.version
    }

    /// The last offset of each partition in its files.
    pub(crate) fn last_offsets(&self) -> impl Iterator<Item = (PartitionId, Offset)> {
        self.view.table.files.iter().map(|file| (file.partition.clone(), file.offsets.1))
    }

    /// The table without what waits for its commit.
    pub(crate) fn files_only(&self) -> Self {
        Self { fresh: false, ..self.clone() }
    }

    /// The files with offsets behind these; `None` when there are none.
    pub(crate) fn files_after(&self, read: &HashMap<PartitionId, Offset>) -> Option<Self> {
        let new = |file: &&DataFile| read.get(&file.partition).is_none_or(|read| file.offsets.1 > *read);
        let files: Vec<DataFile> = self.view.table.files.iter().filter(new).cloned().collect();
        (!files.is_empty()).then(|| self.with_files(files))
    }

    /// Only what waits for its commit; `None` when nothing does.
    pub(crate) fn fresh_only(&self) -> Option<Self> {
        (self.view.fresh().records() > 0).then(|| Self { fresh: true, ..self.with_files(Vec::new()) })
    }

    /// The table with these files only, and of each these row groups, beside what waits for its commit.
    fn only(&self, files: Vec<(DataFile, ParquetAccessPlan)>) -> Self {
        let row_groups = files.iter().map(|(file, plan)| (file.path.clone(), plan.clone())).collect();
        let files = files.into_iter().map(|(file, _)| file).collect();
        Self { row_groups: Arc::new(row_groups), fresh: self.fresh, ..self.with_files(files) }
    }

    fn with_files(&self, files: Vec<DataFile>) -> Self {
        let mut table = self.clone();
        table.view.table = Arc::new(TableSnapshot { files: Arc::new(files), ..(*self.view.table).clone() });
        table.stats = Arc::default();
        table.files_only()
    }

    /// Where plans look for the table's store, whose paths begin at the table's root.
    pub(crate) fn store_url(&self) -> Result<ObjectStoreUrl> {
        ObjectStoreUrl::parse(format!("flowstate://{}", self.view.table.kind.name()))
    }

    /// The files that may hold rows that `filter` selects, with their statistics.
    fn files(&self, filter: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<PartitionedFile>> {
        let files = &self.view.table.files;
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let stats = self.stats.of(&self.view.table, &self.schema);
        let keep = match filter {
            None => vec![true; files.len()],
            Some(filter) => self.prune(filter, stats.iter().map(|file| Arc::clone(&file.bounds)))?,
        };
        let kept = files.iter().zip(&stats).zip(keep).filter(|(_, keep)| *keep);
        let scanned = |file: &DataFile, stats: &Arc<Statistics>| {
            let mut scanned = scanned(file, stats);
            if let Some(plan) = self.row_groups.get(&file.path) {
                scanned.extensions.insert(plan.clone());
            }
            scanned
        };
        Ok(kept.map(|((file, stats), _)| scanned(file, &stats.published)).collect())
    }

    fn prune(
        &self,
        filter: &Arc<dyn PhysicalExpr>,
        bounds: impl ExactSizeIterator<Item = Arc<Statistics>>,
    ) -> Result<Vec<bool>> {
        let everything = vec![true; bounds.len()];
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema));
        let predicate = builder.build(Arc::clone(filter));
        let Some(predicate) = predicate else { return Ok(everything) };
        predicate.prune(&PrunableStatistics::new(bounds.collect(), Arc::clone(&self.schema)))
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let filter = conjunction(filters.iter().cloned());
        let filter = filter.map(|filter| state.create_physical_expr(filter, &schema)).transpose()?;
        let files = self.files(filter.as_ref())?;
        if files.is_empty() {
            return Ok(None);
        }
        let url = self.store_url()?;
        let statistics = merged(&files, &self.schema)?;
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let groups: Result<Vec<FileGroup>> = groups
            .into_iter()
            .map(|group| {
                let statistics = Arc::new(merged(group.files(), &self.schema)?);
                Ok(group.with_statistics(statistics))
            })
            .collect();
        let runtime = state.runtime_env();
        let footers = CachedParquetFileReaderFactory::new(
            runtime.object_store(&url)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let mut source = ParquetSource::new(self.table_schema())
            .with_table_parquet_options(options)
            .with_metadata_size_hint(FOOTER_BYTES)
            .with_parquet_file_reader_factory(Arc::new(footers));
        if let Some(filter) = filter {
            source = source.with_predicate(filter);
        }
        let batch_rows = matches!(self.view.table.kind, TableKind::Rejected).then_some(REJECTED_BATCH_ROWS);
        let promoted = &self.view.table.promoted;
        let adapter = (self.promotion && !promoted.is_empty())
            .then(|| Arc::new(PromotedColumns(Arc::clone(promoted))) as Arc<dyn PhysicalExprAdapterFactory>);
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_expr_adapter(adapter)
            .with_file_groups(groups?)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_batch_size(batch_rows)
            .build();
        Ok(Some(DataSourceExec::from_data_source(scan)))
    }

    fn table_schema(&self) -> TableSchema {
        let columns = self.schema.fields();
        let (partition, columns) = columns.split_last().expect("a table has its partition column");
        let file_schema = Arc::new(arrow::datatypes::Schema::new(columns.to_vec()));
        TableSchema::builder(file_schema).with_table_partition_cols(vec![Arc::clone(partition)]).build()
    }
}

fn merged(files: &[PartitionedFile], schema: &SchemaRef) -> Result<Statistics> {
    Statistics::try_merge_iter(files.iter().filter_map(|file| file.statistics.as_deref()), schema)
}

fn scanned(file: &DataFile, statistics: &Arc<Statistics>) -> PartitionedFile {
    let mut scanned = PartitionedFile::new("", file.bytes);
    scanned.object_meta.location = Path::from(file.path.as_str());
    scanned
        .with_partition_values(vec![ScalarValue::Date32(Some(file.received_date))])
        .with_statistics(Arc::clone(statistics))
}

impl std::fmt::Debug for LogTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = &self.view.table;
        write!(f, "LogTable({} at version {})", table.kind.name(), table.version)
    }
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.scan_files(state, projection, filters, limit)?;
        let fresh = fresh::scan(&self.view, &self.schema, projection, limit)?.filter(|_| self.fresh);
        match (files, fresh) {
            (Some(files), Some(fresh)) => UnionExec::try_new(vec![files, fresh]),
            (Some(only), None) | (None, Some(only)) => Ok(only),
            (None, None) => Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?))),
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

#[cfg(test)]
mod tests;
