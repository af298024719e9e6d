//! `flowstate sql`: asks the running server, or reads the data directory itself.

use crate::cli::{Format, SqlArgs};
use crate::output::print;
use crate::serve::Announcement;
use crate::settings::Settings;
use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a server may take beyond the query's own limit.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: SqlArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    if let Some(server) = Announcement::read(&settings.data)? {
        let timeout = Duration::from_secs(settings.sql_timeout_s) + GRACE;
        match ask(&server, &args, timeout).await? {
            Some(answer) => {
                eprintln!("asked the server at {}", server.url);
                return print_answer(answer).await;
            }
            None => eprintln!("the server of process {} at {} does not answer", server.pid, server.url),
        }
    }
    eprintln!("no server runs here: reading `{}` itself", settings.data.display());
    read(&settings, &args).await
}

/// Reads the tables, and the WAL's rows too, as no server holds it.
async fn read(settings: &Settings, args: &SqlArgs) -> anyhow::Result<()> {
    let mut snapshot = pipeline::log::read_only(&crate::serve::log_config(settings)?).await?;
    snapshot.tables.extend(pipeline::delivery::table::read_only(&settings.store()?).await?);
    let engine = crate::reads::engine(move || snapshot.clone(), settings, None)?;
    let answer = engine.query(&args.query).await?;
    let format = match args.format {
        Format::Table => console::Format::Table,
        Format::Json => console::Format::Json,
        Format::Csv => console::Format::Csv,
    };
    print_all(crate::reads::rows(answer, format)).await
}

/// Sends the query; `None` when no server listens there any more.
async fn ask(
    server: &Announcement,
    args: &SqlArgs,
    timeout: Duration,
) -> anyhow::Result<Option<reqwest::Response>> {
    let request = server
        .request(reqwest::Method::POST, "/api/v1/sql")?
        .timeout(timeout)
        .json(&json!({ "sql": args.query, "format": args.format.as_str() }));
    match request.send().await {
        // Another program may have taken the port of a server that crashed; it does not know the key.
        Ok(answer) if matches!(answer.status().as_u16(), 401 | 404) => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("the server at {} failed to answer", server.url)),
    }
}

async fn print_answer(answer: reqwest::Response) -> anyhow::Result<()> {
    if !answer.status().is_success() {
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        match body["message"].as_str() {
            Some(message) => bail!("{message}"),
            None => bail!("the server answered with status {status}"),
        }
    }
    let rows = answer.bytes_stream();
    print_all(rows.map(|piece| piece.context("the answer broke off; the server's log says why"))).await
}

/// Prints all pieces, and ends the last line, as JSON does not.
async fn print_all<E: Into<anyhow::Error>>(rows: impl Stream<Item = Result<Bytes, E>>) -> anyhow::Result<()> {
    let mut rows = std::pin::pin!(rows);
    let mut last = None;
    while let Some(piece) = rows.next().await {
        let piece = piece.map_err(Into::into)?;
        last = piece.last().copied().or(last);
        print(piece)?;
    }
    if last.is_some_and(|last| last != b'\n') {
        print("\n")?;
    }
    Ok(())
}
