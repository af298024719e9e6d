//! How much of what a source sends wrongly is kept, so that one faulty client cannot fill the disk.

use pipeline::Micros;
use pipeline::clock::HOUR;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The last hour is counted in this many parts.
const PARTS: usize = 12;

/// Bytes kept for each source within the last hour, to five minutes.
pub(crate) struct Quota {
    bytes_max: u64,
    sources: Mutex<HashMap<Arc<str>, Window>>,
}

#[derive(Default)]
struct Window {
    parts: [u64; PARTS],
    /// The number, counted from 1970, of the part that was written last.
    last: i64,
}

impl Quota {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, sources: Mutex::default() }
    }

    /// Takes `bytes` from the quota of `source`; `false` when they are more than is left.
    pub(crate) fn take(&self, source: &Arc<str>, bytes: u64, now: Micros) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if !sources.contains_key(source) {
            sources.insert(Arc::clone(source), Window::default());
        }
        let Some(window) = sources.get_mut(source) else { return false };
        window.move_to(now.div_euclid(HOUR / PARTS as i64));
        let kept: u64 = window.parts.iter().sum();
        if kept.saturating_add(bytes) > self.bytes_max {
            return false;
        }
        window.parts[part(window.last)] += bytes;
        true
    }
}

impl Window {
    /// Forgets the parts that are more than an hour old. A clock that goes back moves nothing.
    fn move_to(&mut self, now: i64) {
        let passed = now.saturating_sub(self.last).clamp(0, PARTS as i64);
        self.last = self.last.max(now);
        for ago in 0..passed {
            self.parts[part(self.last - ago)] = 0;
        }
    }
}

fn part(number: i64) -> usize {
    number.rem_euclid(PARTS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_within_an_hour_is_bounded_for_each_source() {
        let quota = Quota::new(100);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let start = 1_000_000 * HOUR;
        assert!(quota.take(&a, 60, start));
        assert!(!quota.take(&a, 41, start + HOUR / 2));
        assert!(quota.take(&a, 40, start + HOUR / 2));
        assert!(quota.take(&b, 100, start));
        assert!(!quota.take(&a, 1, start + HOUR - 1));
        assert!(quota.take(&a, 60, start + HOUR));
        assert!(!quota.take(&a, 1, start), "a clock that goes back frees nothing");
        assert!(quota.take(&a, 100, start + 100 * HOUR));
    }
}
