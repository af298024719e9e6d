//! When an event happened: the client's clock, corrected by what we know of it.

use super::{Event, Flags};
use crate::Micros;
use crate::clock::{DAY, SECOND};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use std::ops::Range;

/// A client whose clock is further off than this (30 days) is not corrected.
pub const SKEW_MAX: Micros = 30 * DAY;

/// A timestamp further ahead of its receipt than this (24 hours) is not believed.
pub const FUTURE_MAX: Micros = DAY;

impl Event<'_> {
    /// When the event happened, and what had to be assumed.
    ///
    /// `received_at − (sent_at − original_timestamp)`, as Segment computes it (Spec, "Timestamps").
    /// Without `sent_at`, or with a clock more than [`SKEW_MAX`] off, the client's own timestamp
    /// stands. More than [`FUTURE_MAX`] after `received_at` it becomes `received_at`.
    ///
    /// The timestamp of an imported event stands too: the files are history, whose `sent_at` says nothing
    /// about a clock now, and other systems have corrected it already. So does that of an admitted one,
    /// which was corrected by the time at which it first came.
    pub fn timestamp(&self, received_at: Micros) -> (Micros, Flags) {
        let Some(original) = self.original_timestamp else {
            return (received_at, Flags::default());
        };
        let stands = self.flags.contains(Flags::IMPORTED) || self.flags.contains(Flags::ADMITTED);
        let (timestamp, mut flags) = match self.sent_at {
            _ if stands => (original, Flags::default()),
            None => (original, Flags::NO_SENT_AT),
            Some(sent_at) => {
                let skew = received_at.saturating_sub(sent_at);
                if skew.saturating_abs() > SKEW_MAX {
                    (original, Flags::CLOCK_SKEW)
                } else {
                    (original.saturating_add(skew), Flags::default())
                }
            }
        };
        if timestamp.saturating_sub(received_at) > FUTURE_MAX {
            flags.insert(Flags::FUTURE_TIMESTAMP);
            return (received_at, flags);
        }
        (timestamp, flags)
    }
}

/// Reads an ISO 8601 time (`2026-01-15T11:00:00.000Z`, with any offset; without one it is UTC; a
/// date alone is its midnight). `None` when it is no time between the years 1 and 9999.
pub fn parse_timestamp(text: &str) -> Option<Micros> {
    let text = text.trim();
    if let Some(micros) = parse_usual(text) {
        return Some(micros);
    }
    let micros = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.timestamp_micros(),
        Err(_) => parse_loosely(text)?,
    };
    (YEAR_1..YEAR_10000).contains(&micros).then_some(micros)
}

/// Writes a time as RFC 3339 in UTC with microseconds: `2026-01-15T12:00:00.000000Z`. A time that
/// chrono cannot show, some 260,000 years away, becomes its number of microseconds.
pub fn format_timestamp(time: Micros) -> String {
    DateTime::from_timestamp_micros(time)
        .map_or_else(|| time.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

const YEAR_1: Micros = -62_135_596_800_000_000;
const YEAR_10000: Micros = 253_402_300_800_000_000;

/// Reads what nearly all clients write, `2026-01-15T11:00:00.000Z`, in a tenth of the time.
fn parse_usual(text: &str) -> Option<Micros> {
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if marks.into_iter().any(|(at, mark)| text[at] != mark) {
        return None;
    }
    let number = |digits: Range<usize>| {
        let digits = &text[digits];
        let value = digits.iter().fold(0, |value, digit| 10 * value + u32::from(digit.wrapping_sub(b'0')));
        digits.iter().all(u8::is_ascii_digit).then_some(value)
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let seconds = Micros::from((hour * 60 + minute) * 60 + second);
    Some(Micros::from(date.to_epoch_days()) * DAY + seconds * SECOND + Micros::from(number(20..23)?) * 1_000)
}

fn parse_loosely(text: &str) -> Option<Micros> {
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z") {
        return Some(time.timestamp_micros());
    }
    let without_z = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(without_z, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HOUR;
    use crate::event::Kind;
    use proptest::prelude::*;

    const NOW: Micros = 1_768_478_400 * SECOND;

    fn sent(original: Option<Micros>, sent_at: Option<Micros>) -> (Micros, Flags) {
        let mut event = Event::new(Kind::Track, "m");
        event.original_timestamp = original;
        event.sent_at = sent_at;
        event.timestamp(NOW)
    }

    #[test]
    fn a_clock_that_is_off_is_corrected() {
        let (timestamp, flags) = sent(Some(NOW - HOUR - 5 * SECOND), Some(NOW - HOUR));
        assert_eq!((timestamp, flags), (NOW - 5 * SECOND, Flags::default()));
    }

    #[test]
    fn a_clock_that_is_far_off_is_left_alone_and_flagged() {
        let original = NOW - 40 * DAY;
        assert_eq!(sent(Some(original), Some(original)), (original, Flags::CLOCK_SKEW));
        assert_eq!(sent(Some(original), None), (original, Flags::NO_SENT_AT));
    }

    #[test]
    fn the_timestamp_of_an_imported_event_stands_unless_it_lies_ahead() {
        let mut event = Event::new(Kind::Track, "m");
        event.flags = Flags::IMPORTED;
        for sent_at in [None, Some(NOW - HOUR), Some(NOW - 400 * DAY)] {
            event.sent_at = sent_at;
            for original in [NOW - 400 * DAY, NOW - HOUR - 5 * SECOND, NOW + DAY] {
                event.original_timestamp = Some(original);
                assert_eq!(event.timestamp(NOW), (original, Flags::default()));
            }
        }
        event.original_timestamp = Some(NOW + 25 * HOUR);
        assert_eq!(event.timestamp(NOW), (NOW, Flags::FUTURE_TIMESTAMP));
    }

    #[test]
    fn a_timestamp_in_the_future_becomes_the_time_of_receipt() {
        let (timestamp, flags) = sent(Some(NOW + 25 * HOUR), Some(NOW));
        assert_eq!((timestamp, flags), (NOW, Flags::FUTURE_TIMESTAMP));
        assert_eq!(sent(Some(i64::MAX), Some(i64::MIN)).0, NOW);
    }

    #[test]
    fn times_are_read_as_clients_write_them() {
        let expected = Some(NOW);
        for text in [
            "2026-01-15T12:00:00.000Z",
            "2026-01-15T12:00:00Z",
            "2026-01-15T14:00:00+02:00",
            "2026-01-15T14:00:00.000+0200",
            "2026-01-15T12:00:00",
            "2026-01-15 12:00:00.000",
        ] {
            assert_eq!(parse_timestamp(text), expected, "{text}");
        }
        assert_eq!(format_timestamp(NOW + 1), "2026-01-15T12:00:00.000001Z");
        assert_eq!(parse_timestamp("2026-01-15"), Some(NOW - 12 * HOUR));
        for text in ["", "yesterday", "2026-13-01", "1768478400", "+262142-01-01T00:00:00Z"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_every_other(
            (year, month, day) in (0..10_000_u32, 0..14_u32, 0..33_u32),
            (hour, minute, second, milli) in (0..26_u32, 0..62_u32, 0..62_u32, 0..1_000_u32),
            damage in proptest::option::weighted(0.2, (0..24_usize, "[ -~]")),
        ) {
            let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z");
            if let Some((at, with)) = damage {
                text.replace_range(at..=at, &with);
            }
            let expected = DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp_micros());
            let usual = parse_usual(&text);
            prop_assert!(usual.is_none() || usual == expected.ok(), "{text}: {usual:?} {expected:?}");
            if let Ok(expected) = expected && second < 60 && damage_free(&text) && year > 0 {
                prop_assert_eq!(usual, Some(expected));
            }
        }
    }

    fn damage_free(text: &str) -> bool {
        text.len() == 24 && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.' && text.ends_with('Z')
    }
}
