//! What the WAL promises, on a file system in memory and on the machine's own.

mod crashes;
mod damage;

use super::crash_fs::{CrashFs, Fault};
use super::fs::RealFs;
use super::layout::{BLOCK, GROUP_HEADER, SegmentHeader};
use super::*;
use crate::log::LogError;
use std::path::Path;
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 32 << 10;

fn config(dir: &Path) -> WalConfig {
    WalConfig { dir: dir.to_owned(), segment_bytes: SEGMENT_BYTES, bytes_max: 8 * SEGMENT_BYTES }
}

fn open(fs: &CrashFs) -> (Wal, Recovered) {
    Wal::open(fs.clone(), config(Path::new("wal"))).unwrap()
}

/// Bytes that tell one payload from another.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (number.wrapping_mul(0x9E37_79B9) + at * 7 + (at >> 8)) as u8).collect()
}

/// Appends a group of `records` records behind the last one.
fn append(wal: &mut Wal, records: u64, payload: &[u8]) -> Result<GroupData, WalError> {
    let (first_offset, end_offset) = (wal.end(), wal.end() + records);
    let last_received_at = 1_000 + end_offset as Micros;
    wal.append(&Group { first_offset, end_offset, last_received_at, payload })?;
    let payload = payload.to_vec().into();
    Ok(GroupData { first_offset, end_offset, last_received_at, payload })
}

fn all(reader: &WalReader) -> Vec<GroupData> {
    let (mut groups, mut next) = (Vec::new(), reader.first_offset());
    while let Some(more) = reader.read_from(next, 10_000).unwrap() {
        let Some(last) = more.last() else { break };
        next = last.end_offset;
        groups.extend(more);
    }
    groups
}

#[test]
fn groups_are_read_back_from_the_disk_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/there");
    let (mut wal, recovered) = Wal::open(RealFs, config(&dir)).unwrap();
    assert_eq!((recovered.first_offset, recovered.end, recovered.torn), (0, 0, None));
    let sizes = [1, 4_024, 4_025, 20_000, 100_000, 0, 9_000];
    let groups: Vec<_> = (1..)
        .zip(sizes)
        .map(|(number, bytes)| append(&mut wal, number, &payload(number, bytes)).unwrap())
        .collect();
    assert_eq!(all(&wal.reader()), groups);
    wal.close().unwrap();

    let held = read_only(RealFs, &dir).unwrap().expect("nobody holds it");
    assert_eq!((held.first_offset, held.end, &held.partition), (0, 28, &recovered.partition));
    assert_eq!(all(&held.reader), groups);
    drop(held);
    let (wal, again) = Wal::open(RealFs, config(&dir)).unwrap();
    assert_eq!((again.partition, again.end, again.last_received_at), (recovered.partition, 28, 1_028));
    assert_eq!(all(&wal.reader()), groups);
}

#[test]
fn a_second_process_is_refused_and_readers_do_not_stand_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(RealFs, config(dir.path())).unwrap();
    let second = Wal::open(RealFs, config(dir.path())).err();
    assert!(matches!(second, Some(LogError::InUse(held)) if held == dir.path()));
    assert!(read_only(RealFs, dir.path()).unwrap().is_none());
    assert!(inspect(RealFs, dir.path()).unwrap().expect("there is a WAL").in_use);
    drop(wal);
    assert!(!inspect(RealFs, dir.path()).unwrap().expect("there is a WAL").in_use);
    Wal::open(RealFs, config(dir.path())).unwrap();
    assert!(read_only(RealFs, &dir.path().join("nothing")).unwrap().is_none());
}

#[test]
fn a_read_begins_with_the_group_that_holds_the_offset_and_stops_at_its_limit() {
    let fs = CrashFs::new(0);
    let (mut wal, _) = open(&fs);
    let groups: Vec<_> =
        (0..40).map(|number| append(&mut wal, 3, &payload(number, 3_000)).unwrap()).collect();
    let reader = wal.reader();
    for offset in 0..120 {
        let group = offset as usize / 3;
        assert_eq!(reader.read_from(offset, 1).unwrap().unwrap(), groups[group..=group]);
        let more = reader.read_from(offset, 9_000).unwrap().unwrap();
        assert_eq!(more, groups[group..(group + 3).min(40)], "offset {offset}");
    }
    assert_eq!(reader.read_from(120, 1).unwrap(), Some(Vec::new()));
    assert_eq!(reader.end(), 120);
}

#[test]
fn released_segments_are_used_again_and_their_groups_never_seen_again() {
    let fs = CrashFs::new(0);
    let (mut wal, _) = open(&fs);
    let mut used = 0;
    for number in 0..400 {
        let group = append(&mut wal, 1, &payload(number, 3_000)).unwrap();
        wal.release(group.end_offset).unwrap();
        used = used.max(fs.bytes() as u64);
        assert_eq!(all(&wal.reader()).last(), Some(&group));
    }
    assert!(used <= 5 * SEGMENT_BYTES, "{used}");
    assert!(wal.first_offset() > 390);
    assert_eq!(wal.reader().read_from(0, 1).unwrap(), None);
    let held = all(&wal.reader());
    wal.close().unwrap();
    let (wal, recovered) = open(&fs);
    assert_eq!((recovered.end, recovered.torn), (400, None));
    assert_eq!(all(&wal.reader()), held);
}

#[test]
fn a_segment_that_is_being_read_is_not_recycled() {
    let fs = CrashFs::new(0);
    let (mut wal, _) = open(&fs);
    append(&mut wal, 1, &payload(0, 3_000)).unwrap();
    let reading = Arc::clone(&wal.index.lock().segments[0].segment);
    for number in 1..100 {
        let group = append(&mut wal, 1, &payload(number, 3_000)).unwrap();
        wal.release(group.end_offset).unwrap();
    }
    let mut bytes = Vec::new();
    assert!(matches!(reading.read(BLOCK, &mut bytes).unwrap(), segment::Found::Group(_)));
    assert_eq!(bytes[GROUP_HEADER..], payload(0, 3_000));
}

#[test]
fn a_full_wal_refuses_and_goes_on_when_segments_are_released() {
    let fs = CrashFs::new(0);
    let (mut wal, _) = open(&fs);
    let full = (0..).find_map(|number| append(&mut wal, 1, &payload(number, 9_000)).err()).unwrap();
    assert!(matches!(full, WalError::Full { used, max, disk_full: false } if used == max), "{full}");
    let end = wal.end();
    wal.release(end / 2).unwrap();
    append(&mut wal, 1, &payload(end, 9_000)).unwrap();
    assert!(wal.first_offset() > 0 && wal.first_offset() <= end / 2);
}

#[test]
fn a_full_disk_refuses_cleanly_and_the_next_append_works_when_it_has_room() {
    let fs = CrashFs::new(0);
    let (mut wal, _) = open(&fs);
    for spare in [0, 1, 5_000, SEGMENT_BYTES as usize - 1] {
        fs.limit(Some(fs.bytes() + spare));
        let full = (0..).find_map(|number| append(&mut wal, 1, &payload(number, 9_000)).err()).unwrap();
        assert!(matches!(full, WalError::Full { disk_full: true, .. }), "{full}");
        assert!(append(&mut wal, 1, &payload(0, 9_000)).is_err(), "it is still full");
        let before = all(&wal.reader());
        // A process that starts on a full disk goes on where the last one was.
        let copy = fs.fork();
        let (again, recovered) = open(&copy);
        assert_eq!((recovered.end, recovered.torn), (wal.end(), None));
        assert_eq!(all(&again.reader()), before);

        fs.limit(None);
        let group = append(&mut wal, 1, &payload(0, 9_000)).unwrap();
        assert_eq!(all(&wal.reader()), [before, vec![group]].concat());
    }
}

#[test]
fn after_a_failed_write_or_fsync_nothing_more_is_taken() {
    for operation in 0..2 {
        let fs = CrashFs::new(u64::from(operation));
        let (mut wal, _) = open(&fs);
        let group = append(&mut wal, 1, &payload(0, 5_000)).unwrap();
        fs.inject(operation, Fault::Error);
        assert!(matches!(append(&mut wal, 1, &payload(1, 5_000)), Err(WalError::Failed(_))));
        assert!(matches!(append(&mut wal, 1, &payload(2, 5_000)), Err(WalError::Failed(_))));
        assert!(matches!(wal.confirm(), Err(WalError::Failed(_))));
        assert!(matches!(wal.release(1), Err(WalError::Failed(_))));
        assert_eq!(all(&wal.reader()), [group], "readers still see what is durable");
        assert!(matches!(wal.close(), Err(WalError::Failed(_))));
    }
}

#[test]
fn a_group_that_only_the_page_cache_held_is_durable_once_it_was_recovered() {
    for seed in 0..50 {
        let fs = CrashFs::new(seed);
        let (mut wal, _) = open(&fs);
        let first = append(&mut wal, 1, &payload(0, 5_000)).unwrap();
        fs.inject(1, Fault::Error);
        append(&mut wal, 1, &payload(1, 5_000)).unwrap_err();
        fs.kill();
        let (wal, recovered) = open(&fs);
        assert_eq!(recovered.end, 2, "the next process still sees it");
        drop(wal);
        fs.crash();
        let (wal, recovered) = open(&fs);
        assert_eq!(recovered.end, 2, "seed {seed}");
        assert_eq!(all(&wal.reader())[0], first);
    }
}

#[test]
fn groups_that_can_never_fit_or_do_not_follow_are_refused() {
    let fs = CrashFs::new(0);
    let (mut wal, _) = open(&fs);
    let max = wal.group_bytes_max() as usize;
    let refused = append(&mut wal, 1, &vec![0; max + 1]).unwrap_err();
    assert!(matches!(refused, WalError::TooLarge { .. }), "{refused}");
    for number in 0..4 {
        let group = append(&mut wal, 1, &payload(number, max)).unwrap();
        wal.release(group.end_offset).unwrap();
    }
    let mut out_of_order = |first_offset, end_offset| {
        let group = Group { first_offset, end_offset, last_received_at: 1, payload: b"x" };
        matches!(wal.append(&group), Err(WalError::OutOfOrder { .. }))
    };
    assert!(out_of_order(3, 4) && out_of_order(5, 6) && out_of_order(4, 4));
    append(&mut wal, 1, b"x").unwrap();
}

#[test]
fn a_configuration_out_of_range_and_an_unknown_format_are_refused() {
    let mut small = config(Path::new("wal"));
    small.bytes_max = SEGMENT_BYTES;
    assert!(matches!(Wal::open(CrashFs::new(0), small), Err(LogError::Store { .. })));
    let fs = CrashFs::new(0);
    drop(open(&fs));
    fs.damage(Path::new("wal/partition"), |bytes| *bytes = b"flowstate wal 2\n0123456789abcdef\n".to_vec());
    let refused = Wal::open(fs, config(Path::new("wal"))).err().expect("an unknown format");
    assert!(matches!(refused, LogError::Store { .. }), "{refused}");
}
