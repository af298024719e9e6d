//! A real log in a temporary directory, and what its engine answers.

use crate::{Answer, Engine, EngineConfig, SqlError, format};
use bytes::Bytes;
use futures::TryStreamExt;
use pipeline::Clock;
use pipeline::event::{Event, Kind, Rejected, parse_timestamp};
use pipeline::log::table::{Table, TableKind};
use pipeline::log::{Batch, Log, LogConfig, Origin};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// 2026-03-01T10:00:00Z.
pub(crate) const START: &str = "2026-03-01T10:00:00Z";

pub(crate) struct Lake {
    pub(crate) log: Arc<Log>,
    pub(crate) clock: Clock,
    _dir: tempfile::TempDir,
}

impl Lake {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::given(parse_timestamp(START).unwrap());
        let config = LogConfig {
            dir: dir.path().to_path_buf(),
            store: url::Url::from_directory_path(dir.path().join("tables")).unwrap().into(),
            durability: Default::default(),
            wal_bytes_max: 64 << 20,
            segment_bytes: 1 << 20,
            commit_age: Duration::from_secs(3600),
            commit_bytes: 8 << 20,
            dedup_window: Duration::from_secs(7 * 86_400),
            dedup_memory_bytes_max: 16 << 20,
            promotion: Default::default(),
        };
        let log = Arc::new(Log::open(config, clock.clone()).await.unwrap());
        Self { log, clock, _dir: dir }
    }

    /// A table as another node has it, for changes that are not this one's.
    pub(crate) async fn another_node(&self, kind: TableKind) -> Table {
        let url = url::Url::from_directory_path(self._dir.path().join("tables")).unwrap().into();
        let store = pipeline::log::store::Store::open(&url).await.unwrap();
        Table::open_or_create(&store, kind, self.clock.clone(), None).await.unwrap()
    }

    /// Appends events of the source `web`.
    pub(crate) async fn append(&self, events: &[Event<'_>]) {
        self.append_from("web", false, events, &[]).await;
    }

    /// Appends one request.
    pub(crate) async fn append_from(
        &self,
        source: &str,
        test: bool,
        events: &[Event<'_>],
        rejected: &[Rejected<'_>],
    ) {
        let received = u32::try_from(events.len() + rejected.len()).unwrap();
        let mut batch = Batch::new(Origin { source: source.into(), test }, received);
        events.iter().for_each(|event| batch.push_event(event));
        rejected.iter().for_each(|rejected| batch.push_rejected(rejected));
        self.log.append(batch).await.unwrap();
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine_with(EngineConfig::default())
    }

    pub(crate) fn engine_with(&self, config: EngineConfig) -> Engine {
        let log = Arc::clone(&self.log);
        Engine::new(Arc::new(move || log.snapshot()), config).unwrap()
    }

    /// An engine that neither prunes nor pushes filters down.
    pub(crate) fn plain_engine(&self) -> Engine {
        let log = Arc::clone(&self.log);
        Engine::open(Arc::new(move || log.snapshot()), EngineConfig::default(), |session| {
            let options = session.options_mut();
            options.optimizer.enable_dynamic_filter_pushdown = false;
            options.execution.parquet.pruning = false;
            options.execution.parquet.pushdown_filters = false;
            options.execution.parquet.bloom_filter_on_read = false;
            options.execution.parquet.enable_page_index = false;
        })
        .unwrap()
    }
}

/// An event whose timestamp is `time`.
pub(crate) fn at<'a>(kind: Kind, id: &'a str, time: &str) -> Event<'a> {
    let time = parse_timestamp(time).unwrap();
    Event { original_timestamp: Some(time), ..Event::new(kind, id) }
}

pub(crate) fn rejected(message_id: &str) -> Rejected<'_> {
    Rejected {
        code: "no_user_anon_id".into(),
        field: None,
        message: "it names nobody".into(),
        message_id: Some(message_id.into()),
        body: Some("{}".into()),
        body_bytes: 2,
    }
}

/// The rows of an answer as JSON objects.
pub(crate) async fn rows(engine: &Engine, sql: &str) -> Vec<Value> {
    let answer = engine.query(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    let mut answer = json(answer).await.unwrap();
    answer["rows"].as_array_mut().unwrap().drain(..).collect()
}

/// The only value of an answer.
pub(crate) async fn value(engine: &Engine, sql: &str) -> Value {
    let rows = rows(engine, sql).await;
    assert_eq!(rows.len(), 1, "{sql}");
    rows[0].as_object().unwrap().values().next().unwrap().clone()
}

/// The error of a statement.
pub(crate) async fn error(engine: &Engine, sql: &str) -> SqlError {
    match engine.query(sql).await {
        Err(error) => error,
        Ok(answer) => answer.collect().await.map(|_| ()).expect_err(sql),
    }
}

pub(crate) async fn json(answer: Answer) -> Result<Value, SqlError> {
    let bytes: Vec<Bytes> = format::json(answer).try_collect().await?;
    Ok(serde_json::from_slice(&bytes.concat()).unwrap())
}

pub(crate) async fn text(chunks: impl futures::Stream<Item = Result<Bytes, SqlError>>) -> String {
    let bytes: Vec<Bytes> = chunks.try_collect().await.unwrap();
    String::from_utf8(bytes.concat()).unwrap()
}
