//! The deterministic simulation: the lane as it is, in a world made from a seed.
//!
//! Lane, fold, cursor, gates and schedules are those of production. The clock, the disk, the log and
//! the vendor are the world's, and so is every random number. A crash drops everything at any moment at
//! which the lane waits; what was on its way to the disk arrives or does not.
//!
//! A seed that fails is run again with `FLOWSTATE_SIMULATION_SEED=<seed>`;
//! `FLOWSTATE_SIMULATION_SEEDS=<count>` runs that many instead of [`SEEDS`].

mod disk;
mod plan;
mod promises;
mod time;
mod vendor;
mod world;

use crate::engine::LaneState;
use crate::engine::Time;
use crate::engine::mapping::Mapping;
use crate::engine::selection::{KnownAs, Selection};
use crate::engine::state::fold;
use crate::engine::{
    Command, Ended, FeedEventsAt, Gates, Handle, Lane, LaneConfig, Node, Ports, Sink, WaitsFor,
};
use disk::{Machine, SimulatedFeed};
use pipeline::Micros;
use pipeline::clock::{HOUR, SECOND};
use pipeline::connection::{Routing, Suppressed};
use pipeline::delivery::lane_store::Checkpoint;
use pipeline::delivery::{LaneId, Outcome, Record};
use pipeline::log::Offset;
use plan::Plan;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;
use time::{Run, run};
use tokio_util::sync::CancellationToken;
use vendor::SimulatedSink;
use world::{Disk, World};

/// How many seeds the tests run.
const SEEDS: u64 = 300;

/// Seeds that failed once: a person's order was broken after a crash, where repeats count; 2528: an event
/// was given up by an outage there; 19802: after a crash the event at the cursor was never read.
const FOUND: [u64; 11] = [551, 1083, 1219, 1827, 2045, 2528, 2637, 2754, 3515, 4875, 19802];

/// After so many seeds that fail the others are not run: a lane that hangs takes its time.
const FAILED_MAX: usize = 10;

/// By then everything is over, in virtual time.
const PATIENCE: Micros = 96 * HOUR;

/// What one simulation came to.
struct Report {
    problems: Vec<String>,
    lane: LaneId,
    /// Everything that the journal holds.
    records: Vec<Record>,
    /// The requests as the vendor saw them come in.
    requests: Vec<(Micros, Vec<Offset>)>,
}

/// Runs one simulation from beginning to end, through all its crashes.
fn simulate(seed: u64, plan: Plan) -> Report {
    let world = Arc::new(World::new(seed, plan));
    let mut lives = world.plan.crashes.clone().into_iter();
    loop {
        let polls_max = lives.next().unwrap_or(u64::MAX);
        let ended = run(&world.clock, polls_max, live(&world, seed));
        match ended {
            Run::Done(Ended::Stopped | Ended::Finished) => break,
            Run::Done(Ended::Journal(_)) => {}
            Run::Done(ended) => world.problem(format!("the lane ended: {ended:?}")),
            Run::Crashed => {}
        }
        world.crash();
        if world.lock().problems.len() > 10 {
            break;
        }
    }
    if world.lock().problems.is_empty() {
        world.look_at_the_end();
    }
    let state = world.lock();
    Report {
        problems: state.problems.clone(),
        lane: world.lane(),
        records: state.disk.journal.clone(),
        requests: state.vendor.log.clone(),
    }
}

/// One life of the process.
async fn live(world: &Arc<World>, seed: u64) -> Ended {
    let life = {
        let mut state = world.lock();
        state.life += 1;
        state.held = false;
        u64::from(state.life)
    };
    let machine = Machine(Arc::clone(world));
    let feed = Arc::new(SimulatedFeed { machine: machine.clone(), partition: world.lane().partition });
    let sink: Arc<dyn Sink> = Arc::new(SimulatedSink::new(world));
    let ports = Ports {
        events_at: Arc::new(FeedEventsAt(Arc::<SimulatedFeed>::clone(&feed))),
        feed,
        records: Arc::new(machine.clone()),
        store: Arc::new(machine.clone()),
        http: Arc::new(machine.clone()),
        time: Arc::new(world.clock.clone()),
        owner: Arc::new(machine),
    };
    let known_as = KnownAs { names: vec!["vendor".to_owned()], explicit: false };
    let gates = Gates::new(Arc::from("shop"), sink.manners(), None, None, Node::default(), seed ^ life);
    let config = LaneConfig {
        selection: Selection::new(&Routing::default(), known_as, Arc::new(Suppressed::default()), None)
            .expect("a selection"),
        mapping: Mapping::compile(&[]).expect("a mapping"),
        order: world.plan.order,
        ambiguous: world.plan.ambiguous.unwrap_or_default(),
        retry: world.plan.retry,
        gates: Arc::new(gates),
        end: world.plan.replay.then_some(world.plan.end),
        bounds: world.plan.bounds,
        version: 1,
        secrets: Vec::new(),
        seed: seed ^ (life << 32),
        sink,
    };
    let (lane, handle) = Lane::new(config, ports, world.recover());
    let stop = CancellationToken::new();
    let (ended, ()) = futures::join!(lane.run(stop.clone()), attend(world, handle, stop));
    ended
}

/// The people around the lane: they mend what is broken, pause it, set clocks, and stop it when
/// everything is delivered.
async fn attend(world: &World, handle: Handle, stop: CancellationToken) {
    let mut overdue = 0;
    loop {
        let pause = world.lock().random.random_range(SECOND..20 * SECOND);
        let before = world.clock.elapsed();
        world.clock.sleep(Duration::from_micros(pause as u64)).await;
        if handle.commands.is_closed() {
            return;
        }
        let now = world.clock.elapsed();
        for (_, by) in world.plan.jumps.iter().filter(|(at, _)| (before..now).contains(at)) {
            world.clock.jump(*by);
        }
        let status = handle.status.borrow().clone();
        if now > PATIENCE {
            world.problem(format!("it takes too long: {status:?}"));
            return stop.cancel();
        }
        match status.waits_for {
            WaitsFor::Hold(_) if world.chance(0.1) => {
                let mut state = world.lock();
                state.vendor.credential_mended = true;
                state.held = false;
                let _ = handle.commands.try_send(Command::Resume);
            }
            WaitsFor::Resume if world.chance(0.3) => drop(handle.commands.try_send(Command::Resume)),
            WaitsFor::Events if world.chance(0.01) => drop(handle.commands.try_send(Command::Pause)),
            _ => {}
        }
        // What is due is sent unless something is in the way (I3).
        let idle = status.waits_for == WaitsFor::Events && status.in_flight == 0;
        overdue = if idle && status.next_at.is_some_and(|at| at < world.clock.now() - 2 * HOUR) {
            overdue + 1
        } else {
            0
        };
        if overdue > 3 {
            world.problem(format!("what is due is not sent: {status:?}"));
        }
        let over = now > world.plan.last_at()
            && status.behind == 0
            && status.parked == 0
            && status.in_flight == 0
            && !world.plan.replay;
        if over && !revive(world, &handle) {
            return stop.cancel();
        }
    }
}

/// Asks for the dead events to be sent again, if the plan says so; false when there are none.
fn revive(world: &World, handle: &Handle) -> bool {
    let mut state = world.lock();
    let last = state.fates.last.iter();
    let dead: Vec<Offset> =
        last.filter(|(_, fate)| **fate == Outcome::Dead).map(|(offset, _)| *offset).collect();
    if !world.plan.revive || dead.is_empty() {
        return false;
    }
    state.vendor.poison_mended = true;
    let _ = handle.commands.try_send(Command::Revive(dead));
    true
}

/// The number in an environment variable, where it is set.
fn number(name: &str) -> Option<u64> {
    let (_, value) = std::env::vars_os().find(|(known, _)| known == name)?;
    Some(value.to_str()?.parse().expect("a number"))
}

#[test]
fn whatever_happens_every_event_is_delivered_in_order_and_accounted_for() {
    let seeds: Vec<u64> = match number("FLOWSTATE_SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => FOUND.into_iter().chain(0..number("FLOWSTATE_SIMULATION_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let Report { problems, .. } = simulate(seed, Plan::new(seed));
        if let Some(problem) = problems.into_iter().next() {
            failed.push(format!("FLOWSTATE_SIMULATION_SEED={seed}: {problem}"));
        }
        if failed.len() == FAILED_MAX {
            break;
        }
    }
    assert!(
        failed.is_empty(),
        "at least {} seeds failed; run one again with\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn a_checkpoint_taken_anywhere_and_the_journal_above_it_are_the_whole_state() {
    for seed in 0..40 {
        let Report { lane, records, .. } = simulate(seed, Plan::new(seed));
        let records: Vec<_> = (1..).zip(records).filter(|(_, record)| record.lane == lane).collect();
        let start = Checkpoint::default();
        let whole = LaneState::recover(lane.clone(), &start, records.clone());
        let (mut running, mut disk) = (LaneState::new(lane.clone(), &start), Disk::default());
        for (index, (sequence, record)) in records.iter().enumerate() {
            fold(&mut running, *sequence, record);
            if index % 7 == seed as usize % 7 {
                disk.save(running.save());
                let checkpoint = disk.checkpoint.clone().expect("it was saved");
                let recovered = LaneState::recover(lane.clone(), &checkpoint, records.clone());
                let told = |state: &LaneState| {
                    (state.cursor(), state.parked().collect::<Vec<_>>(), state.intents().clone())
                };
                assert_eq!(told(&recovered), told(&whole), "seed {seed}, checkpoint after record {sequence}");
            }
        }
    }
}

#[test]
fn a_seed_always_tells_the_same_story() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| simulate(seed, Plan::new(seed)).records);
        assert_eq!(one, other, "seed {seed}");
    }
}
