//! How full the disk is, and how long an fsync takes.

use super::report::Report;
use crate::settings::Settings;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So many writes are timed, or fewer where they take longer than this together.
const WRITES: usize = 200;
const TIME_MAX: Duration = Duration::from_secs(2);
/// A disk whose fsync takes longer makes every sender wait.
const SLOW: Duration = Duration::from_millis(50);

/// Free bytes on the disk of a path, or of the nearest directory above it that exists.
pub(super) fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let there = existing(path);
    let disk = rustix::fs::statvfs(&there)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

pub(super) async fn look(settings: &Settings, report: &mut Report) {
    let wanted = settings.wal_bytes_max;
    match free_bytes(&settings.data) {
        Ok(free) if free < wanted => report.warn(
            "disk space",
            format!("{} free, less than the write-ahead log may take: {}", shown(free), shown(wanted)),
            "free some, or lower `wal_bytes_max`, so that the log is full before the disk is",
        ),
        Ok(free) => report.ok("disk space", format!("{} free", shown(free))),
        Err(error) => report.fail(
            "disk space",
            format!("it cannot be told: {error}"),
            "let this user read the directory",
        ),
    }
    let dir = existing(&settings.data);
    let timed = tokio::task::spawn_blocking(move || fsyncs(&dir)).await;
    match timed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(mut times) => {
            times.sort_unstable();
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            let (half, most) = (at(0.5), at(0.99));
            let found = format!("p50 {half:.1?}, p99 {most:.1?}, of {} writes of 4 KiB", times.len());
            if most > SLOW {
                report.warn(
                    "fsync",
                    found,
                    "put the data directory on a faster disk: every answer waits for it",
                );
            } else {
                report.ok("fsync", found);
            }
        }
        Err(error) => report.fail(
            "fsync",
            format!("the data directory cannot be written: {error}"),
            "let this user write there",
        ),
    }
}

/// How long each of some small writes takes to be on the disk.
fn fsyncs(dir: &Path) -> std::io::Result<Vec<Duration>> {
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let mut file = File::create_new(&path)?;
    let timed = || -> std::io::Result<Vec<Duration>> {
        // As in the write-ahead log, the file has its size before it is written.
        file.write_all(&[0; 4_096])?;
        file.sync_all()?;
        let (begin, mut times) = (Instant::now(), Vec::with_capacity(WRITES));
        while times.is_empty() || (times.len() < WRITES && begin.elapsed() < TIME_MAX) {
            let start = Instant::now();
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[times.len() as u8; 4_096])?;
            file.sync_data()?;
            times.push(start.elapsed());
        }
        Ok(times)
    };
    let mut timed = timed;
    let times = timed();
    std::fs::remove_file(&path)?;
    times
}

fn existing(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Bytes for people.
pub(super) fn shown(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 30) {
        gib if gib >= 1.0 => format!("{gib:.1} GiB"),
        gib => format!("{:.0} MiB", gib * 1_024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!fsyncs(dir.path()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(free_bytes(&dir.path().join("not/there/yet")).unwrap() > 0);
    }
}
