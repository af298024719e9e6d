//! Where rows go: standard output, or a file that appears when it is whole.

use super::target::Rows;
use crate::output::print;
use anyhow::{Context, bail};
use console::Format;
use futures::StreamExt;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Where rows go.
pub(super) struct Output(Option<PathBuf>);

impl Output {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self(file)
    }

    /// Refuses what a terminal cannot show.
    pub(super) fn check(&self, format: Format) -> anyhow::Result<()> {
        let is_binary = matches!(format, Format::Parquet | Format::Arrow);
        if is_binary && self.0.is_none() && std::io::stdout().is_terminal() {
            bail!(
                "`{}` is no format for a terminal: name a file with --output, or redirect it",
                format.as_str()
            );
        }
        Ok(())
    }

    /// Writes all pieces.
    pub(super) async fn write(&self, rows: Rows) -> anyhow::Result<()> {
        match &self.0 {
            None => print_all(rows).await,
            Some(path) => {
                let cannot = || format!("`{}` cannot be written", path.display());
                let draft = draft_of(path);
                let written = write_all(rows, &draft, cannot).await;
                if written.is_err() {
                    // What is left of it is of no use; the error that counts is the first.
                    let _ = std::fs::remove_file(&draft);
                }
                written?;
                std::fs::rename(&draft, path).with_context(cannot)
            }
        }
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

async fn write_all(mut rows: Rows, draft: &Path, cannot: impl Fn() -> String) -> anyhow::Result<()> {
    let mut file = File::create(draft).with_context(&cannot)?;
    while let Some(piece) = rows.next().await {
        file.write_all(&piece?).with_context(&cannot)?;
    }
    file.sync_all().with_context(&cannot)
}

/// Prints all pieces, and ends the last line of text, as JSON does not.
async fn print_all(mut rows: Rows) -> anyhow::Result<()> {
    let (mut last, mut is_text) = (None, true);
    while let Some(piece) = rows.next().await {
        let piece = piece?;
        last = piece.last().copied().or(last);
        is_text &= !piece.starts_with(b"PAR1") && !piece.starts_with(&[0xff; 4]);
        print(piece)?;
    }
    if is_text && last.is_some_and(|last| last != b'\n') {
        print("\n")?;
    }
    Ok(())
}
