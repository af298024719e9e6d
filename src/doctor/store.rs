//! Whether the store does what the log needs, and how fast.

use super::report::Report;
use crate::settings::Settings;
use pipeline::Clock;
use pipeline::log::store::{Store, Timing};
use std::io::ErrorKind;
use std::time::Duration;

const CHECK: &str = "store";
const SLOW: Duration = Duration::from_secs(1);

pub(super) async fn look(settings: &Settings, clock: &Clock, report: &mut Report) -> Option<Timing> {
    let config = match settings.store() {
        Ok(config) => config,
        Err(error) => {
            report.fail(CHECK, error.to_string(), "set `store`");
            return None;
        }
    };
    let is_missing =
        |path: std::path::PathBuf| path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if config.url.to_file_path().is_ok_and(is_missing) {
        report.ok(CHECK, format!("`{}` is not there; the first start makes it", config.url));
        return None;
    }
    let measured = async { Store::open(&config).await?.measure(clock).await };
    match measured.await {
        Ok(timing) => {
            let Timing { create, read, list, delete, .. } = &timing;
            let found = format!(
                "`{}` creates only what is absent; create {create:.1?}, read {read:.1?}, list {list:.1?}, delete {delete:.1?}",
                config.url
            );
            if [create, read, list, delete].into_iter().any(|time| *time > SLOW) {
                report.warn(CHECK, found, "commits will be late: use a store that is nearer");
            } else {
                report.ok(CHECK, found);
            }
            Some(timing)
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(deeper) = source {
                let deeper_text = deeper.to_string();
                if !text.contains(&deeper_text) {
                    text = format!("{text}: {deeper_text}");
                }
                source = deeper.source();
            }
            report.fail(
                CHECK,
                text,
                "see what it says; the log needs to list, read, create and delete there",
            );
            None
        }
    }
}
