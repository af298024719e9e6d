//! `flowstate backup`: copies everything that a server keeps to another place, while it runs.

mod progress;
mod source;

pub(crate) use progress::Bar;

use crate::cli::BackupArgs;
use crate::output::print;
use crate::serve::delivery;
use crate::settings::Settings;
use anyhow::{Context, bail};
use bytes::Bytes;
use pipeline::Clock;
use pipeline::control::sqlite::Sqlite;
use pipeline::log::LogError;
use pipeline::log::backup::{Backups, Pruned, Taken, Writer};
use pipeline::log::store::StoreConfig;
use source::Source;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// The names of files in a backup.
pub(crate) const CONTROL: &str = "control.db";
pub(crate) const MASTER_KEY: &str = "master.key";
pub(crate) const IMPORTS: &str = "imports";

/// So often tables are begun again of which files were cleaned away meanwhile.
const ATTEMPTS_MAX: usize = 10;

pub(crate) async fn run(args: BackupArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let (destination, clock) = (settings.place(&args.destination)?, Clock::system());
    if !settings.control_path().exists() {
        bail!(
            "there is no Flowstate in `{}`: name another data directory with --data",
            settings.data.display()
        );
    }
    if let Ok(directory) = destination.url.to_file_path() {
        // For its owner only, as the data directory is.
        crate::serve::make_data_directory(&directory)?;
        if args.with_master_key {
            refuse_an_open_directory(&directory)?;
        }
    }
    let mut writer = Writer::begin(&destination, &clock).await?;
    // Before the tables, so that none of it says more than the tables hold.
    add_imports(&mut writer, &settings.data).await?;
    let sqlite = Arc::new(Sqlite::open(&settings.control_path()).await?);
    add_control(&mut writer, &sqlite, &settings.data).await?;
    if args.with_master_key {
        add_master_key(&mut writer, &settings).await?;
    }
    let source = Source::open(&settings, &sqlite, &clock).await?;
    let taken = take(writer, &source, &settings, args.tables).await;
    source.close().await?;
    sqlite.close().await;
    let taken = taken?;
    print(told(&taken))?;
    if !args.with_master_key {
        let key = match settings.master_key {
            Some(_) => "FLOWSTATE_MASTER_KEY".to_owned(),
            None => format!("`{}`", delivery::master_key_path(&settings).display()),
        };
        eprintln!(
            "without the master key, {key}, which opens the credentials of connections: keep it elsewhere"
        );
    }
    if let Some(keep) = args.keep {
        let pruned = prune(&destination, keep, &clock).await;
        let pruned = pruned.with_context(|| {
            format!("backup {} is complete, but older backups could not be removed", taken.name)
        })?;
        print(told_pruned(&pruned))?;
    }
    Ok(())
}

async fn prune(destination: &StoreConfig, keep: NonZeroUsize, clock: &Clock) -> Result<Pruned, LogError> {
    Backups::open(destination).await?.prune(keep, clock).await
}

/// A key that opens credentials must not lie where others can read it.
fn refuse_an_open_directory(directory: &Path) -> anyhow::Result<()> {
    let named = || format!("`{}`", directory.display());
    let mode = std::fs::metadata(directory).with_context(|| format!("{} cannot be read", named()))?.mode();
    if mode & 0o077 != 0 {
        bail!(
            "others can read {} (mode {:o}): `chmod 700` it, or leave `--with-master-key` out",
            named(),
            mode & 0o777
        );
    }
    Ok(())
}

async fn take(
    mut writer: Writer,
    source: &Source,
    settings: &Settings,
    with_tables: bool,
) -> anyhow::Result<Taken> {
    let store = settings.store()?;
    let copy = with_tables || store.url.scheme() == "file";
    for _ in 0..ATTEMPTS_MAX {
        let pinned = source.pin().await?;
        let bar = Bar::new();
        let complete = writer.tables(&store, pinned.versions, copy, &bar).await;
        bar.end();
        if complete? {
            return Ok(writer.finish(&store, &pinned.partition).await?);
        }
        tracing::info!("files were compacted away while they were copied; the rest is looked at again");
    }
    bail!("the tables change faster than they can be copied; run it again, it goes on")
}

async fn add_imports(writer: &mut Writer, data: &Path) -> anyhow::Result<()> {
    let dir = data.join(IMPORTS);
    let listed = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed.with_context(|| format!("`{}` cannot be read", dir.display()))?,
    };
    for entry in listed {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // What is being written has another ending.
        if name.ends_with(".json") {
            writer.add(&format!("{IMPORTS}/{name}"), read(&path)?).await?;
        }
    }
    Ok(())
}

async fn add_control(writer: &mut Writer, sqlite: &Sqlite, data: &Path) -> anyhow::Result<()> {
    let copy = data.join(format!("backup-{}.db", std::process::id()));
    let copied = sqlite.copy_to(&copy).await;
    let content = copied.map_err(anyhow::Error::from).and_then(|()| read(&copy));
    std::fs::remove_file(&copy).with_context(|| format!("`{}` cannot be removed", copy.display()))?;
    Ok(writer.add(CONTROL, content?).await?)
}

async fn add_master_key(writer: &mut Writer, settings: &Settings) -> anyhow::Result<()> {
    if settings.master_key.is_some() {
        bail!(
            "`--with-master-key`: the key is given as FLOWSTATE_MASTER_KEY and in no file; keep it elsewhere"
        );
    }
    let path = delivery::master_key_path(settings);
    Ok(writer.add(MASTER_KEY, read(&path)?).await?)
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    Ok(std::fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))?.into())
}

fn told(taken: &Taken) -> String {
    let Taken { name, events, files, bytes, new_files, new_bytes } = taken;
    let size = |bytes: &u64| indicatif::HumanBytes(*bytes).to_string();
    format!(
        "backup {name}: {events} events in {files} files of {}; {new_files} files of {} were new\n",
        size(bytes),
        size(new_bytes)
    )
}

fn told_pruned(pruned: &Pruned) -> String {
    let Pruned { kept, backups, files, bytes } = pruned;
    let size = indicatif::HumanBytes(*bytes);
    format!(
        "removed {backups} older backups and {files} files of {size} that no backup needs; {kept} remain\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_was_removed() {
        let pruned = Pruned { kept: 3, backups: 2, files: 5, bytes: 4 << 20 };
        let expected = "removed 2 older backups and 5 files of 4.00 MiB that no backup needs; 3 remain\n";
        assert_eq!(told_pruned(&pruned), expected);
    }

    #[test]
    fn it_is_told_what_is_there_and_what_was_copied() {
        let taken = Taken {
            name: "00001".into(),
            events: 7,
            files: 5,
            bytes: 4 << 20,
            new_files: 2,
            new_bytes: 1 << 10,
        };
        let expected = "backup 00001: 7 events in 5 files of 4.00 MiB; 2 files of 1.00 KiB were new\n";
        assert_eq!(told(&taken), expected);
    }
}
