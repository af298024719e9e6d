//! A log, a control store and a sink in memory.

use super::super::*;
use crate::{Events, Limits};
use async_trait::async_trait;
use pipeline::control::{ApiKey, ControlError, Source};
use pipeline::event::Kind;
use pipeline::log::PartitionId;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

pub(super) const START: Micros = 1_768_478_400_000_000;

/// Event `i`: id `m<i>`, offset 10 × i.
pub(super) fn event(i: usize) -> Stored<Event<'static>> {
    Stored {
        partition: partition(),
        offset: i as u64 * 10,
        received_at: START + i as i64,
        source: "web".into(),
        test: false,
        record: Event::new(Kind::Track, format!("m{i}")),
    }
}

pub(super) fn ids(range: Range<usize>) -> Vec<String> {
    range.map(|i| format!("m{i}")).collect()
}

fn partition() -> PartitionId {
    PartitionId("00000000000000aa".into())
}

/// Everything around a worker, which outlives it.
pub(super) struct Bench {
    pub(super) sink: Arc<ScriptedSink>,
    pub(super) control: Arc<MemoryControl>,
    pub(super) clock: Clock,
    events: Arc<Vec<Stored<Event<'static>>>>,
    read_failure: Arc<Mutex<Option<LogError>>>,
    waits: Arc<Mutex<Vec<Duration>>>,
    pauses_left: Arc<AtomicUsize>,
    stop: Mutex<CancellationToken>,
}

impl Bench {
    pub(super) fn new(events: Vec<Stored<Event<'static>>>) -> Self {
        Self {
            sink: Arc::default(),
            control: Arc::default(),
            clock: Clock::given(START),
            events: Arc::new(events),
            read_failure: Arc::default(),
            waits: Arc::default(),
            pauses_left: Arc::new(AtomicUsize::new(usize::MAX)),
            stop: Mutex::default(),
        }
    }

    /// Runs a new worker until it has read everything, or is stopped.
    pub(super) async fn run(&self) {
        let stop = CancellationToken::new();
        *self.stop.lock().unwrap() = stop.clone();
        self.worker().run(stop).await.unwrap();
    }

    pub(super) fn worker(&self) -> Worker {
        let (events, failure) = (Arc::clone(&self.events), Arc::clone(&self.read_failure));
        let stop = self.stop.lock().unwrap().clone();
        let end = stop.clone();
        let feed = Arc::new(MemoryFeed { partition: partition(), events, failure, end });
        let (waits, left) = (Arc::clone(&self.waits), Arc::clone(&self.pauses_left));
        let clock = self.clock.clone();
        let wait: Wait = Box::new(move |delay| {
            waits.lock().unwrap().push(delay);
            clock.advance(delay.as_micros() as i64);
            if left.fetch_sub(1, SeqCst) == 1 && !stop.is_cancelled() {
                stop.cancel();
                return Box::pin(std::future::pending());
            }
            Box::pin(async {})
        });
        let sink: Arc<dyn Sink> = Arc::<ScriptedSink>::clone(&self.sink);
        let control: Arc<dyn Control> = Arc::<MemoryControl>::clone(&self.control);
        Worker::new("shop", sink, control, feed, self.clock.clone()).with_retry(Retry::default(), wait, 7)
    }

    pub(super) fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }

    pub(super) fn stop_at_pause(&self) {
        self.stop_at_pauses(1);
    }

    /// Stops the worker in its `count`th pause from now.
    pub(super) fn stop_at_pauses(&self, count: usize) {
        self.pauses_left.store(count, SeqCst);
    }

    pub(super) fn fail_read(&self, error: LogError) {
        *self.read_failure.lock().unwrap() = Some(error);
    }
}

struct MemoryFeed {
    partition: PartitionId,
    events: Arc<Vec<Stored<Event<'static>>>>,
    failure: Arc<Mutex<Option<LogError>>>,
    end: CancellationToken,
}

impl Feed for MemoryFeed {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn end(&self) -> Offset {
        self.events.len() as u64 * 10
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        let (events, failure) = (Arc::clone(&self.events), Arc::clone(&self.failure));
        Box::new(MemoryEvents { events, failure, from, end: self.end.clone() })
    }
}

struct MemoryEvents {
    events: Arc<Vec<Stored<Event<'static>>>>,
    failure: Arc<Mutex<Option<LogError>>>,
    from: Offset,
    end: CancellationToken,
}

#[async_trait]
impl Events for MemoryEvents {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        if let Some(error) = self.failure.lock().unwrap().take() {
            return Err(error);
        }
        let read: Vec<_> =
            self.events.iter().filter(|event| event.offset >= self.from).take(max).cloned().collect();
        let Some(last) = read.last() else {
            self.end.cancel();
            return std::future::pending().await;
        };
        self.from = last.offset + 10;
        Ok((read, self.from))
    }
}

/// Answers as told, then takes everything but what it refuses.
#[derive(Default)]
pub(super) struct ScriptedSink {
    script: Mutex<VecDeque<Outcome>>,
    hangs: AtomicBool,
    refused: Mutex<HashSet<String>>,
    sent: Mutex<Vec<Vec<String>>>,
    delivered: Mutex<Vec<String>>,
}

impl ScriptedSink {
    pub(super) fn answer(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.script.lock().unwrap().extend(outcomes);
    }

    /// Lets the next request never come to an outcome.
    pub(super) fn hang_once(&self) {
        self.hangs.store(true, SeqCst);
    }

    pub(super) fn refuse(&self, ids: &[&str]) {
        self.refused.lock().unwrap().extend(ids.iter().map(ToString::to_string));
    }

    pub(super) fn sent(&self) -> Vec<Vec<String>> {
        self.sent.lock().unwrap().clone()
    }

    /// What was taken, by first arrival, without repeats.
    pub(super) fn delivered(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        self.delivered.lock().unwrap().iter().filter(|id| seen.insert(*id)).cloned().collect()
    }
}

#[async_trait]
impl Sink for ScriptedSink {
    fn integration(&self) -> &'static str {
        "Vendor"
    }

    fn limits(&self) -> Limits {
        Limits { events_max: 4, batch_bytes_max: 500, event_bytes_max: 100 }
    }

    fn payload(&self, event: &Stored<Event<'static>>) -> Bytes {
        event.record.message_id.clone().into_owned().into()
    }

    async fn send(&self, payloads: &[Bytes]) -> Outcome {
        let ids: Vec<String> = payloads.iter().map(|id| String::from_utf8(id.to_vec()).unwrap()).collect();
        self.sent.lock().unwrap().push(ids.clone());
        if self.hangs.swap(false, SeqCst) {
            return std::future::pending().await;
        }
        let told = self.script.lock().unwrap().pop_front().unwrap_or(Outcome::Delivered);
        if told != Outcome::Delivered {
            return told;
        }
        if let Some(bad) = ids.iter().find(|id| self.refused.lock().unwrap().contains(*id)) {
            return Outcome::Refused { status: 400, reason: format!("`{bad}` is bad") };
        }
        self.delivered.lock().unwrap().extend(ids);
        Outcome::Delivered
    }
}

/// The part of a control store that a worker uses.
pub(super) struct MemoryControl {
    cursor: Mutex<Option<Offset>>,
    dead: Mutex<Vec<DeadLetter>>,
    settles: AtomicUsize,
    fail_from: AtomicUsize,
}

impl Default for MemoryControl {
    fn default() -> Self {
        let fail_from = AtomicUsize::new(usize::MAX);
        Self { cursor: Mutex::default(), dead: Mutex::default(), settles: AtomicUsize::new(0), fail_from }
    }
}

impl MemoryControl {
    pub(super) fn cursor(&self) -> Option<Offset> {
        *self.cursor.lock().unwrap()
    }

    pub(super) fn dead(&self) -> Vec<DeadLetter> {
        self.dead.lock().unwrap().clone()
    }

    /// Lets settlement number `count`, from 1, and all after it fail.
    pub(super) fn fail_settle_from(&self, count: usize) {
        self.fail_from.store(count, SeqCst);
    }
}

#[async_trait]
impl Control for MemoryControl {
    async fn cursor(&self, _: &str, _: &PartitionId) -> Result<Option<Offset>, ControlError> {
        Ok(*self.cursor.lock().unwrap())
    }

    async fn settle(
        &self,
        _: &str,
        _: &PartitionId,
        next: Offset,
        dead: &[DeadLetter],
    ) -> Result<(), ControlError> {
        if self.settles.fetch_add(1, SeqCst) + 1 >= self.fail_from.load(SeqCst) {
            return Err(ControlError::Invalid("told to fail".into()));
        }
        let mut cursor = self.cursor.lock().unwrap();
        assert!(cursor.is_none_or(|cursor| cursor < next), "the cursor only moves forward");
        *cursor = Some(next);
        self.dead.lock().unwrap().extend_from_slice(dead);
        Ok(())
    }

    async fn add_source(&self, _: Source) -> Result<(), ControlError> {
        unreachable!("a worker adds no source")
    }

    async fn sources(&self) -> Result<Vec<Source>, ControlError> {
        unreachable!("a worker asks for no sources")
    }

    async fn set_source_enabled(&self, _: &str, _: bool) -> Result<(), ControlError> {
        unreachable!("a worker changes no source")
    }

    async fn version(&self) -> Result<i64, ControlError> {
        unreachable!("a worker asks for no version")
    }

    async fn add_api_key(&self, _: ApiKey) -> Result<(), ControlError> {
        unreachable!("a worker adds no key")
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, ControlError> {
        unreachable!("a worker asks for no keys")
    }

    async fn dead_letters(&self, _: &str, _: u32) -> Result<Vec<DeadLetter>, ControlError> {
        Ok(self.dead())
    }
}
