//! The one destination of all events, when the settings name one.

use crate::settings::{Settings, WrongSetting};
use anyhow::Context;
use pipeline::Clock;
use pipeline::control::Control;
use pipeline::log::Log;
use sinks::vendors::segment::Segment;
use sinks::{DeliveryError, Feed, Sink, Worker};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The name under which its cursor and its dead letters are kept.
const DESTINATION: &str = "segment";
/// How long a request under way may take to finish at the end.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The destination of the settings.
pub(super) fn sink(settings: &Settings, clock: &Clock) -> anyhow::Result<Option<Arc<dyn Sink>>> {
    let Some(url) = &settings.forward_to else { return Ok(None) };
    let client = pipeline::egress::client().context("the HTTP client cannot be made")?;
    let segment = Segment::from_url(url.reveal(), client, clock.clone())
        .map_err(|error| WrongSetting::new(format!("setting `forward_to` is wrong: {error}")))?;
    Ok(Some(Arc::new(segment)))
}

/// A worker that is running.
pub(super) struct Forwarding {
    stop: CancellationToken,
    worker: JoinHandle<Result<(), DeliveryError>>,
}

/// Starts to forward, from where the last process ended.
pub(super) fn start(
    sink: Arc<dyn Sink>,
    control: &Arc<dyn Control>,
    log: &Arc<Log>,
    clock: &Clock,
) -> Forwarding {
    let feed: Arc<dyn Feed> = Arc::clone(log) as _;
    let worker = Worker::new(DESTINATION, sink, Arc::clone(control), feed, clock.clone());
    let stop = CancellationToken::new();
    let until = stop.clone();
    let worker = tokio::spawn(async move {
        let outcome = worker.run(until).await;
        if let Err(error) = &outcome {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "forwarding to `{DESTINATION}` has stopped; events are stored as before");
        }
        outcome
    });
    Forwarding { stop, worker }
}

impl Forwarding {
    /// Stops, and waits for the request under way, so that its outcome is kept.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(STOP_MAX, &mut self.worker).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "forwarding to `{DESTINATION}` broke down"),
            Err(_) => {
                self.worker.abort();
                tracing::warn!("a request to `{DESTINATION}` did not end in time; the next start repeats it");
            }
        }
    }
}
