//! Where pieces go: to the server that runs on the data directory, or straight into its log.

use super::Intake;
use super::content::Piece;
use crate::serve::Announcement;
use crate::settings::Settings;
use anyhow::{Context, bail};
use console::{Imported, Imports, ImportsError};
use ingest::Ingest;
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{Control, Keys};
use pipeline::log::Log;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to answer for one piece.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a piece is sent that is not answered, a second apart: a server may be starting again.
const ATTEMPTS_MAX: u32 = 30;
/// How long the log may be full before the import gives up.
const BUSY_MAX: Duration = Duration::from_secs(600);

/// Where pieces go.
pub(super) enum Target {
    /// The running server.
    Server { data: PathBuf, client: Client },
    /// The log itself, which this process holds meanwhile.
    Log { log: Arc<Log>, sqlite: Arc<Sqlite>, intake: Intake },
}

/// What one attempt came to.
enum Attempt {
    Done(Imported),
    /// Try again after this time.
    Busy(String, Duration),
    /// No answer: nobody knows whether it was stored, and a repeat finds out.
    Unanswered(String),
}

impl Target {
    /// Finds the server or opens the log; the source must be there and enabled.
    pub(super) async fn open(settings: &Settings, source: &str) -> anyhow::Result<Self> {
        if !settings.control_path().exists() {
            bail!(
                "there is no Flowstate in `{}`: name another data directory with --data",
                settings.data.display()
            );
        }
        let sqlite = Arc::new(Sqlite::open(&settings.control_path()).await?);
        match sqlite.sources().await?.iter().find(|known| known.name == source) {
            None => {
                bail!("there is no source `{source}`; `flowstate source add {source} --kind server` makes it")
            }
            Some(known) if !known.enabled => {
                bail!(
                    "the source `{source}` is switched off; `flowstate source enable {source}` lets it send"
                )
            }
            Some(_) => {}
        }
        if let Some(server) = Announcement::read(&settings.data)? {
            if answers(&server).await {
                eprintln!("through the server at {}", server.url);
                sqlite.close().await;
                return Ok(Self::Server {
                    data: settings.data.clone(),
                    client: pipeline::egress::local_client()?,
                });
            }
            eprintln!("the server of process {} at {} does not answer", server.pid, server.url);
        }
        let clock = Clock::system();
        let log = Arc::new(Log::open(crate::serve::log_config(settings)?, clock.clone()).await?);
        eprintln!("no server runs here: straight into the log in `{}`", settings.data.display());
        let control: Arc<dyn Control> = Arc::clone(&sqlite) as _;
        let config = crate::serve::ingest_config(settings)?;
        let ingest = Ingest::new(Arc::clone(&log), Keys::load(control).await?, config, clock)?;
        let intake = Intake { ingest: Arc::new(ingest), partition: log.partition().clone() };
        Ok(Self::Log { log, sqlite, intake })
    }

    /// Sends a piece and waits until it is durable, through full logs and restarts of the server.
    pub(super) async fn send(
        &self,
        source: &str,
        file: &str,
        deliver: bool,
        piece: &Piece,
    ) -> anyhow::Result<Imported> {
        let piece = console::Piece {
            source: source.to_owned(),
            file: file.to_owned(),
            first_line: piece.first_line,
            deliver,
            lines: piece.text.clone(),
        };
        let (mut unanswered, mut busy) = (0, Duration::ZERO);
        loop {
            match self.attempt(&piece).await? {
                Attempt::Done(imported) => return Ok(imported),
                Attempt::Busy(why, wait) => {
                    if busy.is_zero() {
                        tracing::warn!("waiting: {why}");
                    }
                    busy += wait;
                    if busy > BUSY_MAX {
                        bail!("the log takes nothing for {} minutes: {why}", BUSY_MAX.as_secs() / 60);
                    }
                    tokio::time::sleep(wait).await;
                }
                Attempt::Unanswered(why) => {
                    unanswered += 1;
                    if unanswered == ATTEMPTS_MAX {
                        bail!("the server does not answer: {why}");
                    }
                    if unanswered == 1 {
                        tracing::warn!("trying again: {why}");
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn attempt(&self, piece: &console::Piece) -> anyhow::Result<Attempt> {
        match self {
            Self::Log { intake, .. } => Ok(match intake.import(piece.clone()).await {
                Ok(imported) => Attempt::Done(imported),
                Err(ImportsError::Busy { message, retry_after_s }) => {
                    Attempt::Busy(message, Duration::from_secs(retry_after_s))
                }
                Err(error) => return Err(error.into()),
            }),
            Self::Server { data, client } => over_http(data, client, piece).await,
        }
    }

    /// Commits what was imported and releases the data directory, where this process holds it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self::Log { log, sqlite, intake } = self else { return Ok(()) };
        drop(intake);
        let closed = log.close().await;
        sqlite.close().await;
        closed.context("the last events were not committed; they are safe, and the next start commits them")
    }
}

/// Whether the announced server is there and knows its key.
async fn answers(server: &Announcement) -> bool {
    let Ok(request) = server.request(Method::GET, "/api/v1/sources") else { return false };
    let asked = request.timeout(Duration::from_secs(5)).send().await;
    asked.is_ok_and(|answer| answer.status().is_success())
}

async fn over_http(
    data: &std::path::Path,
    client: &Client,
    piece: &console::Piece,
) -> anyhow::Result<Attempt> {
    // Read anew each time: a server that was restarted has another key and maybe another port.
    let Some(server) = Announcement::read(data)? else {
        return Ok(Attempt::Unanswered("no server runs on the data directory any more".to_owned()));
    };
    let url = format!("{}/api/v1/sources/{}/import", server.url, piece.source);
    let (line, deliver) = (piece.first_line.to_string(), piece.deliver.to_string());
    let url =
        url::Url::parse_with_params(&url, [("file", &piece.file), ("line", &line), ("deliver", &deliver)])?;
    let request =
        client.post(url).bearer_auth(&server.api_key).timeout(ANSWER_TIMEOUT).body(piece.lines.clone());
    let answer = match request.header("content-type", "application/x-ndjson").send().await {
        Ok(answer) => answer,
        Err(error) => return Ok(Attempt::Unanswered(error.to_string())),
    };
    let status = answer.status();
    if status.is_success() {
        return Ok(match answer.json().await {
            Ok(imported) => Attempt::Done(imported),
            Err(error) => Attempt::Unanswered(error.to_string()),
        });
    }
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let body: Value = answer.json().await.unwrap_or_default();
    let message = body["message"].as_str().map_or_else(|| format!("status {status}"), ToOwned::to_owned);
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Ok(Attempt::Busy(message, Duration::from_secs(wait.unwrap_or(1).clamp(1, 60))))
        }
        // Another program may have taken the port of a server that crashed; it does not know the key.
        StatusCode::UNAUTHORIZED => Ok(Attempt::Unanswered(message)),
        _ => bail!("the server refused: {message}"),
    }
}
