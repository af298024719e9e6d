//! How far a page looks at once.

use super::{PageOf, Place};
use pipeline::Micros;

/// What is known of a file: its first and last time of receipt, and how many rows lie between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first: Micros,
    pub(crate) last: Micros,
    pub(crate) rows: u64,
}

impl Span {
    /// About how many rows lie in a stretch of time; they are taken to be spread evenly.
    fn rows_in(&self, from: Micros, to: Micros) -> u64 {
        let all = (self.last.saturating_sub(self.first)).saturating_add(1).max(1);
        let shared = self.last.saturating_add(1).min(to).saturating_sub(self.first.max(from)).clamp(0, all);
        u64::try_from(i128::from(self.rows) * i128::from(shared) / i128::from(all)).unwrap_or(u64::MAX)
    }
}

/// A stretch of time, open where it has no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Option<Micros>,
    pub(super) to: Option<Micros>,
}

impl Window {
    /// All that a page may look at.
    pub(super) fn of(of: &PageOf) -> Self {
        let after = of.after.as_ref().map(|after| after.received_at);
        let (from, to) = (of.from, of.to);
        if of.oldest_first {
            Self { from: from.max(after), to }
        } else {
            let before = after.map(|at| at.saturating_add(1));
            Self { from, to: to.into_iter().chain(before).min() }
        }
    }

    /// Its first part, which holds about this many of the rows that lie in files, and what is behind
    /// that. Both together are the whole, so that rows that are in no file yet are in one of them.
    pub(super) fn split(self, spans: &[Span], rows: u64, oldest_first: bool) -> (Self, Option<Self>) {
        let count = |from, to| spans.iter().map(|span| span.rows_in(from, to)).fold(0, u64::saturating_add);
        let first = spans.iter().map(|span| span.first).min().unwrap_or(0);
        let last = spans.iter().map(|span| span.last).max().unwrap_or(0);
        let from = self.from.unwrap_or(Micros::MIN).max(first);
        let to = self.to.unwrap_or(Micros::MAX).min(last.saturating_add(1));
        if to.saturating_sub(from) < 2 || count(from, to) <= rows {
            return (self, None);
        }
        let holds = |cut| if oldest_first { count(from, cut) >= rows } else { count(cut, to) < rows };
        // The first cut of which `holds` is true; it lies within the stretch, so each part has some time.
        let (mut low, mut high) = (from + 1, to - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        let (older, newer) = (Self { to: Some(low), ..self }, Self { from: Some(low), ..self });
        if oldest_first { (older, Some(newer)) } else { (newer, Some(older)) }
    }

    /// The place that it begins at.
    pub(super) fn begin(self, oldest_first: bool) -> Option<Place> {
        let at = if oldest_first { self.from } else { self.to };
        at.map(|received_at| Place { received_at, partition: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: [Span; 2] =
        [Span { first: 1_000, last: 1_999, rows: 1_000 }, Span { first: 2_000, last: 2_999, rows: 1_000 }];
    const ALL: Window = Window { from: None, to: None };

    #[test]
    fn parts_hold_about_what_was_asked_for_and_leave_nothing_out() {
        let (newest, older) = ALL.split(&SPANS, 500, false);
        assert_eq!(newest, Window { from: Some(2_501), to: None });
        assert_eq!(older, Some(Window { from: None, to: Some(2_501) }));
        let (oldest, newer) = ALL.split(&SPANS, 500, true);
        assert_eq!(oldest, Window { from: None, to: Some(1_500) });
        assert_eq!(newer, Some(Window { from: Some(1_500), to: None }));
        assert_eq!(ALL.split(&SPANS, 2_000, false), (ALL, None));
        assert_eq!(ALL.split(&[], 1, false), (ALL, None));
    }

    #[test]
    fn walking_ends_and_covers_everything_once() {
        for oldest_first in [false, true] {
            for rows in [1, 7, 300, 5_000] {
                let (mut rest, mut steps, mut edge) = (Some(ALL), 0, None);
                while let Some(window) = rest {
                    let (part, behind) = window.split(&SPANS, rows, oldest_first);
                    let (near, far) = if oldest_first { (part.from, part.to) } else { (part.to, part.from) };
                    assert_eq!(near, edge, "each part begins where the one before ended");
                    (edge, rest, steps) = (far, behind, steps + 1);
                    assert!(steps <= 2_002);
                }
                assert_eq!(edge, None);
            }
        }
    }

    #[test]
    fn a_page_behind_a_place_begins_there() {
        let after = Some(Place { received_at: 5, partition: "aa".into() });
        let of = PageOf { after, from: Some(1), to: Some(9), ..PageOf::default() };
        assert_eq!(Window::of(&of), Window { from: Some(1), to: Some(6) });
        let of = PageOf { oldest_first: true, ..of };
        assert_eq!(Window::of(&of), Window { from: Some(5), to: Some(9) });
    }
}
