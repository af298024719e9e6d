//! Who can read the data directory and the master key, and how many files may be open.

use super::report::Report;
use crate::serve::delivery::master_key_path;
use crate::settings::Settings;
use rustix::process::{Resource, getrlimit};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Connections, Parquet files and WAL segments together want this many.
const FILES_WANTED: u64 = 4_096;

pub(super) fn look(settings: &Settings, report: &mut Report) {
    let data = settings.data.display();
    match mode(&settings.data) {
        Ok(None) => report.ok("data directory", format!("`{data}` is not there; the first start makes it")),
        Ok(Some(mode)) if mode & 0o077 == 0 => {
            report.ok("data directory", format!("`{data}` is its owner's alone, mode {mode:04o}"));
        }
        Ok(Some(mode)) => report.warn(
            "data directory",
            format!("`{data}` can be read by others, mode {mode:04o}"),
            format!("chmod 700 {data}"),
        ),
        Err(error) => report.fail("data directory", format!("`{data}`: {error}"), "let this user read it"),
    }
    master_key(settings, report);
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES_WANTED => report.warn(
            "open files",
            format!("{limit} may be open at once"),
            format!("raise the limit to {FILES_WANTED} or more: ulimit -n, LimitNOFILE in systemd"),
        ),
        Some(limit) => report.ok("open files", format!("{limit} may be open at once")),
        None => report.ok("open files", "any number may be open at once"),
    }
}

fn master_key(settings: &Settings, report: &mut Report) {
    if settings.master_key.is_some() {
        return report.ok("master key", "given as FLOWSTATE_MASTER_KEY");
    }
    let path = master_key_path(settings);
    let shown = path.display();
    match mode(&path) {
        Ok(None) if settings.control_path().exists() => report.warn(
            "master key",
            format!("`{shown}` is not there, though a control store is"),
            "restore it from a backup if connections were made; without connections the next start makes one",
        ),
        Ok(None) => report.ok("master key", format!("`{shown}` is not there; the first start makes it")),
        Ok(Some(mode)) if mode & 0o077 == 0 => {
            report.ok("master key", format!("`{shown}` is its owner's alone, mode {mode:04o}; back it up"));
        }
        Ok(Some(mode)) => report.fail(
            "master key",
            format!("`{shown}` can be read by others, mode {mode:04o}"),
            format!("chmod 600 {shown}, then `flowstate keys rotate` if somebody may have read it"),
        ),
        Err(error) => report.fail("master key", format!("`{shown}`: {error}"), "let this user read it"),
    }
}

fn mode(path: &Path) -> std::io::Result<Option<u32>> {
    match std::fs::metadata(path) {
        Ok(data) => Ok(Some(data.permissions().mode() & 0o7777)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
