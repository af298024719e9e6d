//! What the journal has to keep, because a lane's checkpoint does not hold it yet.

use crate::delivery::LaneId;
use crate::delivery::lane_store::LaneSummary;
use std::collections::{HashMap, VecDeque};

/// The records that were read, in parts that follow each other.
///
/// A lane that has nothing to do saves nothing, and must not keep the journal from being released: a
/// part is needed until each lane has folded in its own last record of that part. Records of lanes
/// that the store does not know are needed by nobody.
#[derive(Default)]
pub(super) struct Needed {
    parts: VecDeque<Part>,
    below: u64,
}

/// Some records: the number behind the last one, and each lane's own last one.
struct Part {
    end: u64,
    lanes: HashMap<LaneId, u64>,
}

impl Needed {
    /// Notes the records that follow those noted before.
    pub(super) fn note(&mut self, end: u64, lanes: HashMap<LaneId, u64>) {
        self.parts.push_back(Part { end, lanes });
    }

    /// Whether anything that was noted is still needed.
    pub(super) fn is_any(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The number below which no record is needed, with the lanes where they stand now.
    pub(super) fn below(&mut self, lanes: &[LaneSummary]) -> u64 {
        let folded: HashMap<&LaneId, u64> = lanes.iter().map(|lane| (&lane.lane, lane.journal)).collect();
        let is_folded =
            |(lane, last): (&LaneId, &u64)| folded.get(lane).is_none_or(|journal| journal >= last);
        while let Some(part) = self.parts.pop_front_if(|part| part.lanes.iter().all(is_folded)) {
            self.below = part.end;
        }
        self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::testing::lane;

    fn at(positions: &[(&str, u64)]) -> Vec<LaneSummary> {
        let summary = |&(destination, journal): &(&str, u64)| LaneSummary {
            lane: lane(destination),
            cursor: 0,
            journal,
        };
        positions.iter().map(summary).collect()
    }

    fn noted(parts: &[(u64, &[(&str, u64)])]) -> Needed {
        let mut needed = Needed::default();
        for (end, lanes) in parts {
            needed.note(*end, lanes.iter().map(|(destination, last)| (lane(destination), *last)).collect());
        }
        needed
    }

    #[test]
    fn a_record_is_needed_until_its_own_lane_has_folded_it_in() {
        let mut needed = noted(&[(11, &[("a", 9), ("b", 10)]), (21, &[("a", 20)])]);
        assert_eq!(needed.below(&at(&[("a", 20), ("b", 9)])), 0);
        assert_eq!(needed.below(&at(&[("a", 9), ("b", 10)])), 11);
        assert_eq!(needed.below(&at(&[("a", 19), ("b", 10)])), 11);
        assert!(needed.is_any());
        assert_eq!(needed.below(&at(&[("a", 20), ("b", 10)])), 21, "`b` has nothing there");
        assert!(!needed.is_any());
    }

    #[test]
    fn lanes_that_are_idle_or_forgotten_keep_nothing() {
        let mut needed = noted(&[(11, &[("gone", 10)]), (21, &[("a", 20)])]);
        assert_eq!(needed.below(&at(&[("idle", 0), ("a", 0)])), 11);
        assert_eq!(needed.below(&at(&[("idle", 0)])), 21);
    }
}
