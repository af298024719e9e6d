//! A receiver that is down for a while and a key that is refused, while all others go on.

use super::{Connected, GOOGLE, MIXPANEL, MIXPANEL_SECRET, SEGMENT, WAIT_MAX, WAIT_STEP, WEBHOOK};
use crate::demo::accounts::grouped;
use crate::demo::company::Message;
use anyhow::bail;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use vendors::Failure;

/// So many requests fail at most: two fewer than open the breaker, which would wait longer.
const FAILURES_MAX: u64 = 8;

/// What was seen while the webhook's receiver was down.
pub(in crate::demo) struct Outage {
    failures: u64,
    /// How many events Segment had at the last of them.
    at_segment: u64,
}

impl Connected<'_> {
    /// Takes the webhook's receiver down once it has some of its events, for as many requests as there
    /// are events enough for; each then fails once.
    pub(in crate::demo) async fn outage(&self, messages: &[Message]) -> Outage {
        let wanted = messages.iter().filter(|message| {
            message.flaw.is_none()
                && message.body["event"].as_str().is_some_and(|event| super::TO_WEBHOOK.contains(&event))
        });
        let wanted = wanted.count() as u64;
        let (before, failures) = (wanted / 4, FAILURES_MAX.min(wanted / 4));
        let webhook = &self.fakes.webhook;
        let end = Instant::now() + WAIT_MAX;
        while (webhook.deliveries().len() as u64) < before && Instant::now() < end {
            tokio::time::sleep(WAIT_STEP).await;
        }
        webhook.fail((0..failures).map(|_| Failure::status(503)));
        while self.failed() < failures && Instant::now() < end {
            tokio::time::sleep(WAIT_STEP).await;
        }
        Outage { failures, at_segment: self.fakes.arrived(SEGMENT) }
    }

    fn failed(&self) -> u64 {
        self.fakes.webhook.statuses().iter().filter(|status| **status == Some(503)).count() as u64
    }

    /// Waits until all troubles are over, and tells of them.
    pub(in crate::demo) async fn trouble(&self, outage: &Outage, begun: Instant) -> anyhow::Result<String> {
        let wanted = self.wanted().await?;
        if self.failed() != outage.failures {
            bail!("{} requests were to fail at the webhook, {} did", outage.failures, self.failed());
        }
        for destination in [SEGMENT, GOOGLE] {
            self.arrive(destination, wanted[destination]).await?;
        }
        let undisturbed = begun.elapsed();
        let mut text = format!(
            "\nThe webhook's receiver was down: {} requests were answered with 503\n\n  Meanwhile  Segment had {} \
             events by the last of these, and went on;\n             it and Google Analytics had all of theirs \
             {:.1} s after the first event was sent.\n",
            outage.failures,
            grouped(outage.at_segment),
            undisturbed.as_secs_f64(),
        );
        self.arrive(WEBHOOK, wanted[WEBHOOK]).await?;
        text.push_str(&format!(
            "  Then       what had failed was sent again: the webhook had all {} after {:.1} s.\n",
            grouped(wanted[WEBHOOK]),
            begun.elapsed().as_secs_f64(),
        ));
        text.push_str(&self.new_secret(wanted[MIXPANEL]).await?);
        Ok(text)
    }

    /// Shows why Mixpanel is held, replaces its secret, and waits until it has caught up.
    async fn new_secret(&self, wanted: u64) -> anyhow::Result<String> {
        let held = self.held().await?;
        if !self.fakes.mixpanel.events().is_empty() {
            bail!("Mixpanel took events with a secret that was revoked");
        }
        let word = |key: &str| held["reason"][key].as_str().unwrap_or_default();
        let mut text = format!(
            "\nMixpanel is {}: {}\n\n  Reason  {}\n  Remedy  {}\n",
            held["state"].as_str().unwrap_or_default(),
            word("class"),
            word("text"),
            word("remedy"),
        );
        let fresh = json!({ "credentials": { "service_account": format!("demo:{MIXPANEL_SECRET}") } });
        let path = format!("/connections/{}", self.ids[MIXPANEL]);
        self.server.api(Method::PATCH, &path, Some(&fresh)).await?;
        let took = self.arrive(MIXPANEL, wanted).await?;
        text.push_str(&format!(
            "  Then    it got a new secret, and {} waiting events in {:.1} s.\n",
            grouped(wanted),
            took.as_secs_f64(),
        ));
        Ok(text)
    }

    async fn held(&self) -> anyhow::Result<serde_json::Value> {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let connection = self.connection(MIXPANEL).await?;
            if connection["state"] == "held" {
                return Ok(connection);
            }
            if Instant::now() > end {
                bail!("Mixpanel refuses the secret, but is not held: {connection}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
