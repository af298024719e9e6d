//! How far a receiver of webhooks can be proven: on demand it is sent a signed `flowstate.test`.

use super::{TIMEOUT, Webhook, moved};
use crate::engine::Step;
use crate::vendors::{answer, steps};
use bytes::Bytes;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::egress::{Http, Request};
use pipeline::event::format_timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;

/// Whether anybody answers and, with a sample, what a receiver makes of a signed request.
pub(super) async fn steps(sink: &Webhook, http: &dyn Http, now: Micros, sample: bool) -> Vec<Step> {
    let host = sink.url.host_str().unwrap_or_default();
    if !sample {
        return match http.send(bare(sink)).await {
            Ok(answer) => vec![
                steps::passed("reachable", format!("{host} answered {}", answer.status)),
                steps::unprovable(
                    "authenticated",
                    "nothing signed was sent",
                    "Test again with a sample event.",
                ),
                steps::skipped("sample_event", "no event was sent"),
            ],
            Err(error) => vec![steps::unreachable(host, &error)],
        };
    }
    let id = format!("flowstate_test_{}", now / SECOND);
    let body = json!({"type": "flowstate.test", "messageId": id, "timestamp": format_timestamp(now)});
    let answer = match http.send(sink.post(&id, body.to_string().into(), now)).await {
        Ok(answer) => answer,
        Err(error) => return vec![steps::unreachable(host, &error)],
    };
    let found = answer::failure(&answer, now).detail;
    if (300..400).contains(&answer.status) {
        return vec![steps::failed("reachable", found, moved(&answer))];
    }
    let reachable = steps::passed("reachable", format!("{host} answered {}", answer.status));
    let rest = match answer.status {
        200..=299 => vec![
            steps::unprovable(
                "authenticated",
                "the receiver took a signed request; whether it verified the signature, it alone knows",
                "Look in the receiver's log, and send it a request without a signature: it has to refuse it.",
            ),
            steps::passed("sample_event", format!("`flowstate.test` was taken with {}", answer.status)),
        ],
        401 | 403 => vec![steps::failed(
            "authenticated",
            found,
            "Give the receiver this destination's signing secret, and check that its clock is right.",
        )],
        404 | 405 | 410 => {
            let remedy = "Check the path of the address: it has to take POST requests.";
            vec![steps::failed("object_exists", found, remedy)]
        }
        _ => {
            let remedy = "Look in the receiver's log: it has to answer 2xx to any signed request.";
            vec![steps::failed("sample_event", found, remedy)]
        }
    };
    [vec![reachable], rest].concat()
}

/// A request that means nothing: any answer to it shows that somebody listens.
fn bare(sink: &Webhook) -> Request {
    Request {
        method: Method::HEAD,
        url: sink.url.clone(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: TIMEOUT,
    }
}
