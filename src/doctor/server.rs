//! How the running server is doing, and how long the write-ahead log would take its traffic.

use super::disk::{free_bytes, shown};
use super::report::Report;
use crate::serve::Announcement;
use crate::settings::Settings;
use crate::sql::Target;
use serde_json::Value;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// An outage of the store may well last this long, in hours.
const HOURS_WANTED: f64 = 4.0;
/// What an event takes in the log beside its JSON, about.
const BYTES_BESIDE: f64 = 200.0;

const RATE: &str = "SELECT cast(sum(received) AS double) AS items, \
     cast(max(received_at) AS bigint) - cast(min(received_at) AS bigint) AS micros \
     FROM (SELECT received, received_at FROM receipts ORDER BY received_at DESC LIMIT 20000)";
const BYTES: &str = "SELECT avg(cast(octet_length(coalesce(properties, '')) + octet_length(coalesce(context, '')) \
     + octet_length(coalesce(traits, '')) AS double)) AS bytes \
     FROM (SELECT properties, context, traits FROM events ORDER BY received_at DESC LIMIT 1000)";

/// Asks the server of the data directory, if there is one.
pub(super) async fn look(settings: &Settings, report: &mut Report) -> Option<Announcement> {
    const CHECK: &str = "server";
    let server = match Announcement::read(&settings.data) {
        Ok(Some(server)) => server,
        Ok(None) => {
            report.ok(CHECK, "none runs on the data directory");
            return None;
        }
        Err(error) => {
            report.fail(
                CHECK,
                format!("{error:#}"),
                "let this user read it, or remove it where no server runs",
            );
            return None;
        }
    };
    let at = format!("process {} at {}", server.pid, server.url);
    let asked = async {
        server
            .request(reqwest::Method::GET, "/ready")?
            .timeout(TIMEOUT)
            .send()
            .await
            .map_err(anyhow::Error::from)
    };
    match asked.await {
        Err(error) => {
            report.fail(CHECK, format!("{at} does not answer: {error:#}"), "look at its log; start it again");
        }
        Ok(answer) => {
            let body: Value = answer.json().await.unwrap_or_default();
            match (body["status"].as_str(), body["commit_error"].as_str()) {
                (Some("ready"), None) => report.ok(CHECK, format!("{at} is ready")),
                (Some("ready"), Some(error)) => report.warn(
                    CHECK,
                    format!("{at} takes events, but cannot commit them: {error}"),
                    "see to the store; until then the write-ahead log fills",
                ),
                (status, _) => report.fail(
                    CHECK,
                    format!(
                        "{at} is {}: {}",
                        status.unwrap_or("not ready"),
                        body["message"].as_str().unwrap_or_default()
                    ),
                    "see the message; a log that failed goes on after a restart",
                ),
            }
        }
    }
    Some(server)
}

/// How many hours without the store the write-ahead log covers, at the rate of the latest receipts.
pub(super) async fn outage(settings: &Settings, report: &mut Report) {
    const CHECK: &str = "outage";
    let wal = settings.wal_bytes_max.min(free_bytes(&settings.data).unwrap_or(u64::MAX));
    let rate = if settings.data.exists() { rate(settings).await } else { None };
    let Some(rate) = rate else {
        return report.ok(
            CHECK,
            format!("the write-ahead log may take {}; there is no traffic to measure it by", shown(wal)),
        );
    };
    let hours = wal as f64 / rate / 3_600.0;
    let found = format!(
        "the write-ahead log may take {}: about {hours:.1} hours without the store, at {:.1} kB/s of late",
        shown(wal),
        rate / 1e3
    );
    if hours < HOURS_WANTED {
        report.warn(CHECK, found, "raise `wal_bytes_max`, on a disk that has the space");
    } else {
        report.ok(CHECK, found);
    }
}

/// Bytes a second; `None` where there are too few receipts to say.
async fn rate(settings: &Settings) -> Option<f64> {
    let target = Target::open(settings).await.ok()?;
    let receipts = target.objects(RATE).await.ok()?;
    let (items, micros) = (receipts.first()?["items"].as_f64()?, receipts.first()?["micros"].as_f64()?);
    let bytes = target.objects(BYTES).await.ok()?.first()?["bytes"].as_f64()? + BYTES_BESIDE;
    (micros > 1e6).then(|| items * bytes / (micros / 1e6))
}
