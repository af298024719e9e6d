//! Delivery of one partition's events to one destination.

mod cut;
#[cfg(test)]
mod tests;
mod watch;

use crate::engine::selection::include;
use crate::{Feed, Outcome, Retry, Sink};
use bytes::Bytes;
use cut::cut;
use futures::future::BoxFuture;
use pipeline::control::{Control, DeadLetter};
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, Stored};
use pipeline::{Clock, Micros};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use watch::Watch;

/// How long a request under way may still take once the worker is to stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// Lets time pass. The default is the runtime's timer; a test does as it likes.
pub type Wait = Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Why a worker stopped of its own accord.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The log cannot be read on from the cursor; going on would leave events out in silence.
    #[error("delivery to `{destination}` stopped at offset {cursor}")]
    Log {
        /// The destination's name.
        destination: String,
        /// The first event that was not decided.
        cursor: Offset,
        /// What the log said.
        #[source]
        source: LogError,
    },
}

/// Forwards every event of one partition to one destination, from the first one stored.
///
/// 1. **At least once.** The cursor moves only after the destination has taken or refused an event,
///    so a crash repeats the last batch at most, with the same ids.
/// 2. **In order.** One request at a time, in offset order; a retry comes before anything newer.
/// 3. **Never given up.** A destination that fails, throttles or refuses our credential stops its
///    cursor and nothing else, for as long as it takes.
/// 4. **Refused events are kept.** A refused batch is split until the event that is refused by
///    itself is found; it becomes a [`DeadLetter`], the others are delivered.
///
/// Events of test sources, and those whose `integrations` object leaves the destination out, are
/// passed over and counted.
pub struct Worker {
    destination: String,
    sink: Arc<dyn Sink>,
    control: Arc<dyn Control>,
    feed: Arc<dyn Feed>,
    clock: Clock,
    retry: Retry,
    wait: Wait,
    random: StdRng,
    watch: Watch,
}

/// An event on its way.
struct Item {
    offset: Offset,
    received_at: Micros,
    message_id: String,
    payload: Bytes,
}

impl Worker {
    /// A worker for the events of `feed`, whose cursor is kept under the name `destination`.
    pub fn new(
        destination: &str,
        sink: Arc<dyn Sink>,
        control: Arc<dyn Control>,
        feed: Arc<dyn Feed>,
        clock: Clock,
    ) -> Self {
        Self {
            destination: destination.to_owned(),
            sink,
            control,
            feed,
            random: StdRng::seed_from_u64(clock.now().unsigned_abs()),
            clock,
            retry: Retry::default(),
            wait: Box::new(|delay| Box::pin(tokio::time::sleep(delay))),
            watch: Watch::new(destination),
        }
    }

    /// Takes these delays, this way to wait, and this seed for jitter.
    #[must_use]
    pub fn with_retry(self, retry: Retry, wait: Wait, seed: u64) -> Self {
        Self { retry, wait, random: StdRng::seed_from_u64(seed), ..self }
    }

    /// Delivers until `stop`, which ends a pause at once. A request under way has [`GRACE`] to come to
    /// its outcome; one that takes longer is sent again after the next start.
    ///
    /// # Errors
    /// [`DeliveryError::Log`] when the log is damaged. Every other failure is waited out.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DeliveryError> {
        let Some(mut cursor) = self.cursor(&stop).await else { return Ok(()) };
        let mut events = self.feed.open(cursor);
        let mut failures = 0;
        loop {
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                read = events.next(self.sink.limits().events_max) => read,
            };
            match read {
                Ok((read, next)) => {
                    failures = 0;
                    if self.deliver(read, cursor, next, &stop).await.is_break() {
                        return Ok(());
                    }
                    cursor = next;
                }
                Err(source @ LogError::Store { .. }) => {
                    failures += 1;
                    if self.pause("the log could not be read", &source, failures, &stop).await.is_break() {
                        return Ok(());
                    }
                    events = self.feed.open(cursor);
                }
                Err(source) => {
                    return Err(DeliveryError::Log { destination: self.destination, cursor, source });
                }
            }
        }
    }

    /// Where to begin; `None` when stopped before the control store answered.
    async fn cursor(&mut self, stop: &CancellationToken) -> Option<Offset> {
        let mut failures = 0;
        loop {
            match self.control.cursor(&self.destination, self.feed.partition()).await {
                Ok(cursor) => return Some(cursor.unwrap_or(0)),
                Err(error) => {
                    failures += 1;
                    let paused = self.pause("the cursor could not be read", &error, failures, stop).await;
                    if paused.is_break() {
                        return None;
                    }
                }
            }
        }
    }

    /// Decides the events read at `cursor`, up to `next`.
    async fn deliver(
        &mut self,
        read: Vec<Stored<Event<'static>>>,
        cursor: Offset,
        next: Offset,
        stop: &CancellationToken,
    ) -> ControlFlow<()> {
        let count = read.len();
        let items: Vec<Item> = read.iter().filter(|event| self.wants(event)).map(|e| self.item(e)).collect();
        self.watch.excluded(count - items.len());
        if items.is_empty() {
            return if next > cursor { self.settle(next, &[], stop).await } else { Continue(()) };
        }
        let sizes: Vec<usize> = items.iter().map(|item| item.payload.len()).collect();
        let mut requests = VecDeque::from(cut(&sizes, &self.sink.limits()));
        while let Some(range) = requests.pop_front() {
            let outcome = self.send(&items[range.clone()], stop).await?;
            let after = items.get(range.end).map_or(next, |item| item.offset);
            match outcome {
                Outcome::Refused { .. } if range.len() > 1 => {
                    let [left, right] = halves(range);
                    requests.push_front(right);
                    requests.push_front(left);
                    continue;
                }
                Outcome::Refused { status, ref reason } => {
                    let dead = self.dead_letter(&items[range.start], status, reason);
                    self.settle(after, &[dead], stop).await?;
                }
                _ => self.settle(after, &[], stop).await?,
            }
            self.watch.decided(&outcome, range.len());
            self.watch.oldest(items.get(range.end).map(|item| item.received_at), self.clock.now());
            self.watch.behind(self.feed.end().saturating_sub(after));
        }
        Continue(())
    }

    fn wants(&self, event: &Stored<Event<'static>>) -> bool {
        let names = [self.sink.integration(), &self.destination];
        !event.test && include(event.record.integrations.as_deref(), &names, false)
    }

    fn item(&self, event: &Stored<Event<'static>>) -> Item {
        Item {
            offset: event.offset,
            received_at: event.received_at,
            message_id: event.record.message_id.clone().into_owned(),
            payload: self.sink.payload(event),
        }
    }

    /// Sends one request again and again until the destination has taken or refused it.
    async fn send(&mut self, items: &[Item], stop: &CancellationToken) -> ControlFlow<(), Outcome> {
        if let Some(refused) = self.too_large(items) {
            return Continue(refused);
        }
        let payloads: Vec<Bytes> = items.iter().map(|item| item.payload.clone()).collect();
        let mut failures = 0;
        loop {
            self.watch.oldest(items.first().map(|item| item.received_at), self.clock.now());
            let outcome = tokio::select! {
                biased;
                outcome = self.sink.send(&payloads) => outcome,
                () = self.grace(stop) => return Break(()),
            };
            failures += 1;
            let delay = match outcome {
                Outcome::Delivered | Outcome::Refused { .. } => return Continue(outcome),
                Outcome::Unauthorized { .. } => self.retry.hold,
                Outcome::RateLimited { retry_after } | Outcome::Unavailable { retry_after, .. } => {
                    self.retry.delay(failures, retry_after, &mut self.random)
                }
                Outcome::TimedOut => self.retry.delay(failures, None, &mut self.random),
            };
            self.watch.retried(&outcome, delay);
            self.sleep(delay, stop).await?;
        }
    }

    /// The refusal of an event that the vendor's own rules exclude, so that it need not be asked.
    fn too_large(&self, items: &[Item]) -> Option<Outcome> {
        let limit = self.sink.limits().event_bytes_max;
        let [Item { payload, .. }] = items else { return None };
        (payload.len() > limit).then(|| Outcome::Refused {
            status: 413,
            reason: format!(
                "the event has {} bytes, the destination takes {limit}; it was not sent",
                payload.len()
            ),
        })
    }

    fn dead_letter(&self, item: &Item, status: u16, reason: &str) -> DeadLetter {
        DeadLetter {
            destination: self.destination.clone(),
            partition: self.feed.partition().clone(),
            offset: item.offset,
            message_id: item.message_id.clone(),
            status,
            reason: reason.to_owned(),
            at: self.clock.now(),
        }
    }

    /// Moves the cursor, however long the control store takes: nothing newer is sent before.
    async fn settle(
        &mut self,
        next: Offset,
        dead: &[DeadLetter],
        stop: &CancellationToken,
    ) -> ControlFlow<()> {
        let mut failures = 0;
        while let Err(error) = self.control.settle(&self.destination, self.feed.partition(), next, dead).await
        {
            failures += 1;
            self.pause("the cursor could not be moved", &error, failures, stop).await?;
        }
        Continue(())
    }

    /// Waits after a failure of our own.
    async fn pause(
        &mut self,
        what: &str,
        error: &(dyn std::error::Error + Sync),
        failures: u32,
        stop: &CancellationToken,
    ) -> ControlFlow<()> {
        let delay = self.retry.delay(failures, None, &mut self.random);
        let name = &self.destination;
        tracing::warn!(destination = name, error = %error, "delivery to `{name}` waits: {what}");
        self.sleep(delay, stop).await
    }

    async fn grace(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        (self.wait)(GRACE).await;
    }

    async fn sleep(&self, delay: Duration, stop: &CancellationToken) -> ControlFlow<()> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Break(()),
            () = (self.wait)(delay) => Continue(()),
        }
    }
}

fn halves(range: Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [range.start..middle, middle..range.end]
}
