//! Delivery of one partition's events to one destination.

mod clock;
mod config;
mod dispatch;
mod intake;
mod intent;
mod ruling;
mod settle;
mod snippet;
mod status;
mod window;

pub use config::{Bounds, Command, Ended, Handle, LaneConfig};
pub use status::{LaneStatus, WaitsFor};

use super::flow::{Permit, Schedule};
use super::gates::Shut;
use super::ports::{Hold, Ports};
use super::sink::Sink;
use super::state::{Intent, LaneState, Save};
use crate::Events;
use clock::LaneClock;
use dispatch::Landed;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use intake::{Loaded, Read};
use intent::Leave;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::control::ControlError;
use pipeline::delivery::Record;
use pipeline::delivery::journal::JournalError;
use pipeline::log::Offset;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use window::Window;

/// How long requests under way may still take once the lane is to stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// How often what changed is saved.
const CHECKPOINT: Micros = 5 * SECOND;

/// Delivers the events of one partition to one destination.
///
/// 1. **At least once.** An event is decided once its record is durable in the journal, and only
///    then does the cursor pass it. A crash repeats what was under way, with the same ids.
/// 2. **In order.** In [`OrderMode::PerUser`](super::OrderMode::PerUser) a person's events reach the vendor in offset order, as
///    at most one request at a time. An event waits if any of its ids waits, and then all of its ids
///    do. Behind an event that cannot be delivered for long, the others of its person are released,
///    and a record says so.
/// 3. **Never given up by an outage.** Throttling, holds and outages use up no attempt and no time.
/// 4. **Never twice in silence.** At a vendor that knows no repeats, an intent is durable before each
///    request. What a lost answer or a crash leaves unclear is ambiguous, and a record says so.
/// 5. **Bounded.** So many events in hand, so many parked, so many requests under way.
///
/// One task owns all of it; there is no lock.
pub struct Lane {
    config: LaneConfig,
    ports: Ports,
    clock: LaneClock,
    random: StdRng,
    state: LaneState,
    schedule: Schedule,
    mode: Mode,
    window: Window,
    /// The new events in hand that no record decides, durable or on its way.
    undecided: BTreeSet<Offset>,
    /// Everything below was taken in hand, or is no event.
    position: Offset,
    reader: Option<Box<dyn Events>>,
    reading: Option<BoxFuture<'static, Read>>,
    read_failures: u32,
    read_again_at: Micros,
    loading: Option<BoxFuture<'static, Loaded>>,
    reviving: VecDeque<Offset>,
    flying: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// The requests that leave once their intent is durable, by number.
    intended: BTreeMap<u64, Leave>,
    /// The events of requests that an earlier life of the process made, and of which nothing is known.
    unclear: BTreeMap<Offset, Intent>,
    requests: u64,
    /// Where the next request begins, so that probes do not all try the same event.
    probe_from: Offset,
    /// Whose turn it is when first and later attempts both could go.
    turn_again: bool,
    shut: Option<Shut>,
    /// A permit of the node: asked for, and there.
    waiting: Option<BoxFuture<'static, Permit>>,
    permit: Option<Permit>,
    renewing: Option<BoxFuture<'static, Option<Arc<dyn Sink>>>>,
    renewed_at: Option<Micros>,
    denied: u32,
    outbox: Vec<Record>,
    /// The message ids of events that are given up and not in hand.
    names: BTreeMap<Offset, String>,
    appending: Option<BoxFuture<'static, Result<u64, JournalError>>>,
    appended: Vec<Record>,
    saving: Option<BoxFuture<'static, (Save, Result<(), ControlError>)>>,
    save_at: Micros,
    /// Cursor and journal position of the last checkpoint.
    saved_at: (Offset, u64),
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<LaneStatus>,
    ended: Option<Ended>,
}

/// What a lane is up to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Running,
    Paused,
    Held(Hold),
    /// Waits for what is under way, to begin anew.
    Resuming,
    Stopping {
        until: Micros,
    },
}

/// What a lane waits for.
enum Happened {
    Stop,
    Command(Command),
    Landed(Landed),
    Appended(Result<u64, JournalError>),
    Read(Read),
    Loaded(Loaded),
    Saved(Save, Result<(), ControlError>),
    Renewed(Option<Arc<dyn Sink>>),
    Permit(Permit),
    Nothing,
}

impl Lane {
    /// A lane that goes on from `state`, as [`LaneState::recover`] gives it.
    pub fn new(config: LaneConfig, ports: Ports, state: LaneState) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(16);
        let (status, watching) = watch::channel(LaneStatus::new(&state));
        let mut clock = LaneClock::new(Arc::clone(&ports.time));
        let lane = Self {
            random: StdRng::seed_from_u64(config.seed),
            schedule: Schedule::new(config.retry),
            mode: Mode::Running,
            window: Window::default(),
            undecided: BTreeSet::new(),
            position: state.cursor(),
            reader: None,
            reading: None,
            read_failures: 0,
            read_again_at: 0,
            loading: None,
            reviving: VecDeque::new(),
            flying: FuturesUnordered::new(),
            intended: BTreeMap::new(),
            unclear: state.intents().clone(),
            requests: 0,
            probe_from: 0,
            turn_again: false,
            shut: None,
            waiting: None,
            permit: None,
            renewing: None,
            renewed_at: None,
            denied: 0,
            outbox: Vec::new(),
            names: BTreeMap::new(),
            appending: None,
            appended: Vec::new(),
            saving: None,
            save_at: clock.now() + CHECKPOINT,
            saved_at: (0, 0),
            commands,
            status,
            ended: None,
            config,
            ports,
            clock,
            state,
        };
        (lane, Handle { commands: sender, status: watching })
    }

    /// Has dead events sent again before anything else; see [`Command::Revive`]. A lane that is at its end
    /// might not hear the command.
    pub fn revive_first(&mut self, offsets: Vec<Offset>) {
        self.reviving.extend(offsets);
    }

    /// Delivers until `stop`, or until it is at its end, if it has one. Requests under way have [`GRACE`] to
    /// come back; what takes longer is sent again by the next lane.
    pub async fn run(mut self, stop: CancellationToken) -> Ended {
        let mut freed = self.config.gates.freed();
        loop {
            let now = self.clock.now();
            self.advance(now);
            if let Some(ended) = self.ended.take() {
                return ended;
            }
            if self.is_done(now) {
                self.save_last().await;
                return if matches!(self.mode, Mode::Stopping { .. }) {
                    Ended::Stopped
                } else {
                    Ended::Finished
                };
            }
            let waits_for_place = self.shut.is_some_and(|shut| shut.until.is_none());
            let stopping = matches!(self.mode, Mode::Stopping { .. });
            let wake = self.wake_in(now);
            let happened = tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => Happened::Stop,
                Some(landed) = self.flying.next() => Happened::Landed(landed),
                appended = ready(&mut self.appending) => Happened::Appended(appended),
                Some(command) = self.commands.recv() => Happened::Command(command),
                renewed = ready(&mut self.renewing) => Happened::Renewed(renewed),
                loaded = ready(&mut self.loading) => Happened::Loaded(loaded),
                read = ready(&mut self.reading) => Happened::Read(read),
                (save, saved) = ready(&mut self.saving) => Happened::Saved(save, saved),
                permit = ready(&mut self.waiting) => Happened::Permit(permit),
                _ = freed.changed(), if waits_for_place => Happened::Nothing,
                () = self.ports.time.sleep(wake) => Happened::Nothing,
            };
            let now = self.clock.now();
            self.handle(happened, now);
        }
    }

    fn handle(&mut self, happened: Happened, now: Micros) {
        match happened {
            Happened::Stop => {
                self.mode = Mode::Stopping { until: now + micros(GRACE) };
                (self.reading, self.loading) = (None, None);
                self.recall();
            }
            Happened::Command(Command::Pause) => {
                self.mode = Mode::Paused;
                self.recall();
            }
            Happened::Command(Command::Resume) => {
                self.mode = Mode::Resuming;
                self.recall();
            }
            Happened::Command(Command::Revive(offsets)) => self.reviving.extend(offsets),
            Happened::Landed(landed) => self.landed(landed, now),
            Happened::Appended(Ok(last)) => self.fold(last),
            Happened::Appended(Err(error)) => self.ended = Some(Ended::Journal(error)),
            Happened::Read(read) => self.take_in(read, now),
            Happened::Loaded(loaded) => self.take_back(loaded, now),
            Happened::Saved(save, saved) => self.saved(save, saved),
            Happened::Renewed(sink) => self.renewed(sink),
            Happened::Permit(permit) => self.permit = Some(permit),
            Happened::Nothing => {}
        }
    }

    /// Does everything that can be done without waiting.
    fn advance(&mut self, now: Micros) {
        if self.mode == Mode::Resuming && self.is_idle() {
            self.begin_anew();
        }
        if self.mode == Mode::Running {
            self.read(now);
            self.load(now);
            self.dispatch(now);
        } else {
            (self.waiting, self.permit) = (None, None);
        }
        if self.is_at_end() && self.state.cursor() < self.position {
            self.pass_over();
        }
        self.checkpoint(now);
        self.append();
        self.show(now);
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.flying.is_empty() && self.is_settled()
    }

    /// Whether everything decided is durable.
    fn is_settled(&self) -> bool {
        self.outbox.is_empty() && self.appending.is_none()
    }

    fn is_done(&self, now: Micros) -> bool {
        match self.mode {
            Mode::Stopping { until } => self.is_settled() && (self.flying.is_empty() || now >= until),
            _ => self.is_at_end() && self.state.cursor() == self.position,
        }
    }

    /// Whether a lane that has an end has nothing left to do but to write its cursor down.
    fn is_at_end(&self) -> bool {
        let end = self.config.end.is_some_and(|end| self.position >= end);
        let revives = !self.reviving.is_empty() || self.loading.is_some() || !self.commands.is_empty();
        end && !revives && self.is_idle() && self.undecided.is_empty() && self.state.parking.len() == 0
    }

    /// Forgets everything in hand; it is read again from the cursor.
    fn begin_anew(&mut self) {
        (self.reader, self.reading, self.loading) = (None, None, None);
        self.window.clear();
        self.undecided.clear();
        self.state.parking.put_all_back();
        self.position = self.state.cursor();
        self.denied = 0;
        self.mode = Mode::Running;
    }

    fn hold(&mut self, hold: Hold) {
        if matches!(self.mode, Mode::Running | Mode::Resuming) {
            let name = &self.state.lane().destination;
            let class = hold.class.as_str();
            tracing::warn!(
                destination = &**name,
                class,
                "`{name}` is held: its events wait until somebody has seen to it"
            );
            self.ports.owner.on_hold(self.state.lane(), &hold);
            self.mode = Mode::Held(hold);
            self.recall();
        }
    }

    fn renewed(&mut self, sink: Option<Arc<dyn Sink>>) {
        match sink {
            Some(sink) => {
                self.config.sink = sink;
                self.renewed_at = Some(self.clock.elapsed());
            }
            None => self.hold(Hold {
                class: pipeline::delivery::Class::AuthRevoked,
                status: Some(401),
                detail: "the access token could not be renewed".to_owned(),
                remedy: "Reconnect the destination.".to_owned(),
            }),
        }
    }

    /// When to look again although nothing happened.
    fn wake_in(&self, now: Micros) -> Duration {
        // A save under way wakes by itself when it is over.
        let mut at = if self.saving.is_some() { now + CHECKPOINT } else { self.save_at };
        match self.mode {
            Mode::Stopping { until } if until > now => at = until,
            Mode::Stopping { .. } => at = now + CHECKPOINT,
            Mode::Running => {
                for wake in [self.read_wake(), self.load_wake(), self.dispatch_wake(now)] {
                    at = at.min(wake.unwrap_or(Micros::MAX));
                }
            }
            _ => {}
        }
        Duration::from_micros(u64::try_from(at.saturating_sub(now)).unwrap_or(0))
    }
}

/// Waits for a future that may not be there, and takes it away when it is over.
async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(under_way) = future else { return std::future::pending().await };
    let value = under_way.await;
    *future = None;
    value
}

/// A duration as µs.
fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
