//! Runs queries, within limits.

use crate::answer::{self, Answer, AnswerLimits, Deadline};
use crate::date_trunc::DateTrunc;
use crate::event_views::{self, Names};
use crate::json_casts::JsonCasts;
use crate::page::Span;
use crate::promoted::ProjectionsThroughUnions;
use crate::table::{FilterCache, LogTable, StatsCache};
use crate::traits_fold::TraitsFold;
use crate::{SqlError, holes, statement, views};
use datafusion::catalog::memory::{MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider};
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::ViewTable;
use datafusion::execution::context::{SQLOptions, SessionConfig, SessionState};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream};
use datafusion::logical_expr::{AggregateUDF, LogicalPlan, ScalarUDF};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use pipeline::log::Snapshot;
use pipeline::log::table::{TableKind, TableSnapshot};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

const CATALOG: &str = "flowstate";
const SCHEMA: &str = "public";

/// Parquet footers are kept up to this size.
const FOOTERS_BYTES_MAX: usize = 32 << 20;

/// Threads of queries yield to those that take events in.
const NICENESS: i32 = 10;

/// The limits of queries.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Memory for sorts, joins and groups, shared by all queries. Beyond it they spill or fail.
    pub memory_bytes_max: usize,
    /// Disk for what does not fit into memory, shared by all queries.
    pub spill_bytes_max: u64,
    /// Where that lies; `None` is the system's directory for temporary files.
    pub spill_dir: Option<PathBuf>,
    /// How long a query may take, until its last row is read.
    pub timeout: Duration,
    /// An answer has at most this many rows.
    pub rows_max: usize,
    /// An answer has at most about this many bytes, in memory.
    pub result_bytes_max: usize,
    /// So many queries run at once.
    pub concurrent_max: usize,
    /// Threads that queries run on.
    pub threads: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            spill_bytes_max: 2 << 30,
            spill_dir: None,
            timeout: Duration::from_secs(60),
            rows_max: 100_000,
            result_bytes_max: 64 << 20,
            concurrent_max: 4,
            threads: 2,
        }
    }
}

/// Gives the log as it is now.
pub type Snapshots = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Answers SQL over the log.
///
/// Each query sees one snapshot: every row that was acknowledged before it began, once. Queries
/// run on threads of their own, of low priority; one that takes too long, needs too much memory or
/// whose answer is dropped is cancelled.
pub struct Engine {
    snapshots: Snapshots,
    config: EngineConfig,
    planner: Planner,
    running: Arc<Semaphore>,
    runtime: Option<Runtime>,
}

/// What turns a statement into rows; the same for all queries.
#[derive(Clone)]
pub(crate) struct Planner {
    state: SessionState,
    stats: Arc<StatsCache>,
    filters: Arc<FilterCache>,
    memory_bytes_max: usize,
    promotion: bool,
    names: Arc<Names>,
}

impl Engine {
    /// An engine over the log that `snapshots` gives.
    ///
    /// # Errors
    /// [`SqlError::Failed`] when threads or the spill directory cannot be made.
    pub fn new(snapshots: Snapshots, config: EngineConfig) -> Result<Self, SqlError> {
        Self::open(snapshots, config, |_| {})
    }

    /// As [`Engine::new`], with changed settings.
    pub(crate) fn open(
        snapshots: Snapshots,
        config: EngineConfig,
        change: impl FnOnce(&mut SessionConfig),
    ) -> Result<Self, SqlError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("query")
            .enable_all()
            .on_thread_start(|| {
                if let Err(error) = rustix::process::nice(NICENESS) {
                    tracing::debug!(%error, "a query thread keeps its priority");
                }
            })
            .build()
            .map_err(|error| SqlError::Failed { message: format!("no threads for queries: {error}") })?;
        let state = state(&config, change).map_err(|error| SqlError::of(&error, ""))?;
        let planner = Planner {
            state,
            stats: Arc::default(),
            filters: Arc::default(),
            memory_bytes_max: config.memory_bytes_max,
            promotion: true,
            names: Arc::default(),
        };
        let running = Arc::new(Semaphore::new(config.concurrent_max.max(1)));
        Ok(Self { snapshots, config, planner, running, runtime: Some(runtime) })
    }

    /// The same, which never uses promoted columns for what is taken out of `properties`.
    #[cfg(test)]
    pub(crate) fn without_promotion(mut self) -> Self {
        self.planner.promotion = false;
        self
    }

    /// Answers one statement that reads.
    ///
    /// Returns with the first rows, so that most errors come here and not from the answer.
    ///
    /// # Errors
    /// See [`SqlError`].
    pub async fn query(&self, sql: &str) -> Result<Answer, SqlError> {
        let statement = statement::parse(sql)?;
        let sql: Arc<str> = sql.into();
        self.run(Arc::clone(&sql), |planner, snapshot| async move {
            let state =
                planner.session(&snapshot, |view| references(&planner.state, &statement, view)).await?;
            let plan = state.statement_to_plan(statement).await?;
            execute(&state, plan).await
        })
        .await
    }

    /// Runs a plan that `rows` makes over a snapshot of the log.
    pub(crate) async fn run<R>(
        &self,
        sql: Arc<str>,
        rows: impl FnOnce(Planner, Snapshot) -> R + Send + 'static,
    ) -> Result<Answer, SqlError>
    where
        R: Future<Output = PlanResult<SendableRecordBatchStream>> + Send,
    {
        let permit = Arc::clone(&self.running)
            .try_acquire_owned()
            .map_err(|_| SqlError::Busy { queries: self.config.concurrent_max })?;
        let runtime = self.runtime.as_ref().expect("it is there until the engine is dropped");
        let limits = AnswerLimits { rows: self.config.rows_max, bytes: self.config.result_bytes_max };
        let (snapshots, planner) = (Arc::clone(&self.snapshots), self.planner.clone());
        Answer::start(runtime.handle(), Deadline::after(self.config.timeout), move |parts| async move {
            let bytes = planner.memory_bytes_max;
            let explain = move |error: DataFusionError| match SqlError::of(&error, &sql) {
                SqlError::TooMuchMemory { .. } => SqlError::TooMuchMemory { bytes },
                other => other,
            };
            let _permit = permit;
            let rows = rows(planner, snapshots()).await.map_err(&explain)?;
            answer::send(rows, limits, parts, explain).await
        })
        .await
    }

    /// A table of the log as it is now; `None` where there is none of that kind.
    pub fn table(&self, kind: TableKind) -> Option<Arc<TableSnapshot>> {
        self.tables().into_iter().find(|table| table.kind == kind)
    }

    /// All tables of the log as they are now.
    pub fn tables(&self) -> Vec<Arc<TableSnapshot>> {
        self.snapshot().tables.into_iter().map(|view| view.table).collect()
    }

    /// When the rows of each file of a table were received.
    pub(crate) fn received(&self, snapshot: &Snapshot, kind: TableKind) -> Vec<Span> {
        let views = snapshot.tables.iter().filter(|view| view.table.kind == kind);
        views
            .flat_map(|view| self.planner.stats.received(&view.table, &view.table.promoted.schema(kind)))
            .collect()
    }

    /// The log as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        (self.snapshots)()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Planner {
    /// A session over `snapshot` with the views that `wanted` names.
    async fn session(&self, snapshot: &Snapshot, wanted: impl Fn(&str) -> bool) -> PlanResult<SessionState> {
        let schema = Arc::new(MemorySchemaProvider::new());
        let mut events = None;
        for view in &snapshot.tables {
            let kind = view.table.kind;
            let table = LogTable::new(view.clone(), Arc::clone(&self.stats), self.promotion);
            let store = table.store_url()?;
            self.state.runtime_env().register_object_store(store.as_ref(), Arc::clone(&view.table.store));
            if kind == TableKind::Events {
                events = Some(table.clone());
            }
            schema.register_table(kind.sql_name().into(), Arc::new(table))?;
        }
        schema.register_table(holes::HOLES.into(), Arc::new(holes::table(snapshot)?))?;
        let state = self.over(&(Arc::clone(&schema) as _))?;
        let has = |table: &str| schema.table_exist(table);
        for (name, sql) in views::VIEWS.into_iter().filter(|(name, _)| wanted(name)) {
            // A directory that nothing was ever delivered from has no such table.
            if name == "deliveries" && !has(TableKind::Deliveries.sql_name()) {
                continue;
            }
            let plan = state.create_logical_plan(sql).await?;
            schema.register_table(name.into(), Arc::new(ViewTable::new(plan, Some(sql.into()))))?;
        }
        let Some(events) = events else { return Ok(state) };
        let with_events = event_views::Schema::new(schema, events, state, Arc::clone(&self.names));
        if wanted(event_views::EVENT_VIEWS) {
            with_events.list().await?;
        }
        self.over(&(Arc::new(with_events) as _))
    }

    /// A session over these tables.
    fn over(&self, schema: &Arc<dyn SchemaProvider>) -> PlanResult<SessionState> {
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::clone(schema))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.into(), Arc::new(catalog));
        let mut state = self.state.clone();
        state.register_catalog_list(Arc::new(catalogs));
        state.mark_start_execution();
        Ok(state)
    }

    /// A table of the log, for plans that are not written in SQL.
    pub(crate) async fn table(
        &self,
        snapshot: &Snapshot,
        kind: TableKind,
    ) -> PlanResult<(SessionState, DataFrame)> {
        let state = self.session(snapshot, |_| false).await?;
        let context = datafusion::prelude::SessionContext::new_with_state(state.clone());
        let table = context.table(kind.sql_name()).await?;
        Ok((state, table))
    }

    /// What a table may hold of a message id, for plans that are not written in SQL.
    pub(crate) async fn table_with(
        &self,
        snapshot: &Snapshot,
        kind: TableKind,
        message_id: &str,
    ) -> PlanResult<(SessionState, DataFrame)> {
        let missing = || DataFusionError::Plan(format!("there is no table `{}`", kind.sql_name()));
        let view = snapshot.tables.iter().find(|view| view.table.kind == kind).ok_or_else(missing)?;
        let table = LogTable::new(view.clone(), Arc::clone(&self.stats), self.promotion);
        let store = Arc::clone(&view.table.store);
        self.state.runtime_env().register_object_store(table.store_url()?.as_ref(), store);
        let table = self.filters.narrow(table, message_id).await?;
        let mut state = self.state.clone();
        state.mark_start_execution();
        let context = datafusion::prelude::SessionContext::new_with_state(state.clone());
        Ok((state, context.read_table(Arc::new(table))?))
    }
}

/// Whether `statement` reads `view`, or lists everything there is.
fn references(state: &SessionState, statement: &Statement, view: &str) -> bool {
    state.resolve_table_references(statement).is_ok_and(|references| {
        references.iter().any(|table| table.table() == view || table.schema() == Some("information_schema"))
    })
}

/// Starts a plan, once more making sure that it only reads.
pub(crate) async fn execute(
    state: &SessionState,
    plan: LogicalPlan,
) -> PlanResult<SendableRecordBatchStream> {
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan)?;
    let plan = state.create_physical_plan(&plan).await?;
    execute_stream(plan, state.task_ctx())
}

/// What conditions are compiled with: the dialect and functions of queries, without any table.
pub(crate) fn base_state() -> PlanResult<SessionState> {
    state(&EngineConfig::default(), |_| {})
}

fn state(config: &EngineConfig, change: impl FnOnce(&mut SessionConfig)) -> PlanResult<SessionState> {
    let mut session = SessionConfig::new()
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_target_partitions(config.threads.max(1));
    let options = session.options_mut();
    options.sql_parser.dialect = statement::DIALECT;
    options.sql_parser.collect_spans = true;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.parquet.bloom_filter_on_read = true;
    options.execution.parquet.enable_page_index = true;
    change(&mut session);
    let mut runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(config.memory_bytes_max)))
        .with_metadata_cache_limit(FOOTERS_BYTES_MAX)
        .with_max_temp_directory_size(config.spill_bytes_max);
    if let Some(dir) = &config.spill_dir {
        runtime = runtime.with_temp_file_path(dir);
    }
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_physical_optimizer_rules(physical_rules())
        .with_config(session)
        .with_runtime_env(runtime.build_arc()?)
        .build();
    datafusion_functions_json::register_all(&mut state)?;
    state.register_udf(Arc::new(ScalarUDF::from(DateTrunc::default())))?;
    state.register_udaf(Arc::new(AggregateUDF::from(TraitsFold::default())))?;
    state.add_analyzer_rule(Arc::new(JsonCasts));
    Ok(state)
}

/// DataFusion's rules but the one that pushes filters down physical plans, and one of ours.
///
/// Below a projection with two columns of one name, as every self-join has, DataFusion 55.2 takes
/// one for the other (`FilterRemapper` looks columns up by name), and rows go missing. Static
/// filters reach the scan anyhow: the logical rule gives them to [`LogTable`].
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let rules = PhysicalOptimizer::new().rules.into_iter();
    let mut rules: Vec<_> = rules.filter(|rule| !rule.name().starts_with("FilterPushdown")).collect();
    let at = rules.iter().position(|rule| rule.name() == "ProjectionPushdown").unwrap_or(rules.len());
    rules.insert(at, Arc::new(ProjectionsThroughUnions));
    rules
}

#[cfg(test)]
mod tests;
