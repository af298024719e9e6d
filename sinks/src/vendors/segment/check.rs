//! What can be proven of a Segment source.

use super::Segment;
use crate::engine::{Check, Step};
use crate::vendors::steps;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::egress::{Http, HttpError, Request, TIMEOUT};
use pipeline::event::{Event, Kind};
use pipeline::log::{PartitionId, Stored};
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

/// Where Segment's own libraries read the settings of a source. One host serves all regions.
const SETTINGS_HOST: &str = "cdn.segment.com";

impl Segment {
    /// Asks whether the write key exists, and sends an event if a `sample` is wanted.
    ///
    /// Nothing proves the region, and Segment answers a sample with 200 in any case.
    pub(super) async fn prove(&self, http: &dyn Http, now: Micros, sample: bool) -> Check {
        let mut steps = Vec::new();
        match self.known(http).await {
            Ok(known) => steps.extend([steps::passed("reachable", SETTINGS_HOST), known]),
            Err(error) => {
                // The address that was asked for holds the write key.
                let detail = error.detail.replace(self.write_key.reveal(), "…");
                steps.push(steps::unreachable(SETTINGS_HOST, &HttpError { detail, ..error }));
            }
        }
        if has_failed(&steps) {
            return Check { steps };
        }
        steps.push(steps::unprovable(
            "object_exists",
            format!("events go to {}; Segment does not tell whether the workspace is there", self.region.name()),
            "Compare `region` with the region in Segment's workspace settings: in the wrong one events vanish.",
        ));
        steps.push(if sample {
            self.sample(http, now).await
        } else {
            steps::skipped("sample_event", "no event was sent")
        });
        Check { steps }
    }

    /// The step `authenticated`.
    async fn known(&self, http: &dyn Http) -> Result<Step, HttpError> {
        const STEP: &str = "authenticated";
        let url = format!("https://{SETTINGS_HOST}/v1/projects/{}/settings", self.write_key.reveal());
        let url = Url::parse(&url).expect("a write key needs no escapes in a path");
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let answer = http.send(Request { method: Method::GET, url, headers, body, timeout: TIMEOUT }).await?;
        Ok(match answer.status {
            200 => steps::passed(STEP, "the write key belongs to a source"),
            404 => steps::failed(
                STEP,
                "no source has this write key",
                "Copy the write key from Connections, Sources, the source, Settings, API Keys.",
            ),
            status => steps::failed(
                STEP,
                format!("{SETTINGS_HOST} answered {status}, which tells nothing about the write key"),
                "Try again in a few minutes.",
            ),
        })
    }

    /// The step `sample_event`.
    async fn sample(&self, http: &dyn Http, now: Micros) -> Step {
        const STEP: &str = "sample_event";
        let event = sample_event(now);
        let payload = super::payload::payload(&event, event.record.context.as_deref());
        let answer = match http.send(self.batch(&[&payload], now)).await {
            Ok(answer) => answer,
            Err(error) => {
                let host = self.batch_url.host_str().unwrap_or_default();
                return steps::unreachable(host, &error);
            }
        };
        if (200..300).contains(&answer.status) {
            return steps::unprovable(
                STEP,
                "Segment answered 200, as it does for a wrong region too",
                "Look for `Flowstate Connection Tested` in the source's Debugger.",
            );
        }
        let failure = self.failure(&answer, now);
        let remedy = if failure.remedy.is_empty() { "Try again in a few minutes." } else { &failure.remedy };
        steps::failed(STEP, failure.detail.clone(), remedy)
    }
}

fn has_failed(steps: &[Step]) -> bool {
    steps.last().is_some_and(|step| step.state == crate::engine::StepState::Failed)
}

fn sample_event(now: Micros) -> Stored<Event<'static>> {
    let mut event = Event::new(Kind::Track, format!("flowstate-connection-tested-{now}"));
    event.anonymous_id = Some("flowstate-connection-test".into());
    event.event = Some("Flowstate Connection Tested".into());
    event.context = Some(super::hops::mark("{}", 1).into());
    let (partition, source) = (PartitionId("check".into()), "flowstate".into());
    Stored { partition, offset: 0, received_at: now, source, test: true, record: event }
}
