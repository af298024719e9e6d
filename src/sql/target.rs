//! Who answers: the server that runs on the data directory, or this process over the files.

use crate::serve::Announcement;
use crate::settings::Settings;
use anyhow::{Context, bail};
use bytes::Bytes;
use console::Format;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use queries::Engine;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take beyond the query's own limit.
const GRACE: Duration = Duration::from_secs(10);
/// How long a server has to say that it is there.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows in the format that was asked for; dropping it cancels the query.
pub(super) type Rows = BoxStream<'static, anyhow::Result<Bytes>>;

/// Who answers.
pub(crate) enum Target {
    /// The running server.
    Server { server: Announcement, timeout: Duration },
    /// This process.
    Files { engine: Arc<Engine>, data: PathBuf },
}

impl Target {
    /// Finds the server, or reads the tables, and the WAL's rows too where no server holds it.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(server) = Announcement::read(&settings.data)? {
            let hello =
                server.request(reqwest::Method::GET, "/api/v1/sources")?.timeout(HELLO_TIMEOUT).send();
            // Another program may have taken the port of a server that crashed; it does not know the key.
            if hello.await.is_ok_and(|answer| !matches!(answer.status().as_u16(), 401 | 404)) {
                let timeout = Duration::from_secs(settings.sql_timeout_s) + GRACE;
                return Ok(Self::Server { server, timeout });
            }
            eprintln!("the server of process {} at {} does not answer", server.pid, server.url);
        }
        let mut snapshot = pipeline::log::read_only(&crate::serve::log_config(settings)?).await?;
        snapshot.tables.extend(pipeline::delivery::table::read_only(&settings.store()?).await?);
        let engine = crate::reads::engine(move || snapshot.clone(), settings, None)?;
        Ok(Self::Files { engine, data: settings.data.clone() })
    }

    /// Who it is, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Server { server, .. } => format!("asked the server at {}", server.url),
            Self::Files { data, .. } => format!("no server runs here: reading `{}` itself", data.display()),
        }
    }

    /// Answers a statement.
    pub(super) async fn rows(&self, sql: &str, format: Format) -> anyhow::Result<Rows> {
        let (server, timeout) = match self {
            Self::Files { engine, .. } => {
                let rows = crate::reads::rows(engine.query(sql).await?, format);
                return Ok(rows.map_err(anyhow::Error::from).boxed());
            }
            Self::Server { server, timeout } => (server, *timeout),
        };
        let request = server
            .request(reqwest::Method::POST, "/api/v1/sql")?
            .timeout(timeout)
            .json(&json!({ "sql": sql, "format": format.as_str() }));
        let answer = request.send().await;
        let answer = answer.with_context(|| format!("the server at {} failed to answer", server.url))?;
        if !answer.status().is_success() {
            let status = answer.status();
            let body: Value = answer.json().await.unwrap_or_default();
            match body["message"].as_str() {
                Some(message) => bail!("{message}"),
                None => bail!("the server answered with status {status}"),
            }
        }
        let pieces = answer.bytes_stream();
        Ok(pieces.map(|piece| piece.context("the answer broke off; the server's log says why")).boxed())
    }

    /// The rows of an answer as JSON objects.
    pub(crate) async fn objects(&self, sql: &str) -> anyhow::Result<Vec<Value>> {
        let document = self.rows(sql, Format::Json).await?.try_collect::<Vec<_>>().await?.concat();
        let mut document: Value = serde_json::from_slice(&document)?;
        match document["rows"].take() {
            Value::Array(rows) => Ok(rows),
            _ => bail!("the answer has no rows"),
        }
    }
}
