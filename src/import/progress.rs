//! How an import is coming along: a bar on a terminal, plain lines now and then elsewhere.

use super::content::is_standard_input;
use super::summary::grouped;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A line is written no more often, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is shown on standard error while an import runs.
pub(super) struct Progress {
    bar: ProgressBar,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    events: u64,
    started: Instant,
    said: Instant,
    file: String,
}

impl Progress {
    /// Begins; the bar has the size of all files together, as they lie on disk.
    pub(super) fn start(files: &[PathBuf]) -> Self {
        let size = |file: &PathBuf| {
            let plain = (!is_standard_input(file)).then(|| std::fs::metadata(file).ok())?;
            plain.filter(std::fs::Metadata::is_file).map(|data| data.len())
        };
        let total = files.iter().map(size).sum::<Option<u64>>();
        let is_terminal = std::io::stderr().is_terminal();
        let bar = match total {
            _ if !is_terminal => ProgressBar::hidden(),
            Some(total) => ProgressBar::new(total)
                .with_style(style("{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {bytes}  {msg}")),
        };
        let now = Instant::now();
        Self { bar, read: Arc::default(), total, events: 0, started: now, said: now, file: String::new() }
    }

    /// Where bytes read are counted.
    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Another file begins.
    pub(super) fn file(&mut self, name: &str) {
        name.clone_into(&mut self.file);
    }

    /// So many more events were answered.
    pub(super) fn add(&mut self, events: u64) {
        self.events += events;
        let read = self.read.load(Ordering::Relaxed);
        let rate = self.events as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        self.bar.set_position(read);
        self.bar.set_message(format!("{} events, {}/s", grouped(self.events), grouped(rate as u64)));
        if self.bar.is_hidden() && self.said.elapsed() >= LINE_EVERY {
            self.said += self.said.elapsed();
            let share =
                self.total.map_or(String::new(), |total| format!(" ({} %)", read * 100 / total.max(1)));
            eprintln!(
                "{}: {} events, {}/s, {} bytes read{share}",
                self.file,
                grouped(self.events),
                grouped(rate as u64),
                grouped(read)
            );
        }
    }

    /// Writes something while the bar is out of the way.
    pub(super) fn say<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
