//! Replays: lanes of their own over the past, one for each replay that is running.

use super::destination::{self, Template};
use super::history::Counted;
use super::{Parts, Service, ServiceError};
use crate::engine::Ended;
use crate::{Events, Feed};
use async_trait::async_trait;
use pipeline::condition::Condition;
use pipeline::connection::{Only, Replay, ReplayCounts, ReplaySpec, ReplayState};
use pipeline::delivery::lane_store::{DEAD_MAX, DeadFilter};
use pipeline::event::Event;
use pipeline::log::{Log, LogError, Offset, PartitionId, Stored};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What a replay would look at and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Events that it would look at.
    pub scanned: u64,
    /// Of those, events that meet its condition.
    pub matched: u64,
    /// Of those, events that would become dead letters because they happened too long ago.
    pub too_old: u64,
    /// Whether the figures are exact.
    pub exact: bool,
    /// How long it would take, in seconds, where a rate says so.
    pub seconds: Option<u64>,
}

/// A replay that is running.
pub(super) struct Running {
    parts: Arc<Parts>,
    lane: destination::Running,
    replay: Replay,
    /// The events it is to send, where only those that failed are.
    failed: Option<BTreeSet<Offset>>,
    started: tokio::time::Instant,
}

impl Running {
    /// Stops its lane, waits for it, and keeps how far it came.
    pub(super) async fn stop(self) {
        let Self { parts, lane, replay, .. } = self;
        let (tally, waiting) = (Arc::clone(&lane.tally), lane.handle.status.borrow().parked as u64);
        lane.stop().await;
        let counts = counts(&replay, tally.counts(), waiting);
        let store = parts.connections.store();
        if let Err(error) = store.count_replay(&replay.id, counts, parts.clock.now()).await {
            tracing::warn!(%error, replay.id = %replay.id, "how far a replay is could not be kept");
        }
    }

    fn counts(&self) -> ReplayCounts {
        let waiting = self.lane.handle.status.borrow().parked as u64;
        counts(&self.replay, self.lane.tally.counts(), waiting)
    }

    fn remaining(&self) -> Option<u64> {
        remaining(self.replay.counts, self.counts(), self.started.elapsed())
    }
}

/// How long the rest takes, in seconds, if it goes on as between these two counts.
fn remaining(start: ReplayCounts, now: ReplayCounts, elapsed: Duration) -> Option<u64> {
    let decided = now.scanned.saturating_sub(start.scanned);
    let left = now.total.saturating_sub(now.scanned);
    (decided > 0).then(|| (left as f64 / decided as f64 * elapsed.as_secs_f64()).ceil() as u64)
}

/// How far a replay is: what was kept at its start, and what its lane has decided since.
fn counts(replay: &Replay, [delivered, dead, left_out]: [u64; 3], waiting: u64) -> ReplayCounts {
    let before = replay.counts;
    let matched = before.sent + before.failed + delivered + dead + waiting;
    ReplayCounts {
        scanned: (before.scanned - before.matched) + left_out + matched,
        matched,
        sent: before.sent + delivered,
        failed: before.failed + dead,
        total: before.total,
    }
}

impl Service {
    /// Starts the replays that are to run and stops those that are not.
    pub(super) async fn follow_replays(&self) -> Result<(), ServiceError> {
        let store = self.parts.connections.store();
        let open = store.open_replays().await?;
        let is_to_run = |id: &str| open.iter().any(|r| *r.id == *id && r.state == ReplayState::Running);
        let mut stopped = Vec::new();
        for destination in self.lock().values_mut() {
            let ids: Vec<_> = destination.replays.keys().filter(|id| !is_to_run(id)).cloned().collect();
            stopped.extend(ids.into_iter().filter_map(|id| destination.replays.remove(&id)));
        }
        for replay in stopped {
            replay.stop().await;
        }
        for replay in open.into_iter().filter(|replay| replay.state == ReplayState::Running) {
            self.start_replay(replay).await?;
        }
        Ok(())
    }

    /// Starts a replay whose connection is delivered to; otherwise it waits for that.
    async fn start_replay(&self, replay: Replay) -> Result<(), ServiceError> {
        let template = match self.lock().get(&replay.connection) {
            Some(destination) if !destination.replays.contains_key(&replay.id) => {
                Arc::clone(&destination.template)
            }
            _ => return Ok(()),
        };
        let id = Arc::clone(&replay.id);
        match Running::start(&template, replay).await {
            Ok(running) => {
                if let Some(destination) = self.lock().get_mut(&*running.replay.connection) {
                    destination.replays.insert(id, running);
                }
                Ok(())
            }
            Err(ServiceError::Refused(why)) => {
                let (store, now) = (self.parts.connections.store(), self.parts.clock.now());
                store.set_replay_state(&id, ReplayState::Failed, Some(&why), now).await?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps how far replays are, and ends those that have ended.
    pub(super) async fn look_after_replays(&self) {
        let (mut counts, mut ended) = (Vec::new(), Vec::new());
        for destination in self.lock().values_mut() {
            counts.extend(destination.replays.values().map(|r| (Arc::clone(&r.replay.id), r.counts())));
            let ids: Vec<_> = destination
                .replays
                .iter()
                .filter(|(_, r)| r.lane.task.is_finished())
                .map(|(id, _)| Arc::clone(id))
                .collect();
            ended.extend(ids.into_iter().filter_map(|id| destination.replays.remove(&id)));
        }
        let (store, now) = (self.parts.connections.store(), self.parts.clock.now());
        for (id, counts) in counts {
            if let Err(error) = store.count_replay(&id, counts, now).await {
                tracing::warn!(%error, replay.id = %id, "how far a replay is could not be kept");
            }
        }
        for running in ended {
            if let Err(error) = self.end_replay(running).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the end of a replay could not be kept; it goes on at the next start");
            }
        }
    }

    async fn end_replay(&self, running: Running) -> Result<(), ServiceError> {
        let Running { lane, replay, failed, .. } = running;
        let (store, now) = (self.parts.connections.store(), self.parts.clock.now());
        let (state, error) = match lane.task.await {
            Ok(Ended::Finished) => (ReplayState::Done, None),
            Ok(Ended::Stopped) => return Ok(()),
            Ok(Ended::Journal(error)) => (ReplayState::Failed, Some(error.to_string())),
            Ok(Ended::Log(error)) => (ReplayState::Failed, Some(error.to_string())),
            Err(error) => (ReplayState::Failed, Some(error.to_string())),
        };
        if let (ReplayState::Done, Some(offsets)) = (state, failed) {
            let lane = pipeline::delivery::LaneId {
                destination: Arc::clone(&replay.connection),
                partition: self.parts.log.partition().clone(),
                replay: None,
            };
            // Those that failed again are dead letters of the replay's own lane.
            self.parts.lanes.resolve(&lane, &offsets.into_iter().collect::<Vec<_>>()).await?;
        }
        store.set_replay_state(&replay.id, state, error.as_deref(), now).await?;
        Ok(())
    }

    /// What a replay would look at and send, and how long that would take.
    ///
    /// # Errors
    /// When the connection or the log cannot be read.
    pub async fn estimate(&self, connection: &str, spec: &ReplaySpec) -> Result<Estimate, ServiceError> {
        let connection = self.connection(connection).await?;
        let sink = self.parts.sink(&connection)?;
        let oldest = sink.manners().event_age_max.map(|most| self.parts.clock.now().saturating_sub(most));
        let counted = self.parts.history.count(spec, oldest).await.map_err(ServiceError::History)?;
        let Counted { scanned, mut matched, too_old } = counted;
        if spec.only == Only::Failed {
            let filter = DeadFilter { limit: DEAD_MAX, ..DeadFilter::default() };
            let dead = self.parts.lanes.dead(&connection.id, &filter).await?;
            matched = matched.min(dead.kept);
        }
        let too_old = too_old.min(matched);
        let rates = sink.manners().rates.iter().filter(|rate| rate.operations);
        let rates = rates.map(|rate| rate.amount / rate.per.as_secs_f64());
        let slowest = rates.chain(spec.rate).chain(connection.routing.rate_cap).reduce(f64::min);
        let seconds = slowest.map(|rate| ((matched - too_old) as f64 / rate).ceil() as u64);
        Ok(Estimate { scanned, matched, too_old, exact: spec.only == Only::All, seconds })
    }

    /// How long a replay will still take at the pace it has had since it was started or resumed, in
    /// seconds; `None` while that cannot be told, and where it does not run.
    pub fn remaining(&self, replay: &str) -> Option<u64> {
        self.lock().values().find_map(|destination| destination.replays.get(replay))?.remaining()
    }
}

impl Running {
    async fn start(template: &Template, mut replay: Replay) -> Result<Self, ServiceError> {
        let (parts, spec) = (&template.parts, &replay.spec);
        let start = match spec.from {
            Some(from) => template.offset_at(from).await?,
            None => 0,
        };
        let end = template.offset_at(spec.to.unwrap_or(replay.created_at)).await?;
        let compile = |text: &String| {
            parts.compiler.compile(text).map_err(|error| ServiceError::Refused(error.to_string()))
        };
        let mut conditions: Vec<Arc<dyn Condition>> =
            spec.condition.iter().map(compile).collect::<Result<_, _>>()?;
        let failed = match spec.only {
            Only::All => None,
            Only::Failed => Some(failed(template, start..end).await?),
        };
        conditions.extend(failed.clone().map(|offsets| Arc::new(OneOf(offsets)) as Arc<dyn Condition>));
        let condition: Option<Arc<dyn Condition>> =
            (!conditions.is_empty()).then(|| Arc::new(All(conditions)) as _);
        if replay.counts.total == 0 {
            replay.counts.total =
                parts.history.count(spec, None).await.map_err(ServiceError::History)?.scanned;
        }
        let lane = template.lane(Some(Arc::clone(&replay.id)));
        let state = template.recover(&lane, start).await?;
        let log: Arc<dyn Feed> = Arc::clone(&parts.log) as _;
        let feed = match spec.rate {
            None => log,
            Some(rate) => Arc::new(Paced { log: Arc::clone(&parts.log), condition: condition.clone(), rate }),
        };
        let lane = template.run(state, feed, template.selection_with(condition)?, Some(end))?;
        let started = tokio::time::Instant::now();
        Ok(Self { parts: Arc::clone(parts), lane, replay, failed, started })
    }
}

/// The dead events of the live lane within a range.
async fn failed(
    template: &Template,
    range: std::ops::Range<Offset>,
) -> Result<BTreeSet<Offset>, ServiceError> {
    let live = template.lane(None);
    let mut filter = DeadFilter { limit: DEAD_MAX, ..DeadFilter::default() };
    let mut offsets = BTreeSet::new();
    loop {
        let page = template.parts.lanes.dead(&live.destination, &filter).await?;
        let here = page.dead.iter().filter(|dead| dead.lane == live && range.contains(&dead.offset));
        offsets.extend(here.map(|dead| dead.offset));
        match page.next_key {
            Some(key) => filter.after_key = Some(key),
            None => return Ok(offsets),
        }
    }
}

/// Meets all of several conditions.
pub(super) struct All(pub(super) Vec<Arc<dyn Condition>>);

impl Condition for All {
    fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String> {
        let mut held = vec![true; events.len()];
        for condition in &self.0 {
            for (held, this) in held.iter_mut().zip(condition.holds(events)?) {
                *held &= this;
            }
        }
        Ok(held)
    }
}

/// Is one of these events.
struct OneOf(BTreeSet<Offset>);

impl Condition for OneOf {
    fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String> {
        Ok(events.iter().map(|event| self.0.contains(&event.offset)).collect())
    }
}

/// The log, no faster than so many selected events in a second.
struct Paced {
    log: Arc<Log>,
    condition: Option<Arc<dyn Condition>>,
    rate: f64,
}

struct PacedEvents {
    events: Box<dyn Events>,
    condition: Option<Arc<dyn Condition>>,
    rate: f64,
    not_before: tokio::time::Instant,
}

impl Feed for Paced {
    fn partition(&self) -> &PartitionId {
        self.log.partition()
    }

    fn end(&self) -> Offset {
        Feed::end(&*self.log)
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        Box::new(PacedEvents {
            events: self.log.open(from),
            condition: self.condition.clone(),
            rate: self.rate,
            not_before: tokio::time::Instant::now(),
        })
    }
}

#[async_trait]
impl Events for PacedEvents {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        tokio::time::sleep_until(self.not_before).await;
        // A tenth of a second's worth at once, so that the pace is even.
        let most = (self.rate / 10.0).ceil().max(1.0) as usize;
        let read = self.events.next(max.min(most)).await?;
        let selected = match &self.condition {
            None => read.0.len(),
            // What cannot be evaluated is decided by the lane; here it counts as selected.
            Some(condition) => condition
                .holds(&read.0)
                .map_or(read.0.len(), |held| held.into_iter().filter(|held| *held).count()),
        };
        self.not_before = tokio::time::Instant::now() + Duration::from_secs_f64(selected as f64 / self.rate);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done_since_the_start() {
        let at = |scanned| ReplayCounts { scanned, total: 1_000, ..ReplayCounts::default() };
        let ten = Duration::from_secs(10);
        assert_eq!(remaining(at(200), at(400), ten), Some(30), "what was done before a pause is no measure");
        assert_eq!(remaining(at(0), at(1_000), ten), Some(0));
        assert_eq!(remaining(at(200), at(200), ten), None);
        assert_eq!(remaining(at(0), at(1_200), ten), Some(0), "the total is an estimate");
    }
}
