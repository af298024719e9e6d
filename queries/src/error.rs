//! Why a query gave no answer, in words for the one who wrote it.

use datafusion::arrow::error::ArrowError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use std::fmt;

/// Why a query gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The statement is wrong, or not allowed, or fails on the values it meets. Change it.
    #[error("{message}{}", place(at.as_ref()))]
    Invalid {
        /// What is wrong and what would be right.
        message: String,
        /// Where, as far as it is known.
        at: Option<Position>,
    },
    /// It took longer than allowed. Narrow it, say by `received_date`.
    #[error("the query took longer than {seconds} s; narrow it, for example by `received_date`")]
    TooLong {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// It needed more memory than allowed. Narrow it, or group by fewer values.
    #[error(
        "the query needs more than the {bytes} bytes of memory that all queries share; narrow it, or group by fewer values"
    )]
    TooMuchMemory {
        /// The limit, in bytes.
        bytes: usize,
    },
    /// Too many queries are running. Try again in a moment.
    #[error("{queries} queries are running, which is the most allowed at once; try again in a moment")]
    Busy {
        /// The limit.
        queries: usize,
    },
    /// The log or its store failed; nothing is wrong with the statement.
    #[error("the query failed: {message}")]
    Failed {
        /// What failed.
        message: String,
    },
}

/// A place in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// The line, cut where it is long, and below it a caret under the place.
    pub excerpt: String,
}

fn place(at: Option<&Position>) -> String {
    at.map_or_else(String::new, |at| format!("\nline {}, column {}:\n{}", at.line, at.column, at.excerpt))
}

impl SqlError {
    /// An invalid statement, the place unknown.
    pub(crate) fn invalid(message: String) -> Self {
        Self::Invalid { message, at: None }
    }

    /// What `error` means to the one who wrote `sql`. Limits are told apart by the caller.
    pub(crate) fn of(error: &DataFusionError, sql: &str) -> Self {
        let at = || Position::of(error, sql);
        match root(error) {
            DataFusionError::ResourcesExhausted(_) => Self::TooMuchMemory { bytes: 0 },
            DataFusionError::SchemaError(schema, _) => {
                let (message, name) = schema_error(schema);
                let at = at().or_else(|| name.and_then(|name| Position::of_word(sql, &name)));
                Self::Invalid { message, at }
            }
            DataFusionError::SQL(parser, _) => Self::Invalid { message: parser_error(parser), at: at() },
            DataFusionError::Plan(message) => Self::Invalid { message: plan_error(message), at: at() },
            DataFusionError::NotImplemented(message) => {
                Self::Invalid { message: format!("not supported: {}", first_line(message)), at: at() }
            }
            DataFusionError::Execution(message) => {
                Self::Invalid { message: first_line(message).into(), at: at() }
            }
            DataFusionError::ArrowError(arrow, _) => of_arrow(arrow),
            other => Self::Failed { message: first_line(&other.strip_backtrace()).into() },
        }
    }
}

/// The innermost error that DataFusion made.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error.find_root() {
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        found => found,
    }
}

fn of_arrow(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::CastError(message) => SqlError::invalid(format!(
            "{}; `try_cast(… AS …)` gives NULL instead",
            decapitalized(first_line(message))
        )),
        ArrowError::DivideByZero => SqlError::invalid("division by zero; divide by `nullif(…, 0)`".into()),
        ArrowError::ComputeError(message)
        | ArrowError::ArithmeticOverflow(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message) => SqlError::invalid(decapitalized(first_line(message))),
        other => SqlError::Failed { message: other.to_string() },
    }
}

/// What is wrong with a column, and its name.
fn schema_error(error: &SchemaError) -> (String, Option<String>) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let valid = valid_fields.iter().map(|column| column.name.as_str());
            let hint = match near(&field.name, valid) {
                near if near.is_empty() => "; `DESCRIBE events` lists the columns of a table".into(),
                near => format!("; did you mean {}?", near.join(" or ")),
            };
            (format!("there is no column `{}`{hint}", field.flat_name()), Some(field.name.clone()))
        }
        SchemaError::AmbiguousReference { field } => (
            format!(
                "the column `{}` is in more than one table; write `table.{}`",
                field.flat_name(),
                field.name
            ),
            Some(field.name.clone()),
        ),
        other => (decapitalized(&other.to_string()), None),
    }
}

/// At most three names close to `name`, the closest first, in backticks.
fn near<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Vec<String> {
    let name = name.to_lowercase();
    let mut found: Vec<(usize, usize, &str)> = valid
        .map(|valid| {
            let distance = levenshtein(&name, &valid.to_lowercase());
            let part = name.len() >= 3 && (valid.contains(&name) || name.contains(valid));
            (if part { distance.min(1) } else { distance }, distance, valid)
        })
        .filter(|(distance, _, valid)| *distance <= 1 + valid.len().min(name.len()) / 3)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.iter().take(3).map(|(_, _, valid)| format!("`{valid}`")).collect()
}

fn parser_error(error: &ParserError) -> String {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => without_place(text),
        ParserError::RecursionLimitExceeded => return "the statement is nested too deeply".into(),
    };
    match text.strip_prefix("Expected: ").and_then(|text| text.split_once(", found: ")) {
        Some((expected, "EOF")) => format!("the statement ends where {expected} is expected"),
        Some((expected, found)) => format!("expected {expected}, found `{found}`"),
        None => decapitalized(text),
    }
}

fn plan_error(message: &str) -> String {
    let hint = message.lines().skip(1).find_map(|line| line.trim().strip_prefix("Did you mean "));
    let message = first_line(message);
    if let Some(hint) = hint {
        let message = decapitalized(message.trim_end_matches('.'));
        return format!("{message}; did you mean {}", hint.replace('\'', "`"));
    }
    let table = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    let Some(table) = table else { return decapitalized(message) };
    let name = table.rsplit('.').next().unwrap_or(table);
    let hint = match near(name, crate::views::NAMES.into_iter()) {
        near if near.is_empty() => format!("; there are `{}`", crate::views::NAMES.join("`, `")),
        near => format!("; did you mean {}?", near.join(" or ")),
    };
    format!("there is no table `{name}`{hint}")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text).trim_end()
}

fn without_place(text: &str) -> &str {
    text.rfind(" at Line: ").map_or(text, |end| &text[..end])
}

fn decapitalized(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect::<String>().trim_end_matches('.').into()
        }
        _ => text.into(),
    }
}

impl Position {
    /// Where DataFusion or the parser saw the error.
    fn of(error: &DataFusionError, sql: &str) -> Option<Self> {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        if let Some(span) = span {
            return Self::at(sql, span.start.line, span.start.column);
        }
        let DataFusionError::SQL(parser, _) = root(error) else { return None };
        let (ParserError::TokenizerError(text) | ParserError::ParserError(text)) = parser.as_ref() else {
            return None;
        };
        let (_, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Self::at(sql, line.parse().ok()?, column.trim().parse().ok()?)
    }

    /// Where `word` first stands alone in `sql`.
    fn of_word(sql: &str, word: &str) -> Option<Self> {
        let part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let start = sql
            .match_indices(word)
            .map(|(start, _)| start)
            .find(|&start| !sql[..start].ends_with(part) && !sql[start + word.len()..].starts_with(part))?;
        let before = &sql[..start];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() as u64 + 1;
        Self::at(sql, line, before[line_start..].chars().count() as u64 + 1)
    }

    fn at(sql: &str, line: u64, column: u64) -> Option<Self> {
        const BEFORE: usize = 50;
        const WIDTH: usize = 100;
        if line == 0 || column == 0 {
            return None;
        }
        let text: Vec<char> =
            sql.split('\n').nth(usize::try_from(line - 1).ok()?)?.trim_end().chars().collect();
        let index = usize::try_from(column - 1).ok()?.min(text.len());
        let start = if text.len() > WIDTH { index.saturating_sub(BEFORE) } else { 0 };
        let shown = text[start..].iter().take(WIDTH);
        let shown: String = shown.map(|&letter| if letter.is_control() { ' ' } else { letter }).collect();
        let excerpt = format!("  {shown}\n  {}^", " ".repeat(index - start));
        Some(Self { line, column, excerpt })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests;
