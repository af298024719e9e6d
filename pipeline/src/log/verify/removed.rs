//! What a partition's tables list as removed, and whether just that is missing.

use crate::log::table::{Hole, TableKind, TableSnapshot};
use crate::log::{Offset, PartitionId};
use std::ops::Range;
use std::sync::Arc;

/// The holes of one partition in all tables of the log.
#[derive(Default)]
pub(super) struct Removed {
    /// By table, in the order of [`TableKind::ALL`].
    holes: [Vec<Hole>; 3],
    /// Where holes of the tables lie over each other, by offset.
    stretches: Vec<Stretch>,
}

/// Offsets of which some are missing, as holes say.
struct Stretch {
    offsets: Range<Offset>,
    /// How many rows the holes list.
    listed: u64,
    /// How many offsets are missing.
    missing: u64,
}

impl Removed {
    pub(super) fn new(tables: &[Arc<TableSnapshot>], partition: &PartitionId) -> Self {
        let holes: [Vec<Hole>; 3] =
            TableKind::ALL.map(|kind| tables[kind.index()].holes_of(partition).cloned().collect());
        let mut all: Vec<&Hole> = holes.iter().flatten().collect();
        all.sort_by_key(|hole| hole.first);
        let mut stretches: Vec<Stretch> = Vec::new();
        for hole in all {
            match stretches.last_mut() {
                Some(before) if hole.first < before.offsets.end => {
                    before.offsets.end = before.offsets.end.max(hole.last + 1);
                    before.listed += hole.rows;
                }
                _ => stretches.push(Stretch {
                    offsets: hole.first..hole.last + 1,
                    listed: hole.rows,
                    missing: 0,
                }),
            }
        }
        Self { holes, stretches }
    }

    /// Takes note of offsets that are missing, and gives those of them that no hole lists.
    pub(super) fn miss(&mut self, missing: Range<Offset>) -> Vec<Range<Offset>> {
        let (mut unlisted, mut at) = (Vec::new(), missing.start);
        for stretch in &mut self.stretches {
            let from = stretch.offsets.start.max(at);
            let to = stretch.offsets.end.min(missing.end);
            if from >= to {
                continue;
            }
            if at < from {
                unlisted.push(at..from);
            }
            stretch.missing += to - from;
            at = to;
        }
        if at < missing.end {
            unlisted.push(at..missing.end);
        }
        unlisted
    }

    /// Whether rows of this table were removed from these offsets.
    pub(super) fn concerns(&self, kind: TableKind, offsets: &Range<Offset>) -> bool {
        self.holes[kind.index()].iter().any(|hole| hole.first < offsets.end && hole.last >= offsets.start)
    }

    /// Where more or less is missing than is listed.
    pub(super) fn faults(&self) -> Vec<String> {
        let wrong = self.stretches.iter().filter(|stretch| stretch.listed != stretch.missing);
        wrong
            .map(|stretch| {
                format!(
                    "offsets {} to {}: {} rows are listed as removed, and {} are missing",
                    stretch.offsets.start,
                    stretch.offsets.end - 1,
                    stretch.listed,
                    stretch.missing
                )
            })
            .collect()
    }

    /// What was removed, for people; empty where nothing was.
    pub(super) fn detail(&self) -> String {
        let mut detail = String::new();
        for kind in TableKind::ALL {
            for hole in &self.holes[kind.index()] {
                detail += &format!(
                    "; {} removed {} of `{}` at offsets {} to {}",
                    hole.reason.as_str(),
                    hole.rows,
                    kind.name(),
                    hole.first,
                    hole.last
                );
            }
        }
        detail
    }
}
