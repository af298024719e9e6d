//! What begins with a backslash.

use console::Format;

/// What the shell can do besides SQL.
pub(super) const HELP: &str = "\
A statement ends with ; and may have several lines. Tab completes, the arrow keys go through the history.
  \\d            the tables and views
  \\d TABLE      the columns of one
  \\format WORD  how rows are written: table, json, csv, parquet, arrow
  \\?            this help
  \\q            leave, as Ctrl-D does
Ctrl-C cancels the query that runs, or the statement that is being written.";

/// A command of the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Help,
    Tables,
    Columns(String),
    Format(Option<Format>),
}

impl Command {
    /// Reads a line that begins with a backslash; an error says what is allowed.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim_end_matches(';');
        let mut words = line.split_whitespace();
        let (name, word, more) = (words.next().unwrap_or_default(), words.next(), words.next());
        match (name, word, more) {
            ("\\q" | "\\quit", None, _) => Ok(Self::Quit),
            ("\\?" | "\\h" | "\\help", None, _) => Ok(Self::Help),
            ("\\d", None, _) => Ok(Self::Tables),
            ("\\d", Some(table), None) => Ok(Self::Columns(table.to_owned())),
            ("\\format", None, _) => Ok(Self::Format(None)),
            ("\\format", Some(word), None) => {
                let format = Format::ALL.into_iter().find(|format| format.as_str() == word);
                let words = || Format::ALL.map(Format::as_str).join(", ");
                format
                    .map(|format| Self::Format(Some(format)))
                    .ok_or_else(|| format!("there is no format `{word}`; allowed are {}", words()))
            }
            _ => Err(format!("`{line}` is no command; \\? tells them")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_others_refused_with_what_is_allowed() {
        assert_eq!(Command::parse("\\q"), Ok(Command::Quit));
        assert_eq!(Command::parse("\\d events;"), Ok(Command::Columns("events".into())));
        assert_eq!(Command::parse("\\format csv"), Ok(Command::Format(Some(Format::Csv))));
        assert!(Command::parse("\\format xml").unwrap_err().contains("parquet"));
        assert!(Command::parse("\\dance now").unwrap_err().contains("\\?"));
    }
}
