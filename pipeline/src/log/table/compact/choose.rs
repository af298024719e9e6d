//! Which files to compact next.

use super::CompactionPolicy;
use crate::log::table::DataFile;
use std::ops::Range;

/// Adjacent files that are to become one; `None` when all is well.
///
/// `files` are ordered as in a snapshot; days before `today` get no more rows.
pub(super) fn choose(files: &[DataFile], policy: CompactionPolicy, today: i32) -> Option<Range<usize>> {
    let mut start = 0;
    for group in files.chunk_by(|a, b| (&a.partition, a.received_date) == (&b.partition, b.received_date)) {
        let is_over = group[0].received_date < today;
        let run = if is_over { of_a_day_that_is_over(group, policy) } else { of_an_open_day(group, policy) };
        if let Some(run) = run {
            return Some(start + run.start..start + run.end);
        }
        start += group.len();
    }
    None
}

/// The first run of two files or more that fit into one.
fn of_a_day_that_is_over(files: &[DataFile], policy: CompactionPolicy) -> Option<Range<usize>> {
    fitting(files, policy).find(|run| run.len() >= 2)
}

/// The first run, of the smallest files first, with enough files and none as large as all others.
fn of_an_open_day(files: &[DataFile], policy: CompactionPolicy) -> Option<Range<usize>> {
    let mut classes: Vec<u32> = files.iter().map(class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes.into_iter().find_map(|class_max| {
        let mut start = 0;
        files.chunk_by(|a, b| (class(a) <= class_max) == (class(b) <= class_max)).find_map(|group| {
            let first = start;
            start += group.len();
            if class(&group[0]) > class_max {
                return None;
            }
            let run = fitting(group, policy).find(|run| {
                let sizes = group[run.clone()].iter().map(|file| file.bytes);
                let largest = sizes.clone().max().unwrap_or(0);
                run.len() >= policy.files_min.max(2) && 2 * largest <= sizes.sum()
            })?;
            Some(first + run.start..first + run.end)
        })
    })
}

/// The files cut, from the first on, into runs that fit into one file.
fn fitting(files: &[DataFile], policy: CompactionPolicy) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut bytes = files.get(start)?.bytes;
        let mut end = start + 1;
        while end < files.len() && end - start < FILES_MAX && bytes + files[end].bytes <= policy.bytes_max {
            bytes += files[end].bytes;
            end += 1;
        }
        let run = start..end;
        start = end;
        Some(run)
    })
}

/// One compaction takes no more files than this.
const FILES_MAX: usize = 1_000;

/// Files whose sizes differ by less than eight times are of about one size.
fn class(file: &DataFile) -> u32 {
    (file.bytes / 4_096).max(1).ilog2() / 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::PartitionId;
    use proptest::prelude::*;

    fn files(sizes: &[u64]) -> Vec<DataFile> {
        sizes.iter().enumerate().map(|(at, &bytes)| file("a", 10, at as u64, bytes)).collect()
    }

    fn file(partition: &str, received_date: i32, at: u64, bytes: u64) -> DataFile {
        DataFile {
            path: format!("{partition}-{at}"),
            bytes,
            rows: 1,
            received_date,
            partition: PartitionId(partition.into()),
            offsets: (at, at),
            promoted: std::sync::Arc::default(),
            stats: "{}".into(),
        }
    }

    const POLICY: CompactionPolicy =
        CompactionPolicy { files_min: 4, bytes_max: 1_000_000, copied_rows_min: 16_384 };

    #[test]
    fn files_wait_until_there_are_enough_of_one_size() {
        assert_eq!(choose(&files(&[5_000; 3]), POLICY, 10), None);
        assert_eq!(choose(&files(&[5_000; 6]), POLICY, 10), Some(0..6));
        assert_eq!(choose(&files(&[300_000, 5_000, 5_000, 5_000]), POLICY, 10), None);
        assert_eq!(choose(&files(&[300_000, 5_000, 5_000, 5_000, 6_000]), POLICY, 10), Some(1..5));
        assert_eq!(choose(&files(&[200_000, 5_000, 200_000, 5_000, 200_000]), POLICY, 10), Some(0..5));
        assert_eq!(choose(&files(&[600_000; 20]), POLICY, 10), None);
    }

    #[test]
    fn a_day_that_is_over_is_compacted_wholly() {
        assert_eq!(choose(&files(&[300_000, 5_000]), POLICY, 11), Some(0..2));
        assert_eq!(choose(&files(&[900_000, 300_000, 5_000]), POLICY, 11), Some(1..3));
        assert_eq!(choose(&files(&[900_000, 300_000]), POLICY, 11), None);
    }

    #[test]
    fn partitions_and_days_are_kept_apart() {
        let of =
            |partition, date, from: u64| (from..from + 3).map(move |at| file(partition, date, at, 5_000));
        let all: Vec<_> = of("a", 10, 0).chain(of("a", 11, 3)).chain(of("b", 11, 0)).collect();
        assert_eq!(choose(&all, POLICY, 10), None);
        assert_eq!(choose(&all, POLICY, 11), Some(0..3));
    }

    proptest! {
        #[test]
        fn rows_are_rewritten_a_few_times_at_most(sizes in proptest::collection::vec(1_000..60_000_u64, 1..200)) {
            let (mut files, mut written, mut taken) = (Vec::new(), 0, 0);
            for (at, bytes) in sizes.into_iter().enumerate() {
                files.push(file("a", 10, at as u64, bytes));
                taken += bytes;
                while let Some(run) = choose(&files, POLICY, 10) {
                    let bytes = files[run.clone()].iter().map(|file| file.bytes).sum::<u64>();
                    prop_assert!(bytes <= POLICY.bytes_max && run.len() >= 2);
                    written += bytes;
                    let merged = file("a", 10, files[run.start].offsets.0, bytes);
                    files.splice(run, [merged]);
                }
            }
            prop_assert!(written <= 5 * taken, "{written} of {taken}");
            prop_assert!(files.len() as u64 <= 40 + taken / 250_000, "{} files of {taken} bytes", files.len());
        }
    }
}
