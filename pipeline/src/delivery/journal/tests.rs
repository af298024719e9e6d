//! What the journal promises, on a file system in memory and on the machine's own.

mod crashes;
mod damage;

use super::layout::BLOCK;
use super::*;
use crate::delivery::testing::record;
use crate::log::wal::crash_fs::{CrashFs, Fault};
use crate::log::wal::fs::RealFs;
use futures::future::join_all;
use std::path::Path;

const SEGMENT_BYTES: u64 = 4 * BLOCK;

fn config(known: u64) -> JournalConfig {
    JournalConfig { dir: "deliveries".into(), segment_bytes: SEGMENT_BYTES, known }
}

async fn open(fs: &CrashFs, known: u64) -> Result<Journal, JournalError> {
    Journal::open(fs.clone(), config(known)).await
}

/// Records told apart by the numbers from `first` on.
fn records(first: u64, count: u64) -> Vec<Record> {
    (first..first + count).map(record).collect()
}

/// All that is held, which must be numbered without a gap.
fn all(journal: &Journal) -> Vec<Record> {
    let mut reader = journal.reader(journal.first());
    let mut records = Vec::new();
    while let Some(group) = reader.next_group().unwrap() {
        for (sequence, record) in group {
            assert_eq!(sequence, journal.first() + records.len() as u64);
            records.push(record);
        }
    }
    assert_eq!(journal.first() + records.len() as u64, journal.last() + 1);
    records
}

fn names(fs: &CrashFs) -> Vec<String> {
    let mut names = fs.list(Path::new("deliveries")).unwrap();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn records_are_read_back_from_the_disk_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let config = |known| JournalConfig {
        dir: dir.path().join("not/yet/there"),
        segment_bytes: JournalConfig::SEGMENT_BYTES,
        known,
    };
    let journal = Journal::open(RealFs, config(0)).await.unwrap();
    assert_eq!((journal.first(), journal.last(), all(&journal)), (1, 0, vec![]));
    let appended = join_all((0..50).map(|number| journal.append(records(3 * number, 3)))).await;
    let appended: Vec<u64> = appended.into_iter().map(|last| last.unwrap()).collect();
    assert_eq!(appended, (1..=50).map(|number| 3 * number).collect::<Vec<_>>());
    assert_eq!(journal.append(Vec::new()).await.unwrap(), 150);
    assert_eq!(all(&journal), records(0, 150));
    let second = Journal::open(RealFs, config(0)).await.map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
    journal.close().await.unwrap();
    assert!(matches!(journal.append(records(1, 1)).await, Err(JournalError::Failed(_))));

    let journal = Journal::open(RealFs, config(150)).await.unwrap();
    assert_eq!(journal.append(records(150, 1)).await.unwrap(), 151);
    assert_eq!(all(&journal), records(0, 151));
}

#[tokio::test]
async fn appends_that_wait_share_one_write() {
    let fs = CrashFs::new(0);
    let journal = open(&fs, 0).await.unwrap();
    let before = fs.bytes() as u64;
    let appended = join_all((0..20).map(|number| journal.append(records(number, 1)))).await;
    assert!(appended.into_iter().map(|last| last.unwrap()).eq(1..=20));
    assert_eq!(fs.bytes() as u64, before + BLOCK, "one group has all of them");
}

#[tokio::test]
async fn a_reader_begins_where_it_is_told_and_sees_what_was_durable_then() {
    let fs = CrashFs::new(0);
    let journal = open(&fs, 0).await.unwrap();
    for number in 0..10 {
        journal.append(records(4 * number, 4)).await.unwrap();
    }
    for from in 1..=41 {
        let mut reader = journal.reader(from);
        let first = reader.next_group().unwrap().and_then(|group| group.into_iter().next());
        assert_eq!(first, (from <= 40).then(|| (from, record(from - 1))));
    }
    let mut reader = journal.reader(38);
    journal.append(records(40, 1)).await.unwrap();
    assert_eq!(reader.last(), 40);
    assert_eq!(reader.next_group().unwrap().unwrap().len(), 3);
    assert!(reader.next_group().unwrap().is_none());
}

#[tokio::test]
async fn segments_that_nobody_needs_are_removed_and_no_other_record_is() {
    let fs = CrashFs::new(0);
    let journal = open(&fs, 0).await.unwrap();
    for number in 0..30 {
        journal.append(records(number, 1)).await.unwrap();
    }
    assert_eq!(names(&fs).len(), 10, "three groups fit into a segment");
    let mut reader = journal.reader(1);
    for below in 0..=31 {
        journal.release(below).await.unwrap();
        assert!(journal.first() <= below.max(1), "{} of {below}", journal.first());
        assert!(journal.first() + 3 > below.min(28), "{} of {below}", journal.first());
        assert_eq!(all(&journal), records(journal.first() - 1, 31 - journal.first()));
    }
    assert_eq!(names(&fs), ["0000000000000010.journal"]);
    assert!(matches!(journal.reader(5).next_group(), Err(JournalError::Damaged(_))));
    let mut read = Vec::new();
    while let Some(group) = reader.next_group().unwrap() {
        read.extend(group.into_iter().map(|(_, record)| record));
    }
    assert_eq!(read, records(0, 30), "a reader keeps what it began with");
    journal.close().await.unwrap();
    assert_eq!(all(&open(&fs, 30).await.unwrap()), records(27, 3));
}

#[tokio::test]
async fn after_a_failed_write_or_fsync_nothing_more_is_taken() {
    for operation in 0..2 {
        let fs = CrashFs::new(u64::from(operation));
        let journal = open(&fs, 0).await.unwrap();
        journal.append(records(0, 2)).await.unwrap();
        fs.inject(operation, Fault::Error);
        assert!(matches!(journal.append(records(2, 1)).await, Err(JournalError::Failed(_))));
        assert!(matches!(journal.append(records(3, 1)).await, Err(JournalError::Failed(_))));
        assert!(matches!(journal.release(1).await, Err(JournalError::Failed(_))));
        assert!(matches!(journal.usable(), Err(JournalError::Failed(_))));
        assert_eq!(all(&journal), records(0, 2), "readers still see what is durable");
        assert!(matches!(journal.close().await, Err(JournalError::Failed(_))));
    }
}

#[tokio::test]
async fn records_that_only_the_page_cache_held_are_durable_once_they_were_recovered() {
    for seed in 0..50 {
        let fs = CrashFs::new(seed);
        let journal = open(&fs, 0).await.unwrap();
        journal.append(records(0, 1)).await.unwrap();
        fs.inject(1, Fault::Error);
        journal.append(records(1, 1)).await.unwrap_err();
        fs.kill();
        assert_eq!(open(&fs, 1).await.unwrap().last(), 2, "the next process still sees it");
        fs.crash();
        assert_eq!(all(&open(&fs, 2).await.unwrap()), records(0, 2), "seed {seed}");
    }
}

#[tokio::test]
async fn an_append_that_is_too_large_is_refused_and_nothing_of_it_is_kept() {
    let fs = CrashFs::new(0);
    let journal = open(&fs, 0).await.unwrap();
    let large = Record { sent: Some("x".repeat(APPEND_BYTES_MAX)), ..record(1) };
    let refused = journal.append(vec![record(0), large]).await;
    assert!(matches!(refused, Err(JournalError::TooLarge { .. })));
    assert_eq!(journal.append(records(0, 1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_journal_that_ends_before_what_was_known_is_damaged_and_one_that_is_gone_is_begun_behind_it() {
    let fs = CrashFs::new(0);
    let journal = open(&fs, 7).await.unwrap();
    assert_eq!(journal.append(records(0, 2)).await.unwrap(), 9);
    journal.close().await.unwrap();
    assert!(matches!(open(&fs, 10).await.map(|_| ()), Err(JournalError::Damaged(_))));
    fs.kill();
    assert_eq!(open(&fs, 9).await.unwrap().last(), 9);
}
