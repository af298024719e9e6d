//! A replay: one customer's events sent to Segment once more.

use super::{Connected, SEGMENT, WAIT_MAX, WAIT_STEP, number};
use crate::demo::accounts::grouped;
use anyhow::bail;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Instant;

/// The customer with the most events.
const CUSTOMER: &str = "SELECT user_id FROM events WHERE user_id IS NOT NULL \
                        GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1";

impl Connected<'_> {
    /// Estimates and runs it, and tells of it; an error when Segment does not get exactly these events.
    pub(in crate::demo) async fn replay(&self) -> anyhow::Result<String> {
        if !self.fakes.segment.repeats().is_empty() {
            bail!("Segment got events twice before anything was replayed");
        }
        let customer = self.server.rows(CUSTOMER).await?;
        let customer =
            customer.first().and_then(|row| row["user_id"].as_str()).unwrap_or_default().to_owned();
        let condition = format!("user_id = '{customer}'");
        let path = format!("/connections/{}/replays", self.ids[SEGMENT]);
        let dry = json!({ "condition": condition, "dry_run": true });
        let estimate = self.server.api(Method::POST, &path, Some(&dry)).await?;
        let asked = json!({ "condition": condition });
        let replay = self.server.api(Method::POST, &path, Some(&asked)).await?;
        let done = self.done(replay["id"].as_str().unwrap_or_default()).await?;

        let (estimate, counts) = (&estimate["estimate"], &done["counts"]);
        let count = |of: &Value, key: &str| number(&of[key]);
        let (sent, matched) = (count(counts, "sent"), count(estimate, "matched"));
        let repeats = self.fakes.segment.repeats();
        let twice = repeats.iter().filter(|(_, times)| *times == 2).count() as u64;
        if [sent, twice, repeats.len() as u64] != [matched; 3] || count(counts, "failed") != 0 {
            bail!("the replay was to send {matched} events once more; Segment got {twice}: {done}");
        }
        Ok(format!(
            "\nA replay to Segment of customer {customer}\n\n  Estimate  {} of {} events match\n  \
             Done      {} sent, {} failed; Segment knows each of them again by its id\n",
            grouped(matched),
            grouped(count(estimate, "scanned")),
            grouped(sent),
            grouped(count(counts, "failed")),
        ))
    }

    async fn done(&self, replay: &str) -> anyhow::Result<Value> {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let shown = self.server.api(Method::GET, &format!("/replays/{replay}"), None).await?;
            match shown["state"].as_str() {
                Some("done") => return Ok(shown),
                Some("running") if Instant::now() < end => tokio::time::sleep(WAIT_STEP).await,
                _ => bail!("the replay does not end: {shown}"),
            }
        }
    }
}
