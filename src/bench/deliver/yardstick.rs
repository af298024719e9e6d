//! The yardstick: the client that Flowstate uses, posting bodies that are already made.

use super::fake::Fake;
use crate::bench::load::message_ids;
use anyhow::bail;
use bytes::Bytes;
use pipeline::egress::{Egress, Http, Policy, Request, TIMEOUT};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// As many as Flowstate sends to a Segment destination.
pub(super) const REQUESTS_AT_ONCE: usize = 32;

/// Posts these bodies again and again until so many events were sent; returns events a second.
pub(super) fn rate(bodies: &[Bytes], events: u64) -> anyhow::Result<f64> {
    let sizes = bodies.iter().map(|body| std::str::from_utf8(body).map(|text| message_ids(text).count()));
    let sizes: Vec<usize> = sizes.collect::<Result<_, _>>()?;
    if sizes.iter().sum::<usize>() == 0 {
        bail!("there are no bodies to post");
    }
    let fake = Fake::start(Duration::ZERO)?;
    let bodies: Arc<[(Bytes, usize)]> = bodies.iter().cloned().zip(sizes).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let egress = Egress::new(Policy::PrivateToo)?;
        let url = url::Url::parse(&format!("http://{}/v1/batch", fake.address))?;
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, HeaderValue::from_static("Basic YmVuY2g6")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let (next, sent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let begun = Instant::now();
        let mut posters = JoinSet::new();
        for _ in 0..REQUESTS_AT_ONCE {
            let (egress, url, headers) = (egress.clone(), url.clone(), headers.clone());
            let (bodies, next, sent) = (Arc::clone(&bodies), Arc::clone(&next), Arc::clone(&sent));
            posters.spawn(async move {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed) as usize % bodies.len();
                    let (body, size) = &bodies[nth];
                    if sent.fetch_add(*size as u64, Ordering::Relaxed) >= events {
                        sent.fetch_sub(*size as u64, Ordering::Relaxed);
                        return Ok(());
                    }
                    let (url, headers, body) = (url.clone(), headers.clone(), body.clone());
                    let request = Request { method: Method::POST, url, headers, body, timeout: TIMEOUT };
                    let answer = egress.send(request).await?;
                    if answer.status != 200 {
                        bail!("the fake vendor answered {}", answer.status);
                    }
                }
            });
        }
        while let Some(poster) = posters.join_next().await {
            poster??;
        }
        let (sent, seconds) = (sent.load(Ordering::Relaxed), begun.elapsed().as_secs_f64());
        fake.wait(sent)?; // Every 200 was to a body that was read.
        Ok(sent as f64 / seconds)
    })
}
