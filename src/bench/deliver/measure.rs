//! One repeat of all measurements.

use super::fake::{Arrival, Fake};
use super::trial::Trial;
use super::{DeliverArgs, yardstick};
use crate::bench::sheet::{Bound, Sheet};
use anyhow::Context;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

const MIB: f64 = 1_048_576.0;
/// What the server may have resident, whatever waits, in MiB.
const MEMORY_MAX: f64 = 1024.0;
/// A start with parked retries takes no longer, in seconds.
const START_MAX_S: f64 = 10.0;
/// The cap of the destination that is drained at it, in events a second.
const RATE_CAP: f64 = 20_000.0;
/// Single events leave so far apart that each is delivered before the next: no request is shared.
const IDLE_INTERVAL: Duration = Duration::from_millis(200);
/// The live load beside bad neighbours, in events a second.
const LIVE_RATE: u32 = 2_000;
/// The destinations that are well, and how late the slow one answers.
const WELL: usize = 3;
const SLOW: Duration = Duration::from_secs(10);
/// What bad neighbours may cost the others.
const THROUGHPUT_MIN: f64 = 0.9;
const LAG_SHARE_MAX: f64 = 1.1;
const LAG_MORE_MAX_MS: f64 = 20.0;

/// Measures everything once, each figure with a server of its own.
pub(super) fn repeat(args: &DeliverArgs, sheet: &mut Sheet) -> anyhow::Result<()> {
    throughput(args, sheet)?;
    idle(args, sheet)?;
    neighbours(args, sheet)?;
    capped(args, sheet)?;
    parked(args, sheet)
}

/// A backlog to a fast vendor, as fast as it goes.
fn throughput(args: &DeliverArgs, sheet: &mut Sheet) -> anyhow::Result<()> {
    let fake = Fake::start(Duration::ZERO)?;
    let drained = drain(args, &fake, args.events, None)?;
    let most = yardstick::rate(&fake.samples(), args.events)?;
    let plain = yardstick::plain_rate(&drained.data, drained.events)?;
    std::fs::remove_dir_all(&drained.data)?;
    sheet.note("backlog: events/s, from enabling to the last", "", Bound::None, drained.rate);
    sheet.note("backlog: yardstick, prepared bodies", "", Bound::None, most);
    sheet.note("backlog: share of the yardstick", "", Bound::AtLeast(0.5), drained.rate / most);
    sheet.note(
        "backlog: a plain loop over the log, without order, retry and account",
        "",
        Bound::None,
        plain,
    );
    sheet.note("backlog: share of the plain loop", "", Bound::None, drained.rate / plain);
    let size = drained.events as f64 / fake.requests() as f64;
    sheet.note("backlog: events in a request", "", Bound::None, size);
    sheet.note("backlog: from enabling to the first event", "ms", Bound::None, drained.first_ms);
    sheet.note("backlog: peak memory", "MiB", Bound::Below(MEMORY_MAX), drained.memory_mib);
    Ok(())
}

/// A backlog to a destination that may have only so much.
fn capped(args: &DeliverArgs, sheet: &mut Sheet) -> anyhow::Result<()> {
    let fake = Fake::start(Duration::ZERO)?;
    let drained = drain(args, &fake, args.capped_events, Some(RATE_CAP))?;
    std::fs::remove_dir_all(&drained.data)?;
    sheet.note("capped at 20,000 events/s: events/s", "", Bound::None, drained.rate);
    let share = drained.rate / RATE_CAP;
    sheet.note("capped at 20,000 events/s: share of the cap", "", Bound::AtLeast(0.9), share);
    sheet.note("capped at 20,000 events/s: peak memory", "MiB", Bound::Below(MEMORY_MAX), drained.memory_mib);
    Ok(())
}

/// A start with many events that wait for a retry.
fn parked(args: &DeliverArgs, sheet: &mut Sheet) -> anyhow::Result<()> {
    let mut trial = Trial::start(args)?;
    let dead = Fake::dead()?;
    let id = trial.connect("Segment", dead.local_addr()?, None)?;
    trial.fill(args.parked_events)?;
    trial.enable_now(&id)?;
    let (trial, until_there) = trial.park(&id, args.parked_events)?;
    let started_in = trial.started_in();
    let memory_mib = trial.stop()? as f64 / MIB;
    let seconds = |time: Duration| time.as_secs_f64();
    sheet.note("parked retries: start, to the first 200", "s", Bound::None, seconds(started_in));
    sheet.note("parked retries: start, to all in hand", "s", Bound::Below(START_MAX_S), seconds(until_there));
    sheet.note("parked retries: peak memory", "MiB", Bound::Below(MEMORY_MAX), memory_mib);
    Ok(())
}

struct Drained {
    /// What the stopped server leaves.
    data: PathBuf,
    events: u64,
    rate: f64,
    first_ms: f64,
    memory_mib: f64,
}

/// Stores events, then lets a destination have them.
fn drain(args: &DeliverArgs, fake: &Fake, events: u64, rate_cap: Option<f64>) -> anyhow::Result<Drained> {
    let mut trial = Trial::start(args)?;
    let id = trial.connect("Segment", fake.address, rate_cap)?;
    trial.fill(events)?;
    let enabled = trial.enable(&id)?;
    fake.wait(trial.events)?;
    let events = trial.events;
    // Once it has stopped, nothing more can come.
    let (memory, data) = trial.stop_keeping()?;
    let memory_mib = memory as f64 / MIB;
    let arrivals = fake.exactly(events)?;
    let ((_, first), (_, last)) = ends(&arrivals)?;
    let rate = events as f64 / last.duration_since(enabled).as_secs_f64();
    let first_ms = first.duration_since(enabled).as_secs_f64() * 1e3;
    Ok(Drained { data, events, rate, first_ms, memory_mib })
}

/// How soon a single event is with the vendor once its sender has the 200.
fn idle(args: &DeliverArgs, sheet: &mut Sheet) -> anyhow::Result<()> {
    let fake = Fake::start(Duration::ZERO)?;
    let mut trial = Trial::start(args)?;
    trial.enable(&trial.connect("Segment", fake.address, None)?)?;
    fake.wait(trial.events)?;
    let answered = trial.singles(args.single_events, IDLE_INTERVAL)?;
    fake.wait(trial.events)?;
    let events = trial.events;
    trial.stop()?;
    let lag = lag_us(&answered, &fake.exactly(events)?)?;
    let size = events as f64 / fake.requests() as f64;
    sheet.note("idle: events in a request", "", Bound::None, size);
    sheet.note("idle: from 200 to the vendor, p50", "ms", Bound::Below(100.0), ms(&lag, 0.5));
    sheet.note("idle: from 200 to the vendor, p99", "ms", Bound::None, ms(&lag, 0.99));
    Ok(())
}

/// What one dead and one slow destination do to three that are well.
fn neighbours(args: &DeliverArgs, sheet: &mut Sheet) -> anyhow::Result<()> {
    let alone = live(args, false)?;
    let beside = live(args, true)?;
    let name = |what: &str| format!("three destinations, 2,000 events/s live: {what}");
    sheet.note(&name("events/s to each"), "", Bound::None, alone.rate);
    sheet.note(&name("beside a dead and a slow one"), "", Bound::None, beside.rate);
    let share = beside.rate / alone.rate;
    sheet.note(&name("share that is left"), "", Bound::AtLeast(THROUGHPUT_MIN), share);
    sheet.note(&name("p99 lag"), "ms", Bound::None, alone.p99_ms);
    sheet.note(&name("p99 lag beside them"), "ms", Bound::None, beside.p99_ms);
    let allowed = (alone.p99_ms * LAG_SHARE_MAX).max(alone.p99_ms + LAG_MORE_MAX_MS);
    sheet.note(&name("share of the lag allowed"), "", Bound::Below(1.0), beside.p99_ms / allowed);
    sheet.note(&name("peak memory"), "MiB", Bound::Below(MEMORY_MAX), beside.memory_mib);
    Ok(())
}

struct Live {
    /// Of the destination that is worst off.
    rate: f64,
    /// Over all three.
    p99_ms: f64,
    memory_mib: f64,
}

fn live(args: &DeliverArgs, with_bad_ones: bool) -> anyhow::Result<Live> {
    let well = (0..WELL).map(|_| Fake::start(Duration::ZERO)).collect::<anyhow::Result<Vec<_>>>()?;
    let (slow, dead) = (Fake::start(SLOW)?, Fake::dead()?);
    let mut vendors: Vec<_> = well.iter().map(|fake| fake.address).collect();
    if with_bad_ones {
        vendors.extend([slow.address, dead.local_addr()?]);
    }
    let mut trial = Trial::start(args)?;
    for (nth, vendor) in vendors.into_iter().enumerate() {
        trial.enable(&trial.connect(&format!("Segment {nth}"), vendor, None)?)?;
    }
    for fake in &well {
        fake.wait(trial.events)?;
    }
    if with_bad_ones {
        slow.wait(trial.events)?; // It is at work, too.
    }
    let answered = trial.steady(LIVE_RATE, Duration::from_secs(args.seconds))?;
    for fake in &well {
        fake.wait(trial.events)?;
    }
    let events = trial.events;
    let memory_mib = trial.stop()? as f64 / MIB;
    let begun = answered.iter().map(|(_, at)| *at).min().context("nothing was sent")?;
    let (mut rate, mut lag) = (f64::INFINITY, histogram());
    for fake in &well {
        let arrivals = fake.exactly(events)?;
        let (_, (_, last)) = ends(&arrivals)?;
        rate = rate.min(answered.len() as f64 / last.duration_since(begun).as_secs_f64());
        lag.add(&lag_us(&answered, &arrivals)?)?;
    }
    Ok(Live { rate, p99_ms: ms(&lag, 0.99), memory_mib })
}

/// The first and the last of what arrived.
fn ends(arrivals: &[Arrival]) -> anyhow::Result<(Arrival, Arrival)> {
    let ends = arrivals.first().zip(arrivals.last());
    ends.map(|(first, last)| (*first, *last)).context("nothing arrived")
}

/// The time from each answer to the arrival of its event, in µs; 0 where the event was faster.
fn lag_us(answered: &[Arrival], arrivals: &[Arrival]) -> anyhow::Result<Histogram<u64>> {
    let arrived: HashMap<_, _> = arrivals.iter().copied().collect();
    let mut lag = histogram();
    for (id, at) in answered {
        let arrived = arrived.get(id).with_context(|| format!("event {id:x} did not arrive"))?;
        lag.saturating_record(arrived.saturating_duration_since(*at).as_micros() as u64);
    }
    Ok(lag)
}

/// Up to ten minutes in µs.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order")
}

fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}
