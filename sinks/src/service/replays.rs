//! Replays: lanes of their own over the past. A replay goes through one partition after the other, those of
//! other nodes too, as far as they are committed when it comes to them.

use super::destination::{self, Template};
use super::history::Counted;
use super::paced::Paced;
use super::{Service, ServiceError};
use crate::Feed;
use crate::engine::Ended;
use pipeline::condition::Condition;
use pipeline::connection::{Only, Replay, ReplayCounts, ReplaySpec, ReplayState};
use pipeline::delivery::lane_store::{DEAD_MAX, DeadFilter};
use pipeline::event::Event;
use pipeline::log::{Offset, PartitionId, Stored};
use std::collections::{BTreeSet, VecDeque};
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
    template: Arc<Template>,
    replay: Replay,
    conditions: Vec<Arc<dyn Condition>>,
    /// The partition that it is in; `None` between two and at the end.
    through: Option<Through>,
    left: VecDeque<PartitionId>,
    /// Events delivered, given up and left out in the partitions before.
    before: [u64; 3],
    started: tokio::time::Instant,
}

/// A replay's way through one partition.
struct Through {
    lane: destination::Running,
    partition: PartitionId,
    /// The events it is to send, where only those that failed are.
    failed: Option<BTreeSet<Offset>>,
}

impl Running {
    /// Stops its lane, waits for it, and keeps how far it came.
    pub(super) async fn stop(mut self) {
        let waiting = self.waiting();
        if let Some(Through { lane, .. }) = self.through.take() {
            let tally = Arc::clone(&lane.tally);
            lane.stop().await;
            self.before = sum(self.before, tally.counts());
        }
        let counts = counts(&self.replay, self.before, waiting);
        let parts = &self.template.parts;
        let store = parts.connections.store();
        if let Err(error) = store.count_replay(&self.replay.id, counts, parts.clock.now()).await {
            tracing::warn!(%error, replay.id = %self.replay.id, "how far a replay is could not be kept");
        }
    }

    fn counts(&self) -> ReplayCounts {
        let here = self.through.as_ref().map_or([0; 3], |through| through.lane.tally.counts());
        counts(&self.replay, sum(self.before, here), self.waiting())
    }

    fn waiting(&self) -> u64 {
        let through = self.through.as_ref();
        through.map_or(0, |through| through.lane.handle.status.borrow().parked as u64)
    }

    fn is_over(&self) -> bool {
        self.through.as_ref().is_none_or(|through| through.lane.task.is_finished())
    }

    fn remaining(&self) -> Option<u64> {
        remaining(self.replay.counts, self.counts(), self.started.elapsed())
    }
}

fn sum(one: [u64; 3], other: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|index| one[index] + other[index])
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
            Err(ServiceError::Refused(why)) => self.end_replay(&id, ReplayState::Failed, Some(&why)).await,
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
                .filter(|(_, r)| r.is_over())
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
            if let Err(error) = self.go_on(running).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a replay broke off; it goes on at the next start");
            }
        }
    }

    /// Sends a replay into its next partition, or ends it.
    async fn go_on(&self, mut running: Running) -> Result<(), ServiceError> {
        let id = Arc::clone(&running.replay.id);
        let failed = match running.through.take() {
            None => None,
            Some(Through { lane, partition, failed }) => {
                running.before = sum(running.before, lane.tally.counts());
                let of = running.template.lane(&partition, None);
                match lane.task.await {
                    Ok(Ended::Finished) => {
                        if let Some(offsets) = failed {
                            // Those that failed again are dead letters of the replay's own lane.
                            let offsets: Vec<_> = offsets.into_iter().collect();
                            self.parts.lanes.resolve(&of, &offsets).await?;
                        }
                        None
                    }
                    Ok(Ended::Stopped) => return Ok(()),
                    Ok(Ended::Journal(error)) => Some(error.to_string()),
                    Ok(Ended::Log(error)) => Some(error.to_string()),
                    Err(error) => Some(error.to_string()),
                }
            }
        };
        if let Some(error) = failed {
            return self.end_replay(&id, ReplayState::Failed, Some(&error)).await;
        }
        let moved = running.next_partition().await;
        match moved {
            Ok(true) => {}
            Ok(false) => {
                let (store, now) = (self.parts.connections.store(), self.parts.clock.now());
                store.count_replay(&id, running.counts(), now).await?;
                return self.end_replay(&id, ReplayState::Done, None).await;
            }
            Err(ServiceError::Refused(why)) => {
                return self.end_replay(&id, ReplayState::Failed, Some(&why)).await;
            }
            Err(error) => {
                tracing::warn!(%error, replay.id = %id, "a replay waits for its next partition");
            }
        }
        let unplaced = match self.lock().get_mut(&*running.replay.connection) {
            Some(destination) if Arc::ptr_eq(&destination.template, &running.template) => {
                destination.replays.insert(id, running)
            }
            _ => Some(running),
        };
        if let Some(running) = unplaced {
            running.stop().await;
        }
        Ok(())
    }

    async fn end_replay(
        &self,
        id: &str,
        state: ReplayState,
        error: Option<&str>,
    ) -> Result<(), ServiceError> {
        let (store, now) = (self.parts.connections.store(), self.parts.clock.now());
        store.set_replay_state(id, state, error, now).await?;
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
    async fn start(template: &Arc<Template>, mut replay: Replay) -> Result<Self, ServiceError> {
        let parts = &template.parts;
        let compile = |text: &String| {
            parts.compiler.compile(text).map_err(|error| ServiceError::Refused(error.to_string()))
        };
        let conditions = replay.spec.condition.iter().map(compile).collect::<Result<_, _>>()?;
        if replay.counts.total == 0 {
            let counted = parts.history.count(&replay.spec, None).await;
            replay.counts.total = counted.map_err(ServiceError::History)?.scanned;
        }
        let mut running = Self {
            template: Arc::clone(template),
            replay,
            conditions,
            through: None,
            left: parts.log.partitions().into(),
            before: [0; 3],
            started: tokio::time::Instant::now(),
        };
        running.next_partition().await?;
        Ok(running)
    }

    /// Begins with the next partition that has something for it; `false` when there is none.
    async fn next_partition(&mut self) -> Result<bool, ServiceError> {
        while let Some(partition) = self.left.front() {
            self.through = self.go_through(partition).await?;
            self.left.pop_front();
            if self.through.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes through a partition, from where the process before this one was; `None` when nothing is left.
    async fn go_through(&self, partition: &PartitionId) -> Result<Option<Through>, ServiceError> {
        let Self { template, replay, .. } = self;
        let spec = &replay.spec;
        let start = match spec.from {
            Some(from) => template.offset_at(partition, from).await?,
            None => 0,
        };
        let end = template.offset_at(partition, spec.to.unwrap_or(replay.created_at)).await?;
        if start >= end {
            return Ok(None);
        }
        let state = template.recover(&template.lane(partition, Some(Arc::clone(&replay.id))), start).await?;
        if state.cursor() >= end && state.parked().next().is_none() {
            return Ok(None);
        }
        let mut conditions = self.conditions.clone();
        let failed = match spec.only {
            Only::All => None,
            Only::Failed => Some(failed(template, partition, start..end).await?),
        };
        conditions.extend(failed.clone().map(|offsets| Arc::new(OneOf(offsets)) as Arc<dyn Condition>));
        let condition: Option<Arc<dyn Condition>> =
            (!conditions.is_empty()).then(|| Arc::new(All(conditions)) as _);
        let feed = template.parts.feed(partition);
        let feed: Arc<dyn Feed> = match spec.rate {
            None => feed,
            Some(rate) => Arc::new(Paced { feed, condition: condition.clone(), rate }),
        };
        let lane = template.run(state, feed, template.selection_with(condition)?, Some(end), Vec::new())?;
        Ok(Some(Through { lane, partition: partition.clone(), failed }))
    }
}

/// The dead events of the live lane through a partition within a range.
async fn failed(
    template: &Template,
    partition: &PartitionId,
    range: std::ops::Range<Offset>,
) -> Result<BTreeSet<Offset>, ServiceError> {
    let live = template.lane(partition, None);
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
