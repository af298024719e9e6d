//! What an import says at its end.

use console::Imported;
use std::fmt::Write;

/// What became of a file; `before` lines had been sent by an earlier run.
pub(super) fn of_file(name: &str, imported: &Imported, before: u64) -> String {
    let mut text = format!("{name}: {}\n", counts(imported, before));
    let width = imported.reasons.keys().map(String::len).max().unwrap_or(0);
    for (code, reason) in &imported.reasons {
        let (count, line) = (grouped(reason.lines), grouped(reason.first_line));
        let _ = writeln!(text, "  {code:width$}  {count} rejected, first line {line}: {}", reason.message);
    }
    text
}

/// What became of several files together.
pub(super) fn of_all(files: usize, imported: &Imported, before: u64) -> String {
    format!("{files} files: {}\n", counts(imported, before))
}

fn counts(imported: &Imported, before: u64) -> String {
    let [accepted, duplicate, rejected] =
        [imported.accepted, imported.duplicate, imported.rejected].map(grouped);
    let mut text = format!("{accepted} accepted, {duplicate} duplicate, {rejected} rejected");
    if before > 0 {
        let _ = write!(text, "; {} lines were taken in before", grouped(before));
    }
    text
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::Reason;

    #[test]
    fn a_summary_says_what_was_rejected_where_and_why() {
        let reason = Reason { lines: 1_200, first_line: 12, message: "the line is not JSON".into() };
        let reasons = [("invalid_json".to_owned(), reason)].into();
        let imported = Imported { accepted: 1_000_000, duplicate: 0, rejected: 1_200, reasons };
        assert_eq!(
            of_file("a.ndjson", &imported, 70),
            "a.ndjson: 1,000,000 accepted, 0 duplicate, 1,200 rejected; 70 lines were taken in before\n  \
             invalid_json  1,200 rejected, first line 12: the line is not JSON\n"
        );
        assert_eq!(of_all(2, &Imported::default(), 0), "2 files: 0 accepted, 0 duplicate, 0 rejected\n");
    }
}
