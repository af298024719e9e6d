use super::super::{Progress, Taken, Writer, hash};
use super::*;
use crate::log::store::StoreConfig;
use crate::log::tests::config;
use crate::log::{Log, LogConfig, PartitionId};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Long ago, so that what the file system writes now is young unless a test makes it old.
const NOW: Micros = 1_700_000_000 * SECOND;

struct Quiet;

impl Progress for Quiet {
    fn expect(&self, _: u64) {}
    fn done(&self, _: u64) {}
}

/// A log without events, and a place for backups of it.
struct Fixture {
    dir: tempfile::TempDir,
    clock: Clock,
    log: LogConfig,
    partition: PartitionId,
    versions: [u64; 3],
}

impl Fixture {
    async fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::given(NOW));
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let log = config(&dir.path().join("data"));
        let opened = Log::open(log.clone(), clock.clone()).await.unwrap();
        let (partition, versions) = (opened.partition().clone(), opened.pin().await.unwrap());
        opened.close().await.unwrap();
        Self { dir, clock, log, partition, versions }
    }

    fn place(&self) -> StoreConfig {
        url::Url::from_directory_path(self.dir.path().join("place")).unwrap().into()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("place").join(below)
    }

    async fn begin(&self) -> Writer {
        // Names follow the order in which backups are begun.
        self.clock.advance(SECOND);
        Writer::begin(&self.place(), &self.clock).await.unwrap()
    }

    /// A backup of files with these contents, up to its end.
    async fn copy(&self, contents: &[&str]) -> Writer {
        let mut writer = self.begin().await;
        for content in contents {
            writer.add(&format!("imports/{content}.json"), text(content)).await.unwrap();
        }
        assert!(writer.tables(&self.log.store, self.versions, false, &Quiet).await.unwrap());
        writer
    }

    async fn finish(&self, writer: Writer) -> Result<Taken, LogError> {
        writer.finish(&self.log.store, &self.partition).await
    }

    async fn back_up(&self, contents: &[&str]) -> Taken {
        let writer = self.copy(contents).await;
        self.finish(writer).await.unwrap()
    }

    async fn prune(&self, keep: usize) -> Result<Pruned, LogError> {
        let backups = Backups::open(&self.place()).await.unwrap();
        backups.prune(NonZeroUsize::new(keep).unwrap(), &self.clock).await
    }

    async fn file(&self, content: &str) -> PathBuf {
        self.path(FILES).join(hash(text(content)).await.unwrap())
    }

    fn make_old(&self, path: &Path, age: Micros) {
        let written_at = Duration::from_micros(u64::try_from(self.clock.now() - age).unwrap());
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + written_at).unwrap();
    }

    fn make_all_old(&self, age: Micros) {
        for entry in std::fs::read_dir(self.path(FILES)).unwrap() {
            self.make_old(&entry.unwrap().path(), age);
        }
    }

    /// Which of the contents are there.
    async fn held<'a>(&self, contents: &[&'a str]) -> Vec<&'a str> {
        let mut held = Vec::new();
        for content in contents {
            if self.file(content).await.exists() {
                held.push(*content);
            }
        }
        held
    }
}

fn text(content: &str) -> Bytes {
    Bytes::copy_from_slice(content.as_bytes())
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_oldest_backups_go_with_the_files_that_only_they_used() {
    let fixture = Fixture::new().await;
    let all = ["every", "one", "two", "three", "four"];
    for &content in &all[1..] {
        fixture.back_up(&["every", content]).await;
    }
    fixture.make_all_old(DAY + HOUR);
    let pruned = fixture.prune(2).await.unwrap();
    assert_eq!(pruned, Pruned { kept: 2, backups: 2, files: 2, bytes: 6 });
    assert_eq!(fixture.held(&all).await, ["every", "three", "four"]);
    let backups = Backups::open(&fixture.place()).await.unwrap();
    let names = backups.names().await.unwrap();
    assert_eq!(names.len(), 2);
    for name in names {
        backups.check(&backups.manifest(&name).await.unwrap()).await.unwrap();
    }
    assert_eq!(fixture.prune(2).await.unwrap(), Pruned { kept: 2, ..Pruned::default() });
    assert_eq!((entries(&fixture.path(PENDING)), entries(&fixture.path(PRUNING))), (0, 0));
}

#[tokio::test]
async fn a_young_file_stays_for_a_backup_under_way_and_goes_with_a_later_pruning() {
    let fixture = Fixture::new().await;
    fixture.back_up(&["one"]).await;
    // This one is broken off.
    drop(fixture.copy(&["orphan"]).await);
    fixture.back_up(&["two"]).await;
    fixture.make_all_old(DAY - SECOND);
    let expected = Pruned { kept: 1, backups: 1, files: 0, bytes: 0 };
    assert_eq!(fixture.prune(1).await.unwrap(), expected);
    assert_eq!(fixture.held(&["one", "orphan", "two"]).await, ["one", "orphan", "two"]);
    fixture.clock.advance(2 * SECOND);
    let expected = Pruned { kept: 1, backups: 0, files: 2, bytes: 9 };
    assert_eq!(fixture.prune(1).await.unwrap(), expected);
    assert_eq!(fixture.held(&["one", "orphan", "two"]).await, ["two"]);
}

#[tokio::test]
async fn what_a_pending_backup_names_stays_for_a_day() {
    let fixture = Fixture::new().await;
    let taken = fixture.back_up(&["one"]).await;
    let name = format!("{}.json", taken.name);
    let pending = fixture.path(PENDING).join(&name);
    std::fs::create_dir_all(fixture.path(PENDING)).unwrap();
    std::fs::rename(fixture.path(MANIFESTS).join(&name), &pending).unwrap();
    fixture.back_up(&["two"]).await;
    fixture.make_all_old(2 * DAY);
    fixture.make_old(&pending, DAY - SECOND);
    assert_eq!(fixture.prune(1).await.unwrap().files, 0);
    fixture.clock.advance(2 * SECOND);
    assert_eq!(fixture.prune(1).await.unwrap().files, 1);
    assert!(!pending.exists());
    assert_eq!(fixture.held(&["one", "two"]).await, ["two"]);
}

#[tokio::test]
async fn only_what_is_young_or_of_the_newest_backup_is_not_written_anew() {
    let fixture = Fixture::new().await;
    fixture.back_up(&["older"]).await;
    fixture.back_up(&["newest"]).await;
    fixture.make_all_old(FRESH - HOUR);
    assert_eq!(fixture.back_up(&["older"]).await.new_files, 0);
    fixture.back_up(&["newest"]).await;
    fixture.make_all_old(FRESH + HOUR);
    assert_eq!(fixture.back_up(&["older", "newest"]).await.new_files, 1);
    // It is young again.
    let path = fixture.file("older").await;
    let since = path.metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert!(since.as_micros() > NOW as u128);
}

#[tokio::test]
async fn a_backup_waits_for_a_pruning_and_is_none_when_that_takes_a_file_of_it() {
    let fixture = Fixture::new().await;
    let writer = fixture.copy(&["one"]).await;
    std::fs::create_dir_all(fixture.path(PRUNING)).unwrap();
    let announced = fixture.path(PRUNING).join("another");
    std::fs::write(&announced, "pruning").unwrap();
    let file = fixture.file("one").await;
    let pruning = async {
        while entries(&fixture.path(PENDING)) == 0 {
            tokio::task::yield_now().await;
        }
        // It had read what is pending before.
        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(&announced).unwrap();
    };
    let (finished, ()) = tokio::join!(fixture.finish(writer), pruning);
    let error = finished.unwrap_err().to_string();
    assert!(error.contains("run it again") && error.contains("imports/one.json"), "{error}");
    assert_eq!(entries(&fixture.path(MANIFESTS)), 0);
    assert_eq!(fixture.back_up(&["one"]).await.new_files, 1);
}

#[tokio::test]
async fn nothing_goes_while_a_backup_that_would_stay_is_damaged() {
    let fixture = Fixture::new().await;
    fixture.back_up(&["one"]).await;
    let newest = fixture.back_up(&["two"]).await;
    fixture.make_all_old(2 * DAY);
    std::fs::write(fixture.path(MANIFESTS).join(format!("{}.json", newest.name)), "{").unwrap();
    let error = fixture.prune(1).await.unwrap_err();
    assert!(matches!(error, LogError::Damaged(_)), "{error}");
    assert_eq!(fixture.held(&["one", "two"]).await, ["one", "two"]);
    assert_eq!((entries(&fixture.path(MANIFESTS)), entries(&fixture.path(PRUNING))), (2, 0));
}
