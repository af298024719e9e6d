//! A torn tail is cut, whatever it looks like; damage to what was durable is told, and told where.

use super::super::scan::segment_name;
use super::super::segment::Found;
use super::*;
use std::ops::Range;

const FIRST: &str = "wal/0000000000000001.wal";

/// A WAL whose process was killed after two groups, and where the second one stands.
fn two_groups(bytes: usize) -> (CrashFs, Vec<GroupData>, Range<usize>) {
    let fs = CrashFs::new(7);
    let (mut wal, _) = open(&fs);
    let first = append(&mut wal, 2, &payload(1, 300)).unwrap();
    let start = wal.position as usize;
    let second = append(&mut wal, 3, &payload(2, bytes)).unwrap();
    drop(wal);
    fs.kill();
    (fs, vec![first, second], start..start + GROUP_HEADER + bytes)
}

/// Every byte of a short group, and some of a long one.
fn positions(group: &Range<usize>) -> impl Iterator<Item = usize> {
    let start = group.start;
    group.clone().filter(move |at| at - start < 120 || at % 61 == 0)
}

fn recovered_after(fs: &CrashFs, damage: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<GroupData>, LogError> {
    let copy = fs.fork();
    copy.damage(Path::new(FIRST), damage);
    let (mut wal, recovered) = Wal::open(copy.clone(), config(Path::new("wal")))?;
    let groups = all(&wal.reader());
    assert_eq!(recovered.end, groups.last().map_or(0, |group| group.end_offset));
    // The log goes on behind what is left, and the tail never comes back.
    let more = append(&mut wal, 1, &payload(3, 100)).unwrap();
    drop(wal);
    copy.crash();
    let (wal, _) = open(&copy);
    assert_eq!(all(&wal.reader()), [&groups[..], &[more]].concat());
    Ok(groups)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    for bytes in [200, 6_000] {
        let (fs, groups, second) = two_groups(bytes);
        for at in positions(&second) {
            let flipped = recovered_after(&fs, |file| file[at] ^= 0x10).unwrap();
            assert_eq!(flipped, groups[..1], "byte {at} flipped");
            let mut same = false;
            let zeroed = recovered_after(&fs, |file| {
                same = file[at..second.end].iter().all(|&byte| byte == 0);
                file[at..second.end].fill(0);
            });
            assert_eq!(zeroed.unwrap(), groups[..if same { 2 } else { 1 }], "zeros from byte {at} on");
            let truncated = recovered_after(&fs, |file| file.truncate(at)).unwrap();
            assert_eq!(truncated, groups[..if same { 2 } else { 1 }], "nothing from byte {at} on");
        }
    }
}

#[test]
fn a_torn_tail_is_reported() {
    let (fs, _, second) = two_groups(200);
    for at in [second.start + 20, second.end - 1] {
        let copy = fs.fork();
        copy.damage(Path::new(FIRST), |file| file[at] ^= 1);
        let found = inspect(copy.clone(), Path::new("wal")).unwrap().expect("there is a WAL");
        let torn = Torn { segment: 1, position: second.start as u64, bytes: BLOCK };
        // The byte at 20 belongs to the segment's number, without which it is no header at all.
        let expected = (at == second.end - 1).then_some(torn);
        assert_eq!((found.torn, found.damage.len()), (expected, 0));
        assert_eq!(open(&copy).1.torn, expected);
        assert_eq!(open(&copy).1.torn, None, "it was cut");
    }
}

/// Who wrote something behind the second group, so that it must have been durable.
fn proofs() -> [fn(&mut Wal); 3] {
    [
        |wal| drop(append(wal, 1, &payload(3, 100)).unwrap()),
        |wal| wal.confirm().unwrap(),
        |wal| {
            while wal.active.header.number == 1 {
                append(wal, 1, &payload(3, 9_000)).unwrap();
            }
        },
    ]
}

#[test]
fn damage_at_any_byte_of_a_durable_group_is_an_error() {
    for proof in proofs() {
        let (fs, _, second) = two_groups(6_000);
        let (mut wal, _) = open(&fs);
        proof(&mut wal);
        drop(wal);
        for at in positions(&second) {
            let flipped = recovered_after(&fs, |file| file[at] ^= 0x10);
            let Err(LogError::Damaged(message)) = flipped else { panic!("byte {at} flipped: {flipped:?}") };
            let place = format!("segment 1, byte {}", second.start);
            assert!(message.contains(&place) && message.contains("offset 2 to 5"), "{message}");
        }
    }
}

#[test]
fn the_last_group_of_a_closed_wal_is_known_to_be_durable() {
    let (fs, _, second) = two_groups(200);
    open(&fs).0.close().unwrap();
    let damaged = recovered_after(&fs, |file| file[second.end - 1] ^= 1);
    assert!(matches!(damaged, Err(LogError::Damaged(_))), "{damaged:?}");
}

#[test]
fn everything_that_is_damaged_is_named_and_the_rest_is_read() {
    let fs = CrashFs::new(7);
    let (mut wal, _) = open(&fs);
    for number in 0..47 {
        append(&mut wal, 1, &payload(number, 3_000)).unwrap();
    }
    let sound = inspect(fs.clone(), Path::new("wal")).unwrap().expect("there is a WAL");
    assert_eq!(sound.damage, []);
    assert_eq!(sound.segments.iter().map(|segment| segment.groups).sum::<u64>(), 47);
    drop(wal);
    let flip = |number, at: u64| {
        fs.damage(&Path::new("wal").join(segment_name(number)), |bytes| bytes[at as usize] ^= 1)
    };
    flip(2, 3 * BLOCK + 100);
    flip(4, 2 * BLOCK + 5);
    flip(6, 10);
    fs.forget(&Path::new("wal").join(segment_name(7)));
    let found = inspect(fs.clone(), Path::new("wal")).unwrap().expect("there is a WAL");
    let places: Vec<_> = found.damage.iter().map(|damage| (damage.segment, damage.position)).collect();
    assert_eq!(places, [(2, 3 * BLOCK), (4, 2 * BLOCK), (6, 0), (7, 0)]);
    let first = sound.segments[1].first_offset + 2;
    let damage = found.damage[0];
    assert_eq!((damage.first_offset, damage.end_offset), (first, Some(first + 1)));
    assert!(matches!(Wal::open(fs.clone(), config(Path::new("wal"))), Err(LogError::Damaged(_))));
    assert!(matches!(read_only(fs, Path::new("wal")), Err(LogError::Damaged(_))));
}

#[test]
fn missing_files_are_damage() {
    for name in ["partition", "0000000000000001.wal"] {
        let (fs, ..) = two_groups(200);
        fs.forget(&Path::new("wal").join(name));
        let damaged = Wal::open(fs, config(Path::new("wal"))).err();
        assert!(matches!(damaged, Some(LogError::Damaged(_))), "{name}: {damaged:?}");
    }
}

#[test]
fn a_reader_tells_damage_from_a_file_that_was_recycled() {
    let (fs, ..) = two_groups(200);
    let reader = open(&fs).0.reader();
    fs.damage(Path::new(FIRST), |file| file[BLOCK as usize + 100] ^= 1);
    assert!(matches!(reader.read_from(0, 1), Err(LogError::Damaged(_))));
    let segment = Arc::clone(&reader.segments()[0]);
    let next = SegmentHeader { number: 9, ..segment.header.clone() };
    fs.damage(Path::new(FIRST), |file| file[..BLOCK as usize].copy_from_slice(&next.encode()));
    assert_eq!(reader.read_from(0, 1).unwrap(), None);
    assert!(matches!(segment.read(BLOCK, &mut Vec::new()).unwrap(), Found::Broken(_)));
}
