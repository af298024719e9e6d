//! Finds the chain of runs that the last process left.

use super::run::{Run, RunFile};
use super::runs::List;
use super::writer::sync_dir;
use super::{Counters, Offset};
use crate::log::LogError;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The runs of the chain that begins at offset 0 and ends at or below `end`; all else is deleted.
///
/// The names alone tell: of two runs that begin at the same offset the longer one was merged from
/// the shorter one and others, which a crash kept from being deleted. The chain ends before what
/// is damaged or missing, as the runs behind it would hide that something is missing.
///
/// # Errors
/// [`LogError::Store`] when the directory cannot be made, read or cleaned.
pub(super) fn recover(dir: &Path, end: Offset, counters: &Arc<Counters>) -> Result<List, LogError> {
    let failed = |what: &str, path: &Path, e: std::io::Error| {
        LogError::store(format!("{what} `{}` of the deduplication index", path.display()), e)
    };
    fs::create_dir_all(dir).map_err(|e| failed("making the directory", dir, e))?;
    let mut runs: Vec<(Range<Offset>, PathBuf)> = Vec::new();
    let mut unwanted = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| failed("reading the directory", dir, e))? {
        let path = entry.map_err(|e| failed("reading the directory", dir, e))?.path();
        match offsets(&path) {
            Some(offsets) => runs.push((offsets, path)),
            None if path.extension().is_some_and(|ending| ending == "tmp" || ending == "damaged") => {
                unwanted.push(path);
            }
            None => {}
        }
    }
    runs.sort_by_key(|(offsets, _)| (offsets.start, std::cmp::Reverse(offsets.end)));
    let mut list = List::new();
    let mut covered = 0;
    let mut lost = false;
    for (offsets, path) in runs {
        let run = if offsets.start == covered && offsets.end > covered {
            open(&path, &offsets, end, counters)
        } else {
            // Either merged into what is there, or behind a gap.
            lost |= offsets.start > covered;
            None
        };
        match run {
            Some(run) => {
                covered = offsets.end;
                list.push(Arc::new(run));
            }
            None => {
                lost |= offsets.end > covered;
                unwanted.push(path);
            }
        }
    }
    if lost {
        tracing::warn!(
            covered,
            dir = %dir.display(),
            "part of the deduplication index is unusable; the log replays the ids from offset {covered} on"
        );
    }
    // Marks go last: a damaged run must not come back when this is interrupted.
    unwanted.sort_by_key(|path| path.extension().is_some_and(|ending| ending == "damaged"));
    for path in &unwanted {
        fs::remove_file(path).map_err(|e| failed("deleting", path, e))?;
    }
    sync_dir(dir)?;
    Ok(list)
}

fn open(path: &Path, offsets: &Range<Offset>, end: Offset, counters: &Arc<Counters>) -> Option<Run> {
    if RunFile::mark(path).exists() {
        tracing::warn!(path = %path.display(), "a run of the deduplication index was found damaged");
        return None;
    }
    if offsets.end > end {
        tracing::warn!(path = %path.display(), end, "a run of the deduplication index reaches beyond the log");
        return None;
    }
    // A damaged page shows now, while the log can still replay.
    let run = Run::open(path, Arc::clone(counters)).and_then(|run| run.check_pages().map(|()| run));
    match run {
        Ok(run) if run.file.footer.offsets == *offsets => Some(run),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "a run of the deduplication index bears a wrong name");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "a run of the deduplication index is damaged");
            None
        }
    }
}

/// The offsets in the name of a run.
fn offsets(path: &Path) -> Option<Range<Offset>> {
    let (start, end) = path.file_name()?.to_str()?.strip_suffix(".run")?.split_once('-')?;
    Some(start.parse().ok()?..end.parse().ok()?)
}
