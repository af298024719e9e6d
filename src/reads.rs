//! The console's reads, answered by the room of queries.

mod accounts;
mod admitted;
mod commits;
mod follow;
mod logged;
pub(crate) mod retention;

use crate::settings::Settings;
use anyhow::Context;
use console::{
    Accounts, AccountsOf, Commits, CommitsOf, Delivered, Format, InSource, Life, LoggedEvent, News, Page,
    Place, ReadError, Reads, Refusal, RejectedEvent, Retention, Rows, Search, StoredAt,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use pipeline::Micros;
use pipeline::event::format_timestamp;
use pipeline::log::{Log, Offset, PartitionId, Snapshot};
use queries::{Answer, Engine, EngineConfig, EventReport, SourceReport, SqlError};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Text in a table for people is cut at this many characters.
const WIDTH_MAX: usize = 60;

/// Where a server's queries spill to: on the disk of the data, as the system's may be small.
pub(crate) fn spill_dir(data: &Path) -> PathBuf {
    data.join("tmp")
}

/// Makes the directory for spilling, without what an earlier process left in it.
pub(crate) fn clear_spill(data: &Path) -> anyhow::Result<()> {
    let dir = spill_dir(data);
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("`{}` cannot be cleared", dir.display()))
        }
        _ => crate::serve::make_data_directory(&dir),
    }
}

/// An engine with the limits of the settings; without a `spill_dir`, it spills where the system keeps
/// temporary files.
pub(crate) fn engine(
    snapshots: impl Fn() -> Snapshot + Send + Sync + 'static,
    settings: &Settings,
    spill_dir: Option<PathBuf>,
) -> anyhow::Result<Arc<Engine>> {
    let config = EngineConfig {
        memory_bytes_max: usize::try_from(settings.sql_memory_bytes_max)?,
        timeout: Duration::from_secs(settings.sql_timeout_s),
        rows_max: usize::try_from(settings.sql_rows_max)?,
        spill_dir,
        ..EngineConfig::default()
    };
    Ok(Arc::new(Engine::new(Arc::new(snapshots), config)?))
}

/// The rows of an answer in a format.
pub(crate) fn rows(answer: Answer, format: Format) -> Rows {
    let rows = match format {
        Format::Json => queries::format::json(answer).boxed(),
        Format::Csv => queries::format::csv(answer).boxed(),
        Format::Table => queries::format::table(answer, WIDTH_MAX).boxed(),
        Format::Parquet => queries::format::parquet(answer).boxed(),
        Format::Arrow => queries::format::arrow(answer).boxed(),
    };
    rows.map_err(read_error).boxed()
}

/// The console's reads over an engine and the log.
pub(crate) struct EngineReads {
    pub(crate) engine: Arc<Engine>,
    pub(crate) log: Arc<Log>,
    /// Turns true when the server ends, and with it whoever follows the log.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Reads for EngineReads {
    fn sql(&self, sql: String, format: Format) -> BoxFuture<'static, Result<Rows, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move {
            let began = std::time::Instant::now();
            let answer = engine.query(&sql).await;
            measure(answer.as_ref().err(), began.elapsed());
            Ok(rows(answer.map_err(read_error)?, format))
        }
        .boxed()
    }

    fn events(&self, search: Search) -> BoxFuture<'static, Result<Page<LoggedEvent>, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move {
            let page = engine.events_page(&logged::page_of(search)).await.map_err(read_error)?;
            Ok(logged::page(page, logged::event))
        }
        .boxed()
    }

    fn rejected(&self, search: Search) -> BoxFuture<'static, Result<Page<RejectedEvent>, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move {
            let page = engine.rejected_page(&logged::page_of(search)).await.map_err(read_error)?;
            let mut page = logged::page(page, logged::rejected);
            admitted::fill(&engine, &mut page.rows).await?;
            Ok(page)
        }
        .boxed()
    }

    fn rejected_at(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> BoxFuture<'static, Result<Option<RejectedEvent>, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move { admitted::rejected_at(&engine, &partition, offset).await }.boxed()
    }

    fn commits(&self, of: CommitsOf) -> BoxFuture<'static, Result<Commits, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move { commits::page(&engine, of).await }.boxed()
    }

    fn retention(&self) -> BoxFuture<'static, Result<Retention, ReadError>> {
        let (engine, log) = (Arc::clone(&self.engine), Arc::clone(&self.log));
        async move {
            let tables = engine.tables();
            let overview = log.retention(tables).await;
            overview
                .map(|found| retention::shown(&found))
                .map_err(|error| ReadError::Failed(error.to_string()))
        }
        .boxed()
    }

    fn follow(
        &self,
        equal: Vec<(&'static str, String)>,
        after: Option<(PartitionId, Offset)>,
    ) -> BoxStream<'static, Result<News, ReadError>> {
        follow::follow(Arc::clone(&self.log), self.ending.clone(), equal, after)
    }

    fn event(&self, message_id: String) -> BoxFuture<'static, Result<Life, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move {
            let mut life = life(engine.event(&message_id).await.map_err(read_error)?);
            for stored in life.sources.iter_mut().flat_map(|source| &mut source.stored) {
                stored.deliveries = deliveries(&engine, &stored.place).await?;
            }
            Ok(life)
        }
        .boxed()
    }

    fn accounts(&self, of: AccountsOf) -> BoxFuture<'static, Result<Accounts, ReadError>> {
        let engine = Arc::clone(&self.engine);
        async move { accounts::page(&engine, of).await }.boxed()
    }
}

/// Counts a query of the management API, and how long it took until its first rows could be read.
fn measure(error: Option<&SqlError>, took: std::time::Duration) {
    let outcome = match error {
        None => "answered",
        Some(SqlError::Invalid { .. }) => "invalid",
        Some(SqlError::TooLong { .. } | SqlError::TooMuchMemory { .. }) => "limit",
        Some(SqlError::Busy { .. }) => "busy",
        Some(SqlError::Failed { .. }) => "failed",
    };
    metrics::counter!("flowstate_sql_queries_total", "outcome" => outcome).increment(1);
    metrics::histogram!("flowstate_sql_query_seconds").record(took);
}

/// An answer as the format JSON has it.
#[derive(Deserialize)]
struct Answered<T> {
    rows: Vec<T>,
    truncated: bool,
}

/// The rows of an answer as objects.
async fn objects<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<Answered<T>, ReadError> {
    let document: Vec<_> = queries::format::json(answer).map_err(read_error).try_collect().await?;
    serde_json::from_slice(&document.concat())
        .map_err(|error| ReadError::Failed(format!("the rows are not as expected: {error}")))
}

/// What became of a stored event at destinations; nothing where nothing was ever delivered.
async fn deliveries(engine: &Engine, place: &Place) -> Result<Vec<Delivered>, ReadError> {
    let (partition, offset) = (&place.partition, place.offset);
    let sql = format!(
        r#"SELECT at, destination, replay, outcome, "trigger", attempt, next_at, class, status, vendor_code, reason,
                  latency_us, sent, answered, version
           FROM delivery_records
           WHERE log_partition = '{partition}' AND first_offset <= {offset} AND last_offset >= {offset}
                 AND array_has(offsets, {offset})
           ORDER BY at, journal_sequence"#
    );
    match engine.query(&sql).await {
        Ok(answer) => Ok(objects(answer).await?.rows),
        Err(SqlError::Invalid { message, .. }) if message.contains("delivery_records") => Ok(Vec::new()),
        Err(error) => Err(read_error(error)),
    }
}

fn life(report: EventReport) -> Life {
    let sources = report.sources.into_iter().map(in_source).collect();
    Life { message_id: report.message_id, sources, truncated: report.truncated }
}

fn in_source(report: SourceReport) -> InSource {
    let stored = report.stored.into_iter().map(|at| StoredAt {
        place: place(&at.partition, at.offset, at.received_at),
        committed: at.file.is_some(),
        r#type: at.kind,
        event: at.event,
        deliveries: Vec::new(),
    });
    let duplicates = report.repeats.iter().map(|at| place(&at.partition, at.offset, at.received_at));
    let rejected = report.rejected.into_iter().map(|at| Refusal {
        place: place(&at.partition, at.offset, at.received_at),
        code: at.code,
        field: at.field,
        message: at.message,
    });
    InSource {
        source: report.source,
        test: report.test,
        stored: stored.collect(),
        duplicates: duplicates.collect(),
        rejected: rejected.collect(),
    }
}

fn place(partition: &pipeline::log::PartitionId, offset: u64, received_at: Micros) -> Place {
    Place { received_at: format_timestamp(received_at), partition: partition.to_string(), offset }
}

fn read_error(error: SqlError) -> ReadError {
    let message = error.to_string();
    match error {
        SqlError::Invalid { .. } => ReadError::Query(message),
        SqlError::TooLong { .. } | SqlError::TooMuchMemory { .. } => ReadError::Limit(message),
        SqlError::Busy { .. } => ReadError::Busy(message),
        SqlError::Failed { .. } => ReadError::Failed(message),
    }
}
