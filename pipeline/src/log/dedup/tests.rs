mod model;

use super::run::{Cursor, Run, RunFile};
use super::*;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempDir;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const WEEK_US: Micros = 7 * crate::clock::DAY;

fn config(dir: &Path) -> DedupConfig {
    DedupConfig::new(dir.join("dedup"), WEEK, 4 << 20)
}

fn find(dedup: &Dedup, source: &str, id: &str, now: Micros) -> Option<Offset> {
    dedup.find(IdHash::of(source, id), source, id, now).unwrap().map(|seen| seen.offset)
}

/// Inserts `id` as the next event and calls it durable.
fn add(dedup: &mut Dedup, source: &str, id: &str, received_at: Micros) -> Offset {
    let offset = dedup.durable;
    dedup.insert(IdHash::of(source, id), source, id, offset, received_at);
    dedup.durable(offset + 1).unwrap();
    offset
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir.join("dedup")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_window_ends_to_the_microsecond() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    add(&mut dedup, "web", "a", 1_000);
    for _ in ["in memory", "in a run"] {
        assert_eq!(find(&dedup, "web", "a", 1_000 + WEEK_US), Some(0));
        assert_eq!(find(&dedup, "web", "a", 1_001 + WEEK_US), None);
        dedup.spill().unwrap();
        dedup.settle().unwrap();
    }
    let again = add(&mut dedup, "web", "a", 1_001 + WEEK_US);
    assert_eq!(find(&dedup, "web", "a", 2_000 + WEEK_US), Some(again));
    // A clock that goes back does not bring back what had left the window.
    add(&mut dedup, "web", "b", 3 * WEEK_US);
    assert_eq!(find(&dedup, "web", "a", 2_000 + WEEK_US), None);
}

#[test]
fn sources_do_not_share_ids() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    let hash = IdHash(7);
    let keys = [("web", "a"), ("app", "a"), ("we", "ba"), ("webb", "a"), ("web", "aa"), ("", "weba")];
    for (offset, (source, id)) in (0..).zip(keys) {
        assert_eq!(dedup.find(hash, source, id, 0).unwrap(), None);
        dedup.insert(hash, source, id, offset, offset as i64);
    }
    dedup.durable(keys.len() as u64).unwrap();
    dedup.spill().unwrap();
    dedup.settle().unwrap();
    for (offset, (source, id)) in (0..).zip(keys) {
        let seen = dedup.find(hash, source, id, 0).unwrap();
        assert_eq!(seen, Some(Seen { offset, received_at: offset as i64 }));
    }
    assert_eq!(dedup.find(hash, "web", "b", 0).unwrap(), None);
}

#[test]
fn ids_of_every_length_and_script_are_kept_over_merges_and_restarts() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.shape = Shape { memtable_ids: 30, segment_ids: 8, block_ids: 3, fanout: 2 };
    let mut dedup = Dedup::open(config.clone(), 0).unwrap();
    let long = "x".repeat(20_000);
    let mut ids: Vec<String> = (0..=100).map(|n| "é".repeat(n / 2) + &"a".repeat(n % 2)).collect();
    ids.extend((1..=100).map(|n| "z".repeat(n)));
    ids.extend(["日本語", "😀😀", "\0", "a\0b", " ", &long].map(String::from));
    ids.sort();
    ids.dedup();
    for (id, at) in ids.iter().zip(0..) {
        add(&mut dedup, "källa", id, at);
    }
    dedup.settle().unwrap();
    let end = dedup.durable;
    for _ in ["open", "reopened"] {
        for (id, offset) in ids.iter().zip(0..) {
            assert_eq!(find(&dedup, "källa", id, 0), Some(offset), "{id}");
            assert_eq!(find(&dedup, "källa", &format!("{id}-"), 0), None, "{id}");
        }
        dedup.close().unwrap();
        dedup = Dedup::open(config.clone(), end).unwrap();
        assert_eq!(dedup.covered(), end);
    }
}

#[test]
fn ids_that_are_not_durable_do_not_survive() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    add(&mut dedup, "web", "durable", 1);
    dedup.insert(IdHash::of("web", "lost"), "web", "lost", 1, 2);
    dedup.spill().unwrap();
    dedup.settle().unwrap();
    assert_eq!(dedup.covered(), 0, "a memtable with an id that is not durable must wait");
    dedup.close().unwrap();
    assert_eq!(Dedup::open(config(dir.path()), 1).unwrap().covered(), 0);
    assert_eq!(files(dir.path()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn runs_beyond_the_end_of_the_log_are_dropped() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    for (n, id) in ["a", "b", "c"].iter().enumerate() {
        add(&mut dedup, "web", id, n as i64);
        dedup.spill().unwrap();
    }
    dedup.close().unwrap();
    let dedup = Dedup::open(config(dir.path()), 2).unwrap();
    assert_eq!(dedup.covered(), 2);
    assert_eq!(find(&dedup, "web", "b", 0), Some(1));
    assert_eq!(find(&dedup, "web", "c", 0), None);
}

#[test]
fn a_repeated_insert_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    add(&mut dedup, "web", "a", 1);
    add(&mut dedup, "web", "a", 10);
    for _ in ["in memory", "in a run"] {
        for (offset, received_at) in [(0, 1), (1, 10), (0, 1)] {
            dedup.insert(IdHash::of("web", "a"), "web", "a", offset, received_at);
        }
        let seen = dedup.find(IdHash::of("web", "a"), "web", "a", 10).unwrap();
        assert_eq!(seen, Some(Seen { offset: 1, received_at: 10 }));
        dedup.spill().unwrap();
        dedup.settle().unwrap();
    }
    let lookup = dedup.lookup();
    let found = std::thread::spawn(move || lookup.find(IdHash::of("web", "a"), "web", "a")).join().unwrap();
    assert_eq!(found.unwrap().map(|seen| seen.offset), Some(1));
    assert_eq!(dedup.stats().ids, 1);
}

#[test]
fn damage_at_any_byte_of_a_run_is_noticed() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    dedup.fill("web", 130).unwrap();
    dedup.close().unwrap();
    let path = files(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let read = || -> Result<u64, LogError> {
        let run = Run::open(&path, Arc::default())?;
        run.check_pages()?;
        let mut cursor = Cursor::new(Arc::clone(&run.file))?;
        let mut ids = 0;
        while cursor.entry().is_some() {
            ids += 1;
            cursor.step()?;
        }
        Ok(ids)
    };
    assert_eq!(read().unwrap(), 130);
    // Of the filter, every 31st byte must do.
    let blocks = bytes.len() - 4096 - 16 * 3 - 4 - 16 - 72;
    let positions = (0..blocks).chain((blocks..blocks + 4096).step_by(31)).chain(blocks + 4096..bytes.len());
    let file = fs::File::options().write(true).open(&path).unwrap();
    for position in positions {
        file.write_all_at(&[bytes[position] ^ (1 << (position % 8))], position as u64).unwrap();
        assert!(read().is_err(), "byte {position} of {}", bytes.len());
        file.write_all_at(&[bytes[position]], position as u64).unwrap();
    }
    assert_eq!(read().unwrap(), 130);
    for length in (0..bytes.len() as u64).rev().step_by(53) {
        file.set_len(length).unwrap();
        assert!(read().is_err(), "{length} bytes of {}", bytes.len());
    }
}

#[test]
fn a_disk_that_fails_for_a_while_loses_no_id() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.shape.memtable_ids = 10;
    let mut dedup = Dedup::open(config.clone(), 0).unwrap();
    fs::remove_dir(&config.dir).unwrap();
    let mut failures = 0;
    for n in 0..50_u64 {
        let id = n.to_string();
        dedup.insert(IdHash::of("web", &id), "web", &id, n, n as i64);
        failures += u64::from(dedup.durable(n + 1).is_err());
    }
    assert!(failures > 0, "beyond what may wait, a failure must show");
    assert_eq!(dedup.covered(), 0);
    for n in 0..50 {
        assert_eq!(find(&dedup, "web", &n.to_string(), 0), Some(n));
    }
    fs::create_dir(&config.dir).unwrap();
    // A try that had begun before may still fail.
    while dedup.durable(50).is_err() || dedup.spill().is_err() || dedup.settle().is_err() {}
    assert_eq!(dedup.covered(), 50);
    for n in 0..50 {
        assert_eq!(find(&dedup, "web", &n.to_string(), 0), Some(n));
    }
}

#[test]
fn a_damaged_run_is_dropped_with_all_later_ones_and_can_be_replayed() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    for (n, id) in ["a", "b", "c"].iter().enumerate() {
        add(&mut dedup, "web", id, n as i64);
        dedup.spill().unwrap();
    }
    dedup.close().unwrap();
    let second = files(dir.path())[1].clone();
    let mut bytes = fs::read(&second).unwrap();
    bytes[3] ^= 1;
    fs::write(&second, bytes).unwrap();
    let dedup = Dedup::open(config(dir.path()), 3).unwrap();
    assert_eq!(find(&dedup, "web", "a", 0), Some(0));
    let error = dedup.find(IdHash::of("web", "b"), "web", "b", 0).unwrap_err();
    assert!(matches!(error, LogError::Damaged(_)), "{error}");
    drop(dedup);
    let mut dedup = Dedup::open(config(dir.path()), 3).unwrap();
    assert_eq!(dedup.covered(), 1);
    assert_eq!(find(&dedup, "web", "c", 0), None, "what is behind the damage is replayed");
    for (n, id) in ["b", "c"].iter().enumerate() {
        dedup.insert(IdHash::of("web", id), "web", id, 1 + n as u64, 1 + n as i64);
    }
    dedup.durable(3).unwrap();
    dedup.close().unwrap();
    let dedup = Dedup::open(config(dir.path()), 3).unwrap();
    assert_eq!(dedup.covered(), 3);
    assert_eq!(["a", "b", "c"].map(|id| find(&dedup, "web", id, 0)), [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_missing_run_or_directory_moves_covered_back() {
    for (gone, covered) in [(vec![0], 0), (vec![1], 1), (vec![2], 2), (vec![0, 1, 2], 0)] {
        let dir = TempDir::new().unwrap();
        let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
        for (n, id) in ["a", "b", "c"].iter().enumerate() {
            add(&mut dedup, "web", id, n as i64);
            dedup.spill().unwrap();
        }
        dedup.close().unwrap();
        let files = files(dir.path());
        for n in &gone {
            fs::remove_file(&files[*n]).unwrap();
        }
        if gone.len() == files.len() {
            fs::remove_dir(dir.path().join("dedup")).unwrap();
        }
        assert_eq!(Dedup::open(config(dir.path()), 3).unwrap().covered(), covered, "{gone:?}");
    }
}

#[test]
fn what_a_crash_leaves_of_a_spill_or_a_merge_does_no_harm() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.shape.fanout = 3;
    let mut dedup = Dedup::open(config.clone(), 0).unwrap();
    let mut kept = Vec::new();
    for (n, id) in ["a", "b", "c"].iter().enumerate() {
        add(&mut dedup, "web", id, n as i64);
        dedup.spill().unwrap();
        if n < 2 {
            dedup.settle().unwrap();
            let path = files(dir.path()).pop().unwrap();
            kept.push((fs::read(&path).unwrap(), path));
        }
    }
    dedup.settle().unwrap();
    dedup.close().unwrap();
    let merged = files(dir.path());
    assert_eq!(merged.len(), 1);
    // The merge's inputs were not deleted yet, and the next run has not got its name yet.
    for (bytes, path) in kept {
        fs::write(path, bytes).unwrap();
    }
    let half = fs::read(&merged[0]).unwrap();
    fs::write(merged[0].with_file_name("3-4.tmp"), &half[..half.len() / 2]).unwrap();
    let dedup = Dedup::open(config, 3).unwrap();
    assert_eq!(files(dir.path()), merged);
    assert_eq!(["a", "b", "c"].map(|id| find(&dedup, "web", id, 0)), [Some(0), Some(1), Some(2)]);
}

#[test]
fn what_left_the_window_leaves_the_disk() {
    let dir = TempDir::new().unwrap();
    let mut dedup = Dedup::open(config(dir.path()), 0).unwrap();
    dedup.fill("web", 300).unwrap();
    let mark = RunFile::mark(&files(dir.path())[0]);
    add(&mut dedup, "web", "a", 3 * WEEK_US);
    dedup.spill().unwrap();
    dedup.settle().unwrap();
    let (expired, last) = (files(dir.path())[0].clone(), files(dir.path())[1].clone());
    assert!(fs::metadata(expired).unwrap().len() < 100, "an empty run keeps the chain whole");
    assert!(!mark.exists());
    assert_eq!(dedup.stats().ids, 1);
    dedup.close().unwrap();
    let dedup = Dedup::open(config(dir.path()), 301).unwrap();
    assert_eq!((dedup.covered(), find(&dedup, "web", "a", 0)), (301, Some(300)));
    assert!(last.exists());
}

#[test]
fn memory_stays_within_the_budget_and_answers_stay_exact() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.memory_bytes_max = 256 << 10;
    let mut dedup = Dedup::open(config.clone(), 0).unwrap();
    let mut most = 0;
    for _ in 0..8 {
        dedup.fill("web", 2_000).unwrap();
        most = most.max(dedup.stats().memory_bytes);
    }
    let end = dedup.covered();
    dedup.close().unwrap();
    // Half the memory: most filters do not fit any more.
    config.memory_bytes_max = 64 << 10;
    let dedup = Dedup::open(config, end).unwrap();
    let memory = dedup.stats().memory_bytes;
    assert!(most <= 256 << 10 && memory <= 64 << 10, "{most}, then {memory}");
    for n in (0..end).step_by(7) {
        assert_eq!(find(&dedup, "web", &format!("fill-{n:031x}"), 0), Some(n));
        assert_eq!(find(&dedup, "app", &format!("fill-{n:031x}"), 0), None);
    }
    assert!(dedup.stats().disk_reads > end / 7, "some pages must have been read from disk");
}

#[test]
fn absent_ids_read_the_disk_once_in_a_hundred_times_at_most() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.shape = Shape { memtable_ids: 2_500, fanout: 16, ..Shape::default() };
    let mut dedup = Dedup::open(config, 0).unwrap();
    dedup.fill("web", 20_000).unwrap();
    let before = dedup.stats();
    assert_eq!(before.runs, 8);
    for n in 0..100_000_u64 {
        let hash =
            IdHash(n.wrapping_mul(0x9E6C_63D0_876A_68E5).rotate_left(31).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        assert_eq!(dedup.find(hash, "web", "absent", 0).unwrap(), None);
    }
    let reads = dedup.stats().disk_reads - before.disk_reads;
    assert!(reads <= 1_000, "{reads}");
}

#[test]
fn runs_stay_few() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.shape = Shape { memtable_ids: 100, fanout: 4, ..Shape::default() };
    let mut dedup = Dedup::open(config, 0).unwrap();
    for _ in 0..40 {
        dedup.fill("web", 100).unwrap();
    }
    // At most three of each tier: 1, 4, 16 memtables.
    let runs = dedup.stats().runs;
    assert!(runs <= 9, "{runs}");
    for n in 0..4_000 {
        assert_eq!(find(&dedup, "web", &format!("fill-{n:031x}"), 0), Some(n));
    }
}
