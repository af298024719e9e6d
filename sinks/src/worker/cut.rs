//! Cutting a run of events into requests.

use crate::Limits;
use std::ops::Range;

/// Cuts payloads of these sizes, in order, into ranges that each fit one request.
///
/// A payload over its limit gets a range of its own.
pub(super) fn cut(sizes: &[usize], limits: &Limits) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes, mut alone) = (0, 0, false);
    for (index, &size) in sizes.iter().enumerate() {
        let too_large = size > limits.event_bytes_max;
        let full = index - start >= limits.events_max || bytes + size > limits.batch_bytes_max;
        if index > start && (full || alone || too_large) {
            ranges.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
        alone = too_large;
    }
    if start < sizes.len() {
        ranges.push(start..sizes.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_event_is_in_one_request_and_every_request_within_the_limits(
            sizes in proptest::collection::vec(1..60_usize, 0..200),
            events_max in 1..20_usize,
            batch_bytes_max in 50..200_usize,
        ) {
            let limits = Limits { events_max, batch_bytes_max, event_bytes_max: 50 };
            let ranges = cut(&sizes, &limits);
            let all: Vec<usize> = ranges.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            for range in ranges {
                let request = &sizes[range];
                prop_assert!(!request.is_empty() && request.len() <= events_max);
                let too_large = request.iter().any(|size| *size > 50);
                let fits = request.iter().sum::<usize>() <= batch_bytes_max;
                prop_assert!((too_large && request.len() == 1) || (!too_large && fits));
            }
        }
    }

    #[test]
    fn requests_are_filled_before_the_next_is_begun() {
        let limits = Limits { events_max: 3, batch_bytes_max: 10, event_bytes_max: 10 };
        assert_eq!(cut(&[1, 1, 1, 1, 4, 5, 6], &limits), [0..3, 3..6, 6..7]);
    }
}
