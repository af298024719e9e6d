//! The demo's server: the same that `flowstate serve` runs, in this process.

use super::company::Origin;
use crate::serve::{Announcement, make_data_directory, serve};
use crate::settings::Settings;
use crate::source::new_source;
use anyhow::{Context, bail};
use chrono::DateTime;
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{Control, Secret, SourceKind};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The server has this long to start.
const START_MAX: Duration = Duration::from_secs(30);

/// A running server.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) data: PathBuf,
    /// One for each [`Origin`].
    pub(super) write_keys: [String; Origin::ALL.len()],
    api_key: String,
}

/// The answer to a query, as the management API gives it.
#[derive(Deserialize)]
struct Answer {
    rows: Vec<Value>,
    truncated: bool,
}

/// The task it runs in.
pub(super) struct Running(JoinHandle<anyhow::Result<()>>);

impl Server {
    /// Starts on a new directory below `demo`, on defaults, but that it may reach this machine.
    pub(super) async fn start(demo: &Path, clock: &Clock) -> anyhow::Result<(Self, Running)> {
        let started = DateTime::from_timestamp_micros(clock.now()).unwrap_or_default();
        let data = demo.join(started.format("%Y-%m-%d-%H%M%S%.3f").to_string());
        make_data_directory(&data)?;
        let settings = settings(&data)?;
        crate::telemetry::start(&settings);
        let write_keys = add_sources(&settings, clock).await?;
        let mut running = tokio::spawn(serve(settings));
        let begun = Instant::now();
        let announcement = loop {
            if let Some(announcement) = Announcement::read(&data)? {
                break announcement;
            }
            if running.is_finished() {
                (&mut running).await??;
                bail!("the server ended at its start");
            }
            if begun.elapsed() > START_MAX {
                bail!("the server did not start within {START_MAX:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let server = Self { url: announcement.url, data, write_keys, api_key: announcement.api_key };
        Ok((server, Running(running)))
    }

    pub(super) fn write_key(&self, origin: Origin) -> &str {
        &self.write_keys[origin as usize]
    }

    /// The rows of a query, each an object: all of them, or an error.
    pub(super) async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Value>> {
        let asked = json!({"sql": sql, "format": "json"});
        let answer: Answer = serde_json::from_value(self.api(Method::POST, "/sql", Some(&asked)).await?)?;
        if answer.truncated {
            bail!("the query `{sql}` has more rows than one answer may have");
        }
        Ok(answer.rows)
    }

    /// The one number that a query answers.
    pub(super) async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let rows = self.rows(sql).await?;
        let value = rows.first().and_then(|row| row.as_object()?.values().next().cloned());
        Ok(value.as_ref().map(number).unwrap_or_default())
    }

    /// What the management API answers below `/api/v1`.
    pub(super) async fn api(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = pipeline::egress::local_client()?
            .request(method.clone(), format!("{}/api/v1{path}", self.url))
            .bearer_auth(&self.api_key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await.context("reading an answer of the management API")?;
        if !status.is_success() {
            bail!("{method} {path} was answered with {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// A count, which JSON has as a number or, where it may be large, as text.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

impl Running {
    /// Waits until Ctrl-C or SIGTERM has ended it.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.0).await?
    }

    /// Ends it as Ctrl-C does.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
        self.ended().await
    }
}

/// The defaults, whatever the environment and a settings file in the working directory say.
fn settings(data: &Path) -> anyhow::Result<Settings> {
    let file = data.join("flowstate.toml");
    std::fs::write(&file, "# The demo runs on the defaults.\n")?;
    let flags = [
        ("data", data.display().to_string()),
        ("listen", "127.0.0.1:0".to_owned()),
        ("allow_private_egress", "true".to_owned()),
        ("log_level", "warn".to_owned()),
        // Given, so that none is made and shown as at a first start.
        ("admin_key", Secret::api_key()?.reveal().to_owned()),
    ];
    Ok(Settings::load(Some(&file), [], &flags)?)
}

async fn add_sources(settings: &Settings, clock: &Clock) -> anyhow::Result<[String; Origin::ALL.len()]> {
    let control = Sqlite::open(&settings.control_path()).await?;
    let mut write_keys = Vec::new();
    for (origin, kind) in Origin::ALL.into_iter().zip([SourceKind::Browser, SourceKind::Server]) {
        let key = Secret::write_key()?;
        control.add_source(new_source(origin.name().to_owned(), kind, false, &key, clock)).await?;
        write_keys.push(key.reveal().to_owned());
    }
    control.close().await;
    write_keys.try_into().map_err(|_| anyhow::anyhow!("every origin has a key"))
}
