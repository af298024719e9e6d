//! `flowstate restore`: makes a data directory from a backup.

use crate::backup::{Bar, CONTROL, IMPORTS, MASTER_KEY};
use crate::cli::RestoreArgs;
use crate::output::print;
use crate::serve::{delivery, log_config, make_data_directory};
use crate::settings::Settings;
use anyhow::{Context, bail};
use pipeline::Clock;
use pipeline::event::format_timestamp;
use pipeline::log::backup::{Backups, Forked, Manifest, Progress, fork};
use pipeline::log::{self, LogError};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where everything is put together, in the data directory, before it takes its place.
const RESTORING: &str = "restoring";

pub(crate) async fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let clock = Clock::system();
    let backups = Backups::open_read_only(&settings.place(&args.source)?)?;
    let manifest = find(&backups, &args).await?;
    backups.check(&manifest).await?;
    refuse_what_is_there(&settings)?;
    if !manifest.has_tables {
        check_store(&settings, &manifest, args.now, &clock).await?;
    }
    let staging = settings.data.join(RESTORING);
    let forked = put_together(&settings, &staging, &backups, &manifest, &clock).await?;
    move_in(&settings, &staging)?;
    print(told(&settings, &manifest, &forked))?;
    crate::verify::check(&settings).await
}

/// A server must not start on what a restore has not finished.
pub(crate) fn refuse_unfinished(data: &Path) -> anyhow::Result<()> {
    if data.join(RESTORING).exists() {
        bail!("a restore to `{}` was broken off: run `flowstate restore` again", data.display());
    }
    Ok(())
}

async fn find(backups: &Backups, args: &RestoreArgs) -> anyhow::Result<Manifest> {
    let names = backups.names().await?;
    let Some(newest) = names.last() else {
        bail!("there is no complete backup in `{}`; one that was broken off is none", args.source);
    };
    let name = args.at.as_ref().unwrap_or(newest);
    if !names.contains(name) {
        bail!("there is no backup `{name}` in `{}`; there are: {}", args.source, names.join(", "));
    }
    Ok(backups.manifest(name).await?)
}

/// The data directory must be empty, but for what an earlier restore had begun.
fn refuse_what_is_there(settings: &Settings) -> anyhow::Result<()> {
    let data = &settings.data;
    match std::fs::read_dir(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", data.display())),
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                if name != RESTORING {
                    bail!(
                        "the data directory `{}` is not empty (`{}`): name a new one with --data",
                        data.display(),
                        name.display()
                    );
                }
            }
        }
    }
    let control = settings.control_path();
    if control.exists() {
        bail!("there is a control store already: `{}`", control.display());
    }
    Ok(())
}

/// Tables that are not in the backup must be where the settings say, and their server gone.
async fn check_store(
    settings: &Settings,
    manifest: &Manifest,
    now: bool,
    clock: &Clock,
) -> anyhow::Result<()> {
    if settings.store.is_none() {
        bail!("the tables are not in this backup, they were in `{}`: name that with --store", manifest.store);
    }
    let store = settings.store()?;
    let partitions = log::partitions(&store).await?;
    let old = partitions.iter().find(|report| *report.partition.0 == *manifest.partition);
    let Some(old) = old.filter(|old| old.committed >= end(manifest)) else {
        bail!("`{}` does not hold the tables of this backup, which were in `{}`", store.url, manifest.store);
    };
    if crate::adopt::seems_to_live(old, clock) && !now {
        bail!(
            "the server that was backed up wrote to its store within the last minute, so it seems to live; with \
             `--now` its partition is taken from it all the same"
        );
    }
    Ok(())
}

/// The offset behind the last request of the node.
fn end(manifest: &Manifest) -> log::Offset {
    manifest.ends.get(&manifest.partition).copied().unwrap_or(0)
}

async fn put_together(
    settings: &Settings,
    staging: &Path,
    backups: &Backups,
    manifest: &Manifest,
    clock: &Clock,
) -> anyhow::Result<Forked> {
    make_data_directory(staging)?;
    clear(staging).with_context(|| format!("`{}` cannot be cleared", staging.display()))?;
    let staged = Settings { data: staging.to_owned(), ..settings.clone() };
    let store = staged.store()?;
    let bar = Bar::new();
    bar.expect(manifest.files.iter().map(|file| file.bytes).sum());
    for entry in manifest.files.iter().filter(|entry| !entry.path.starts_with("tables/")) {
        let path = place(staging, &entry.path)?;
        write(&path, &backups.read(entry).await?)?;
        bar.done(entry.bytes);
    }
    if manifest.has_tables {
        backups.restore_tables(manifest, &store, &bar).await?;
    }
    bar.end();
    Ok(fork(&log_config(&staged)?, manifest, clock).await?)
}

/// Removes what a restore left that was broken off, but for its WAL: its partition may have claimed deliveries.
fn clear(staging: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(staging)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == "wal" => {}
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Where a file belongs that is of no table.
fn place(staging: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let import = path.strip_prefix(IMPORTS).and_then(|name| name.strip_prefix('/'));
    let is_plain = |name: &str| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    if [CONTROL, MASTER_KEY].contains(&path) || import.is_some_and(is_plain) {
        return Ok(staging.join(path));
    }
    Err(LogError::Damaged(format!("`{path}` of the backup is of no kind that is known")).into())
}

/// Writes a file that only its owner can read.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    written().with_context(|| format!("`{}` cannot be written", path.display()))
}

/// Puts everything in its place; the control store last, without which there is no server.
fn move_in(settings: &Settings, staging: &Path) -> anyhow::Result<()> {
    let control = staging.join(CONTROL);
    let moved = || -> anyhow::Result<()> {
        for entry in std::fs::read_dir(staging)? {
            let path = entry?.path();
            if path != control
                && let Some(name) = path.file_name()
            {
                File::open(&path)?.sync_all()?;
                std::fs::rename(&path, settings.data.join(name))?;
            }
        }
        match &settings.control {
            None => std::fs::rename(&control, settings.control_path())?,
            // It may lie on another disk.
            Some(elsewhere) => {
                write(elsewhere, &std::fs::read(&control)?)?;
                std::fs::remove_file(&control)?;
            }
        }
        std::fs::remove_dir(staging)?;
        Ok(File::open(&settings.data)?.sync_all()?)
    };
    moved().with_context(|| format!("`{}` cannot be filled; empty it and try again", settings.data.display()))
}

fn told(settings: &Settings, manifest: &Manifest, forked: &Forked) -> String {
    let Forked { partition, deliverer } = forked;
    let (old, taken_at) = (&manifest.partition, format_timestamp(manifest.taken_at));
    let mut lines = format!(
        "restored the backup of {taken_at}: {} events; partition {old} ends at offset {}, {partition} begins\n",
        manifest.events,
        end(manifest)
    );
    if deliverer != partition {
        lines += &format!(
            "partition {old} was taken over before: the server of partition {deliverer} delivers what is left of it\n"
        );
    }
    let has_key = manifest.files.iter().any(|file| file.path == MASTER_KEY);
    if !has_key && settings.master_key.is_none() {
        lines += &format!(
            "the master key is not in the backup: put it at `{}` before the start, or give it as \
             FLOWSTATE_MASTER_KEY\n",
            delivery::master_key_path(settings).display()
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_backup_have_their_places_and_no_others() {
        let staging = Path::new("/data/restoring");
        for path in ["control.db", "master.key", "imports/a.json"] {
            assert_eq!(place(staging, path).unwrap(), staging.join(path));
        }
        for path in ["", "other", "imports/", "imports/../control.db", "imports/a/b", "../x", "/etc/passwd"] {
            assert!(place(staging, path).is_err(), "{path}");
        }
    }
}
