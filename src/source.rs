//! `flowstate source`: the sources that may send events.

use crate::cli::{Kind, SourceArgs, SourceCommand};
use crate::output::print;
use crate::serve::Announcement;
use crate::settings::Settings;
use anyhow::bail;
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{Control, Secret, Source, SourceKind};
use std::fmt::Write;
use std::time::Duration;

/// How long a running server may take to take a change over.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: SourceArgs) -> anyhow::Result<()> {
    let (flags, change) = match args.command {
        SourceCommand::List { flags } => return list(&open(&flags.settings()?, false).await?).await,
        SourceCommand::Add { name, kind, test, flags } => (flags, Change::Add { name, kind, test }),
        SourceCommand::Disable { name, flags } => (flags, Change::Enabled { name, enabled: false }),
        SourceCommand::Enable { name, flags } => (flags, Change::Enabled { name, enabled: true }),
    };
    let settings = flags.settings()?;
    let control = open(&settings, matches!(change, Change::Add { .. })).await?;
    match change {
        Change::Add { name, kind, test } => add(&control, &settings, name, kind, test).await?,
        Change::Enabled { name, enabled } => set_enabled(&control, &settings, &name, enabled).await?,
    }
    control.close().await;
    Ok(())
}

enum Change {
    Add { name: String, kind: Kind, test: bool },
    Enabled { name: String, enabled: bool },
}

/// A source with a new key, which is not stored yet.
pub(crate) fn new_source(name: String, kind: SourceKind, test: bool, key: &Secret, clock: &Clock) -> Source {
    Source {
        name,
        kind,
        test,
        enabled: true,
        write_key_hash: key.hash(),
        write_key_prefix: key.prefix(),
        created_at: clock.now(),
    }
}

/// Opens the control store; only when `make` is set may it be a new one.
pub(crate) async fn open(settings: &Settings, make: bool) -> anyhow::Result<Sqlite> {
    crate::telemetry::start(settings);
    let path = settings.control_path();
    if make {
        crate::serve::make_data_directory(&settings.data)?;
    } else if !path.exists() {
        bail!(
            "there is no Flowstate in `{}`, as `{}` does not exist: name another data directory with --data or \
             FLOWSTATE_DATA",
            settings.data.display(),
            path.display()
        );
    }
    Ok(Sqlite::open(&path).await?)
}

async fn add(
    control: &dyn Control,
    settings: &Settings,
    name: String,
    kind: Kind,
    test: bool,
) -> anyhow::Result<()> {
    let kind = match kind {
        Kind::Browser => SourceKind::Browser,
        Kind::Server => SourceKind::Server,
    };
    let key = Secret::write_key()?;
    control.add_source(new_source(name.clone(), kind, test, &key, &Clock::system())).await?;
    tell_server(settings).await;
    eprintln!("source `{name}` was added; this is its write key, which is shown only now:");
    print(format!("{}\n", key.reveal()))?;
    Ok(())
}

async fn set_enabled(
    control: &dyn Control,
    settings: &Settings,
    name: &str,
    enabled: bool,
) -> anyhow::Result<()> {
    control.set_source_enabled(name, enabled).await?;
    tell_server(settings).await;
    eprintln!("source `{name}` is {} now", if enabled { "enabled" } else { "disabled" });
    Ok(())
}

/// Has a running server take the change over now; it would find it by itself within a second, so
/// nothing depends on this.
pub(crate) async fn tell_server(settings: &Settings) {
    let told = async {
        let Some(server) = Announcement::read(&settings.data)? else { return Ok(()) };
        let request = server.request(reqwest::Method::GET, "/api/v1/sources")?.timeout(TELL_TIMEOUT);
        request.send().await?.error_for_status()?;
        anyhow::Ok(())
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "the running server could not be told of the change");
    }
}

async fn list(control: &dyn Control) -> anyhow::Result<()> {
    let sources = control.sources().await?;
    let width = sources.iter().map(|source| source.name.len()).max().unwrap_or(0).max("NAME".len());
    let mut lines = format!("{:width$}  KIND     STATE     TEST  WRITE KEY\n", "NAME");
    for source in &sources {
        let state = if source.enabled { "enabled" } else { "disabled" };
        let test = if source.test { "yes" } else { "no" };
        let (name, kind, prefix) = (&source.name, source.kind.as_str(), &source.write_key_prefix);
        writeln!(lines, "{name:width$}  {kind:7}  {state:8}  {test:4}  {prefix}…")?;
    }
    print(lines)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn looking_for_sources_makes_no_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("elsewhere");
        let settings = Settings::load(None, [], &[("data", data.display().to_string())]).unwrap();
        let refused = open(&settings, false).await.err().unwrap().to_string();
        assert!(refused.contains("elsewhere") && refused.contains("--data"), "{refused}");
        assert!(!data.exists());
        open(&settings, true).await.unwrap().close().await;
        open(&settings, false).await.unwrap().close().await;
    }
}
