//! Completion of keywords, tables and columns, and where a statement ends.

use super::names::Names;
use crate::sql::statements::{Statements, is_blank};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Result};

/// Words of SQL that are completed.
const KEYWORDS: [&str; 44] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "COUNT",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "SELECT",
    "THEN",
    "TRUE",
    "UNION",
    "WHERE",
    "WITH",
];

/// What the shell knows when Tab is pressed.
pub(super) struct Helper(Names);

impl Helper {
    pub(super) fn new(names: Names) -> Self {
        Self(names)
    }

    /// Where the word before `at` begins, and what it may become: columns, tables, then keywords.
    fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = &line[..at];
        let word_begins = |c: char| !(c.is_alphanumeric() || c == '_');
        let start = before
            .rfind(word_begins)
            .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
        let word = &before[start..];
        if before[..start].ends_with("\\d ") || wants_table(&before[..start]) {
            return (start, beginning_with(word, &self.0.tables()));
        }
        if word.is_empty() {
            return (start, Vec::new());
        }
        let mut found = beginning_with(word, &self.0.columns(line));
        found.extend(beginning_with(word, &self.0.tables()));
        let is_lower = word.chars().all(|c| !c.is_uppercase());
        let keywords = beginning_with(&word.to_uppercase(), &KEYWORDS);
        found.extend(keywords.into_iter().map(|word| if is_lower { word.to_lowercase() } else { word }));
        let mut seen = std::collections::HashSet::new();
        found.retain(|candidate| seen.insert(candidate.clone()));
        (start, found)
    }
}

/// Whether only a table can follow.
fn wants_table(before: &str) -> bool {
    let last = before.split_whitespace().next_back().unwrap_or_default();
    before.ends_with(char::is_whitespace)
        && ["FROM", "JOIN", "DESCRIBE"].iter().any(|word| last.eq_ignore_ascii_case(word))
}

fn beginning_with(word: &str, names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| name.starts_with(word)).map(|name| (*name).to_owned()).collect()
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {}

impl Validator for Helper {
    /// Enter begins another line until the statement has its `;`.
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let is_whole = is_whole(context.input());
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Whether nothing of a statement is still to come.
fn is_whole(text: &str) -> bool {
    is_command(text) || is_blank(&Statements::of(text).rest)
}

/// Whether this is a command of the shell and no SQL.
pub(super) fn is_command(text: &str) -> bool {
    text.trim_start().starts_with('\\')
}

impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for whole in ["", "  ", "\\d events", "SELECT 1;", "SELECT 1;\n -- done", "SELECT 1; SELECT 2;"] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in ["SELECT", "SELECT 1; SELECT", "SELECT ';", "SELECT 1 -- ;"] {
            assert!(!is_whole(open), "{open}");
        }
    }

    #[test]
    fn tables_columns_and_keywords_are_completed_where_they_belong() {
        let helper = Helper::new(Names::of(&[
            ("events", &["event", "message_id"]),
            ("rejected", &["code", "message", "message_id"]),
        ]));
        let complete = |line: &str| helper.candidates(line, line.len()).1;
        assert_eq!(complete("select * from ev"), ["events"]);
        assert_eq!(complete("SELECT * FROM "), ["events", "rejected"]);
        assert_eq!(complete("\\d re"), ["rejected"]);
        assert_eq!(complete("SELECT event, mess"), ["message_id", "message"]);
        assert_eq!(complete("SELECT code FROM rejected WHERE messa"), ["message", "message_id"]);
        assert_eq!(complete("SEL"), ["SELECT"]);
        assert_eq!(complete("sel"), ["select"]);
        assert_eq!(helper.candidates("SELECT count(ev", 15).0, 13);
        assert_eq!(
            helper.candidates("SELECT 'ü', ev FROM events", 15),
            (13, vec!["event".into(), "events".into()])
        );
    }
}
