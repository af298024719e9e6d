//! The program's own log.

use crate::settings::{LogFormat, Settings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: ours at the level of the settings, other crates' warnings.
pub(crate) fn start(settings: &Settings) {
    let ours = &settings.log_level;
    let others = if ["debug", "trace"].contains(&ours.as_str()) { "info" } else { "warn" };
    let rooms = ["flowstate", "pipeline", "ingest", "sinks", "queries", "console"];
    let directives: Vec<_> = rooms.iter().map(|room| format!("{room}={ours}")).collect();
    let filter = EnvFilter::new(format!("{others},{}", directives.join(",")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as tests do, keeps the first.
    let outcome = match settings.log_format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "the log was started before");
    }
}
