//! The shell: statements over several lines, history, completion, and a few commands of its own.

mod commands;
mod complete;
mod names;

use super::output::Output;
use super::statements::Statements;
use super::target::Target;
use crate::settings::Settings;
use anyhow::Context;
use commands::{Command, HELP};
use complete::Helper;
use console::Format;
use names::Names;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use std::path::PathBuf;
use std::time::Instant;

/// Statements that are kept in mind.
const HISTORY_MAX: usize = 10_000;
const PROMPT: &str = "flowstate> ";

type Line = Editor<Helper, FileHistory>;

/// What the shell keeps between statements.
struct Shell<'a> {
    target: Target,
    settings: &'a Settings,
    format: Format,
    output: Output,
    names: Names,
}

/// Runs until the person leaves it.
pub(super) async fn run(
    target: Target,
    settings: &Settings,
    format: Format,
    output: Output,
) -> anyhow::Result<()> {
    eprintln!("flowstate {} · {} · \\? for help, \\q to leave", env!("CARGO_PKG_VERSION"), target.shown());
    let names = Names::load(&target).await.unwrap_or_default();
    let mut shell = Shell { target, settings, format, output, names };
    let history = history_file();
    let config = Config::builder().max_history_size(HISTORY_MAX)?.auto_add_history(false).build();
    let mut editor = Line::with_config(config).context("the terminal cannot be used")?;
    editor.set_helper(Some(Helper::new(shell.names.clone())));
    if let Some(path) = &history
        && path.exists()
        && let Err(error) = editor.load_history(path)
    {
        eprintln!("the history `{}` cannot be read: {error}", path.display());
    }
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let line = editor.readline(PROMPT);
            (editor, line)
        });
        let line;
        (editor, line) = read.await?;
        match line {
            Ok(line) if complete::is_command(&line) => {
                keep(&mut editor, line.trim(), history.as_ref());
                if shell.command(line.trim()).await.is_break() {
                    return Ok(());
                }
            }
            Ok(line) => {
                let statements = Statements::of(&line).whole;
                if !statements.is_empty() {
                    keep(&mut editor, line.trim(), history.as_ref());
                }
                for statement in statements {
                    shell.statement(&statement).await;
                }
            }
            // What was being written is dropped.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("the terminal cannot be read"),
        }
    }
}

impl Shell<'_> {
    async fn command(&mut self, line: &str) -> std::ops::ControlFlow<()> {
        match Command::parse(line) {
            Ok(Command::Quit) => return std::ops::ControlFlow::Break(()),
            Ok(Command::Help) => eprintln!("{HELP}"),
            Ok(Command::Format(None)) => eprintln!("rows are written as {}", self.format.as_str()),
            Ok(Command::Format(Some(format))) => match self.output.check(format) {
                Ok(()) => self.format = format,
                Err(error) => eprintln!("{error:#}"),
            },
            Ok(Command::Tables) => self.statement(names::TABLES).await,
            Ok(Command::Columns(table)) if self.names.is_table(&table) => {
                self.statement(&names::columns_of(&table)).await;
            }
            Ok(Command::Columns(table)) => {
                eprintln!("there is no table `{table}`; there are {}", self.names.tables().join(", "));
            }
            Err(message) => eprintln!("{message}"),
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Answers a statement; Ctrl-C cancels it.
    async fn statement(&mut self, sql: &str) {
        let started = Instant::now();
        let answered = tokio::select! {
            answered = self.answer(sql) => answered,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("cancelled");
                return;
            }
        };
        match answered {
            Ok(()) => eprintln!("{:?}", Rounded(started.elapsed())),
            Err(error) => eprintln!("error: {error:#}"),
        }
    }

    /// Without a server the files are read anew for each statement, as somebody may have added to them.
    async fn answer(&mut self, sql: &str) -> anyhow::Result<()> {
        if let Target::Files { .. } = self.target {
            self.target = Target::open(self.settings).await?;
        }
        self.output.write(self.target.rows(sql, self.format).await?).await
    }
}

/// A time as a person wants it: `12 ms`, `3.4 s`.
struct Rounded(std::time::Duration);

impl std::fmt::Debug for Rounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs_f64() {
            seconds if seconds < 1.0 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{seconds:.1} s"),
        }
    }
}

/// Adds a statement to the history, on disk too, so that several shells keep theirs.
fn keep(editor: &mut Line, statement: &str, history: Option<&PathBuf>) {
    let mut kept = || -> rustyline::Result<()> {
        editor.add_history_entry(statement)?;
        let Some(path) = history else { return Ok(()) };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        editor.append_history(path)
    };
    if let Err(error) = kept() {
        tracing::debug!(%error, "the history could not be written");
    }
}

/// Where the history lies, by the XDG Base Directory Specification 0.8.
fn history_file() -> Option<PathBuf> {
    let variable = |name: &str| {
        let found = std::env::vars_os().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("flowstate").join("sql_history"))
}
