//! Whose tables are backed up: those of the server that runs, or of a directory that nobody uses.

use crate::serve::{Announcement, delivery, log_config};
use crate::settings::Settings;
use anyhow::{Context, bail};
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::log::{Log, PartitionId};
use reqwest::Method;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to commit what waits.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Who commits what waits.
pub(super) enum Source {
    /// The running server.
    Server(Announcement),
    /// This process, which holds the log meanwhile.
    Log(Box<Log>),
}

/// Versions of the tables that hold everything that was acknowledged before.
pub(super) struct Pinned {
    pub(super) partition: PartitionId,
    pub(super) versions: [u64; 3],
}

impl Source {
    /// Finds the server, or opens the log and commits the journal of deliveries, too.
    pub(super) async fn open(
        settings: &Settings,
        sqlite: &Arc<Sqlite>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        if let Some(server) = Announcement::read(&settings.data)? {
            let hello =
                server.request(Method::GET, "/api/v1/sources")?.timeout(Duration::from_secs(5)).send();
            if hello.await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Self::Server(server));
            }
            eprintln!("the server of process {} at {} does not answer", server.pid, server.url);
        }
        let log = Log::open(log_config(settings)?, clock.clone()).await?;
        if delivery::journal_dir(settings).exists() {
            let deliveries = delivery::deliveries(settings, Arc::clone(sqlite) as _, clock).await?;
            deliveries.close().await.context("the last deliveries cannot be committed")?;
        }
        Ok(Self::Log(Box::new(log)))
    }

    /// Commits what waits.
    pub(super) async fn pin(&self) -> anyhow::Result<Pinned> {
        let server = match self {
            Self::Log(log) => {
                return Ok(Pinned { versions: log.pin().await?, partition: log.partition().clone() });
            }
            Self::Server(server) => server,
        };
        let answer = server.request(Method::POST, "/api/v1/commits")?.timeout(COMMIT_TIMEOUT).send().await;
        let answer = answer.with_context(|| format!("the server at {} does not answer", server.url))?;
        let status = answer.status();
        let body: Value = answer.json().await.context("the server answered with no JSON")?;
        if !status.is_success() {
            bail!("the server cannot commit: {}", body["message"].as_str().unwrap_or(status.as_str()));
        }
        let version = |name: &str| body["versions"][name].as_u64();
        let versions = [version("events"), version("rejected"), version("receipts")];
        match (body["partition"].as_str(), versions) {
            (Some(partition), [Some(events), Some(rejected), Some(receipts)]) => Ok(Pinned {
                partition: PartitionId(partition.into()),
                versions: [events, rejected, receipts],
            }),
            _ => bail!("the server is of another version: it did not say what it committed"),
        }
    }

    /// Lets go of the log.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Log(log) => Ok(log.close().await?),
            Self::Server(_) => Ok(()),
        }
    }
}
