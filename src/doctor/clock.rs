//! Whether the clock is right, as far as this can be told.

use super::report::Report;
use pipeline::clock::{DAY, SECOND};
use pipeline::event::format_timestamp;
use pipeline::log::store::Timing;
use pipeline::{Clock, Micros};

const CHECK: &str = "clock";
/// Further off than this the store may refuse signed requests (S3: 15 minutes); we warn far before.
const SKEW_MAX: Micros = 30 * SECOND;
/// This version was made after this: 2026-01-01.
const EARLIEST: Micros = 20_454 * DAY;
/// A clock beyond this is no clock: 2100-01-01.
const LATEST: Micros = 47_482 * DAY;

pub(super) fn look(clock: &Clock, store: Option<&Timing>, report: &mut Report) {
    let now = clock.now();
    let shown = format_timestamp(now);
    let remedy = "set the clock, and let NTP keep it";
    if !(EARLIEST..LATEST).contains(&now) {
        return report.fail(CHECK, format!("it says {shown}, which cannot be"), remedy);
    }
    if let Some(jump) = store.map(|store| store.clock_jump).filter(|jump| jump.abs() > SECOND) {
        let found = format!("it jumped by {:.1} s while the store was measured", jump as f64 / 1e6);
        return report.warn(CHECK, found, "let NTP slew it, and look for a second time service");
    }
    match store.map(|store| store.skew) {
        Some(skew) if skew.abs() > SKEW_MAX => {
            let found = format!("it says {shown}; the store's is {:.0} s away", skew as f64 / 1e6);
            report.warn(CHECK, found, remedy);
        }
        Some(skew) => report.ok(CHECK, format!("{shown}, {:.1} s from the store's", skew.abs() as f64 / 1e6)),
        None => report.ok(CHECK, format!("{shown}; there is no store to compare it with")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_that_cannot_be_and_a_clock_that_is_off_are_told() {
        let text = |now, skew: Option<Micros>| {
            let mut report = Report::default();
            let timing = skew.map(|skew| Timing { skew, ..Timing::default() });
            look(&Clock::given(now), timing.as_ref(), &mut report);
            report.text()
        };
        assert!(text(0, None).contains("FAIL  clock  it says 1970"));
        assert!(text(LATEST, None).starts_with("FAIL"));
        let now = EARLIEST + 300 * DAY;
        assert!(text(now, None).starts_with("ok"));
        assert!(text(now, Some(-2 * SECOND)).contains("2.0 s from the store's"));
        assert!(text(now, Some(-90 * SECOND)).contains("warn  clock"));
    }
}
