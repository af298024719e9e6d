//! What is damaged is never passed over, and what was only begun is no damage.

use super::*;

const LAST: &str = "deliveries/0000000000000003.journal";

/// Segments 1 to 3; the last one has the records 7 to 9 in two groups.
async fn three_segments() -> CrashFs {
    let fs = CrashFs::new(3);
    let journal = open(&fs, 0).await.unwrap();
    for number in 0..8 {
        journal.append(records(number, 1 + u64::from(number == 7))).await.unwrap();
    }
    assert_eq!((names(&fs).len(), journal.last()), (3, 9));
    journal.close().await.unwrap();
    fs
}

/// What one record takes within its group.
fn record_bytes(number: u64) -> usize {
    let mut bytes = Vec::new();
    layout::put_record(&record(number), &mut bytes);
    bytes.len()
}

#[tokio::test]
async fn any_damaged_byte_of_what_is_known_to_be_durable_is_an_error() {
    let fs = three_segments().await;
    let mut refused = 0;
    for name in names(&fs) {
        let path = Path::new("deliveries").join(&name);
        let length = fs.open(&path, crate::log::wal::fs::Access::Read).unwrap().bytes().unwrap();
        for position in (0..length).filter(|position| position % BLOCK < 250) {
            let fs = fs.fork();
            fs.damage(&path, |bytes| bytes[position as usize] ^= 0x10);
            match open(&fs, 9).await {
                Ok(journal) => assert_eq!(all(&journal), records(0, 9), "{name}, byte {position}"),
                Err(JournalError::Damaged(_)) => refused += 1,
                Err(other) => panic!("{name}, byte {position}: {other}"),
            }
        }
    }
    let bytes: usize = (0..9).map(record_bytes).sum();
    assert_eq!(refused, 3 * 52 + 8 * layout::GROUP_HEADER + bytes, "all but the padding");
}

#[tokio::test]
async fn damage_before_a_later_group_is_an_error_though_nothing_else_knows_of_it() {
    let fs = three_segments().await;
    for (number, block) in [(1, 1), (1, 3), (2, 2), (3, 0), (3, 1)] {
        let fs = fs.fork();
        let path = format!("deliveries/{}", file_name(number));
        fs.damage(Path::new(&path), |bytes| bytes[(block * BLOCK) as usize + 9] ^= 1);
        let opened = open(&fs, 0).await.map(|_| ());
        assert!(
            matches!(opened, Err(JournalError::Damaged(_))),
            "segment {number}, block {block}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn every_prefix_of_the_last_segment_holds_its_whole_groups() {
    let fs = three_segments().await;
    let mut ends = [0; 3];
    for length in (BLOCK..=3 * BLOCK).filter(|length| length % BLOCK < 400 || length % 97 == 0) {
        let fs = fs.fork();
        fs.damage(Path::new(LAST), |bytes| bytes.truncate(length as usize));
        let journal = open(&fs, 0).await.unwrap_or_else(|error| panic!("{length} bytes: {error}"));
        let end = journal.last();
        assert_eq!(all(&journal), records(0, end));
        ends[match end {
            6 => 0,
            7 => 1,
            9 => 2,
            _ => panic!("{length} bytes hold a part of a group: {end}"),
        }] += 1;
        // What was cut is not seen again, and its numbers are given anew.
        assert_eq!(journal.append(records(end, 1)).await.unwrap(), end + 1);
        journal.close().await.unwrap();
        assert_eq!(all(&open(&fs, end + 1).await.unwrap()), records(0, end + 1));
    }
    assert!(ends.iter().all(|&seen| seen > 10), "{ends:?}");
}

#[tokio::test]
async fn a_missing_segment_is_an_error() {
    let fs = three_segments().await;
    for (number, is_damage) in [(1, false), (2, true)] {
        let fs = fs.fork();
        fs.forget(Path::new(&format!("deliveries/{}", file_name(number))));
        let opened = open(&fs, 9).await;
        assert_eq!(matches!(opened, Err(JournalError::Damaged(_))), is_damage);
    }
    fs.forget(Path::new(LAST));
    assert!(matches!(open(&fs, 9).await, Err(JournalError::Damaged(_))));
}

#[tokio::test]
async fn an_answer_that_looks_like_a_group_does_not_stop_recovery() {
    let fs = CrashFs::new(5);
    let journal = open(&fs, 0).await.unwrap();
    journal.append(records(0, 1)).await.unwrap();
    let torn = Record { answered: Some("x".repeat(5_000)), ..record(1) };
    journal.append(vec![torn]).await.unwrap();
    journal.close().await.unwrap();
    fs.damage(Path::new("deliveries/0000000000000001.journal"), |bytes| {
        let torn = 2 * BLOCK as usize;
        bytes[torn + 40] ^= 1;
        // A header of a later group in all but the salt, where groups begin.
        let header = layout::GroupHeader { bytes: 4, records: 1, crc: 0, first: 3 };
        header.encode(0, &mut bytes[torn + BLOCK as usize..]);
    });
    assert_eq!(open(&fs, 1).await.unwrap().last(), 1);
}
