//! `flowstate source`: the sources that may send events.

use crate::cli::{Flags, Kind, SourceArgs, SourceCommand};
use crate::output::print;
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::control::{Control, Secret, Source, SourceKind};
use std::fmt::Write;

pub(crate) async fn run(args: SourceArgs) -> anyhow::Result<()> {
    match args.command {
        SourceCommand::Add { name, kind, test, flags } => add(&open(&flags).await?, name, kind, test).await,
        SourceCommand::List { flags } => list(&open(&flags).await?).await,
        SourceCommand::Disable { name, flags } => enable(&open(&flags).await?, &name, false).await,
        SourceCommand::Enable { name, flags } => enable(&open(&flags).await?, &name, true).await,
    }
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

async fn open(flags: &Flags<false>) -> anyhow::Result<Sqlite> {
    let settings = flags.settings()?;
    crate::telemetry::start(&settings);
    crate::serve::make_data_directory(&settings.data)?;
    Ok(Sqlite::open(&settings.control_path()).await?)
}

async fn add(control: &dyn Control, name: String, kind: Kind, test: bool) -> anyhow::Result<()> {
    let kind = match kind {
        Kind::Browser => SourceKind::Browser,
        Kind::Server => SourceKind::Server,
    };
    let key = Secret::write_key()?;
    control.add_source(new_source(name.clone(), kind, test, &key, &Clock::system())).await?;
    eprintln!("source `{name}` was added; this is its write key, which is shown only now:");
    print(format!("{}\n", key.reveal()))?;
    Ok(())
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

async fn enable(control: &dyn Control, name: &str, enabled: bool) -> anyhow::Result<()> {
    control.set_source_enabled(name, enabled).await?;
    eprintln!("source `{name}` is {} now", if enabled { "enabled" } else { "disabled" });
    Ok(())
}
