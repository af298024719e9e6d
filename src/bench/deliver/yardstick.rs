//! The yardsticks: the client that Flowstate uses, posting bodies that are already made, and a plain loop
//! that makes them from the log.

use super::fake::Fake;
use super::trial::SEGMENT_KEY;
use crate::bench::load::message_ids;
use crate::bench::log_config;
use anyhow::{Context, bail};
use bytes::Bytes;
use pipeline::Clock;
use pipeline::control::Secret;
use pipeline::egress::{Egress, Http, Policy, Request, TIMEOUT};
use pipeline::log::Log;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;
use sinks::engine::{Account, Mapped, Operation, Sink};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// As many as Flowstate sends to a Segment destination.
pub(super) const REQUESTS_AT_ONCE: usize = 32;

/// What the plain loop puts into one request, and takes from the log at once.
const EVENTS_IN_A_REQUEST: usize = 250;
const EVENTS_READ: usize = 1_000;

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

/// Delivers the log of a stopped server as a plain loop would: it reads, maps and posts with the same
/// reader, sink and client, but keeps no order, no account, and gives up at the first failure. Returns
/// events a second. No engine that delivers what is in the log is faster.
pub(super) fn plain_rate(data: &Path, events: u64) -> anyhow::Result<f64> {
    let fake = Fake::start(Duration::ZERO)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (address, config) = (fake.address, log_config(data)?);
    let seconds = runtime.block_on(async {
        let log = Log::open(config, Clock::system()).await?;
        let egress = Egress::new(Policy::PrivateToo)?;
        let sink = segment()?;
        let limit = sink.manners().endpoints[0].operations_max.min(EVENTS_IN_A_REQUEST);
        let (mut reader, mut posts, mut mapped, mut posted) =
            (log.reader(0), JoinSet::new(), Vec::<Operation>::new(), 0);
        let begun = Instant::now();
        while posted < events {
            let (read, _) = reader.next(EVENTS_READ).await?;
            for event in &read {
                match sink.map(event) {
                    Mapped::Operations(operations) => mapped.extend(operations),
                    Mapped::Skipped(_) => {}
                    Mapped::Refused(failure) => bail!("an event was refused: {}", failure.detail),
                }
            }
            let whole = mapped.len() - mapped.len() % limit;
            let ready = if posted + (mapped.len() as u64) < events { whole } else { mapped.len() };
            let batch: Vec<_> = mapped.drain(..ready).collect();
            for operations in batch.chunks(limit) {
                if posts.len() == REQUESTS_AT_ONCE
                    && let Some(done) = posts.join_next().await
                {
                    done??;
                }
                posted += operations.len() as u64;
                let mut request = sink.request(&operations.iter().collect::<Vec<_>>(), 0);
                request.url = url::Url::parse(&format!("http://{address}{}", request.url.path()))?;
                let egress = egress.clone();
                posts.spawn(async move {
                    match egress.send(request).await?.status {
                        200 => Ok(()),
                        status => bail!("the fake vendor answered {status}"),
                    }
                });
            }
        }
        while let Some(done) = posts.join_next().await {
            done??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        log.close().await?;
        anyhow::Ok(seconds)
    })?;
    fake.wait(events)?;
    Ok(events as f64 / seconds)
}

fn segment() -> anyhow::Result<Arc<dyn Sink>> {
    let settings = json!({ "region": "us" }).as_object().cloned().unwrap_or_default();
    let credentials = BTreeMap::from([(
        "write_key".to_owned(),
        Secret::given(SEGMENT_KEY).context("a key as Segment has them")?,
    )]);
    Ok(sinks::vendors::sink("segment", &Account { settings, credentials })?)
}
