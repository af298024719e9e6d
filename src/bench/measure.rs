//! One repeat of all measurements.

use super::load::{Figures, Pace, Template, run};
use super::server::{Server, WRITE_KEY_BASE64, count};
use super::sheet::{Bound, Sheet};
use super::{BenchArgs, Place, machine};
use anyhow::bail;
use std::path::Path;
use std::time::Duration;

/// Events in a batch.
pub(crate) const BATCH: usize = 100;
/// Connections of the load with batches.
const BATCH_CONNECTIONS: usize = 64;
/// Events in a batch while the deduplication index is filled, and the connections that fill it.
const FILLER_BATCH: usize = 2_500;
const FILLER_CONNECTIONS: usize = 16;
/// Connections of the loads with single events, and the share of the yardstick to be reached.
const SINGLE: [(usize, f64); 2] = [(64, 0.25), (256, 0.35)];
const MIB: f64 = 1_048_576.0;
/// The WAL is filled for the crash in steps of so many requests for each connection, while commits are
/// held back; no event takes less than a sixteenth of a KiB in it.
const WAL_STEP: u32 = 5;
const WAL_EVENTS_MAX_PER_MIB: u64 = 16 << 10;
const HOLD_BACK: [&str; 4] = ["--commit-age-s", "3600", "--commit-bytes", "1GiB"];

/// Measures everything once, in a place of its own.
pub(crate) fn repeat(args: &BenchArgs, repeat: u32, sheet: &mut Sheet) -> anyhow::Result<()> {
    let place = Place::new(args, "repeat", repeat);
    let mut loads = Loads { run: u64::from(repeat) << 8, acknowledged: 0 };
    let log = args.data.join("servers.log");
    let [short, long] = [args.single_seconds, args.seconds].map(Duration::from_secs);

    let yardstick = Server::yardstick(&log)?;
    let mut yardstick_single = Vec::new();
    for (connections, _) in SINGLE {
        yardstick_single.push(loads.single(&yardstick, connections, Pace::Closed, short)?);
    }
    let yardstick_batch = loads.batch(&yardstick, short)?;
    yardstick.kill()?;

    loads.acknowledged = 0;
    let filler_memory = fill(&place, &log, args.dedup_ids, &mut loads)?;
    let (filled, filled_bytes) = (loads.acknowledged, at_rest(&place)?);

    let server = loads.flowstate(&place, &log, &[])?;
    for ((connections, bound), yardstick) in SINGLE.into_iter().zip(yardstick_single) {
        let closed = loads.single(&server, connections, Pace::Closed, short)?;
        let half = Pace::Open(closed.requests_per_second() / 2.0);
        let open = loads.single(&server, connections, half, short)?;
        let name = |what: &str| format!("single events, {connections} connections: {what}");
        let (rate, most) = (closed.events_per_second(), yardstick.events_per_second());
        sheet.note(&name("events/s"), "", Bound::None, rate);
        sheet.note(&name("yardstick"), "", Bound::None, most);
        sheet.note(&name("share of the yardstick"), "", Bound::AtLeast(bound), rate / most);
        sheet.note(&name("p50 at half the rate"), "ms", Bound::None, open.latency_ms(0.5));
        sheet.note(&name("p99 at half the rate"), "ms", Bound::Below(25.0), open.latency_ms(0.99));
    }
    let compactions = server.compactions()?;
    let sustained = loads.batch(&server, long)?;
    let compactions = server.compactions()? - compactions;
    sheet.note("batches of 100: compactions meanwhile", "", Bound::AtLeast(1.0), compactions as f64);
    let (rate, most) = (sustained.events_per_second(), yardstick_batch.events_per_second());
    sheet.note("batches of 100: events/s, sustained", "", Bound::None, rate);
    sheet.note("batches of 100: yardstick", "", Bound::None, most);
    sheet.note("batches of 100: share of the yardstick", "", Bound::AtLeast(0.15), rate / most);
    sheet.note("batches of 100: p99", "ms", Bound::None, sustained.latency_ms(0.99));
    let load_memory = server.stop()?;

    let server = loads.flowstate(&place, &log, &HOLD_BACK)?;
    let (wal, held_back) = (place.data.join("wal"), Template::batch(WRITE_KEY_BASE64, BATCH));
    let before = loads.acknowledged;
    while machine::disk_usage(&wal)? < args.wal_mib << 20 {
        if loads.acknowledged - before > WAL_EVENTS_MAX_PER_MIB * args.wal_mib {
            bail!("the WAL does not grow: commits could not be held back");
        }
        loads.run(&server, &held_back, BATCH_CONNECTIONS, Pace::Requests(WAL_STEP), Duration::ZERO)?;
    }
    let held_back_memory = server.peak_memory()?;
    server.kill()?;
    let wal_bytes = machine::disk_usage(&wal)? as f64 / MIB;
    let server = loads.flowstate(&place, &log, &[])?;
    sheet.note("WAL at the start after kill -9", "MiB", Bound::None, wal_bytes);
    sheet.note("start after kill -9, to the first 200", "s", Bound::None, server.started_in.as_secs_f64());
    let crash_memory = server.stop()?;
    for (name, bytes) in [
        ("peak memory while the index is filled", filler_memory),
        ("peak memory under load", load_memory),
        ("peak memory after the crash", crash_memory),
    ] {
        sheet.note(name, "MiB", Bound::Below(1024.0), bytes as f64 / MIB);
    }
    // No bound: it was told to let 1 GiB wait for a commit.
    sheet.note("peak memory with commits held back", "MiB", Bound::None, held_back_memory as f64 / MIB);
    let events = loads.acknowledged - filled;
    let bytes = at_rest(&place)?.saturating_sub(filled_bytes) as f64 / events as f64;
    sheet.note("bytes on disk for each event, of about 1 KB", "", Bound::None, bytes);
    check_count(&place, loads.acknowledged)?;
    Ok(std::fs::remove_dir_all(&place.data)?)
}

/// Lets Flowstate store this many events, so that the deduplication index knows their ids; returns the
/// most memory that took.
fn fill(place: &Place, log: &Path, ids: u64, loads: &mut Loads) -> anyhow::Result<u64> {
    let server = loads.flowstate(place, log, &[])?;
    let requests = ids.div_ceil((FILLER_BATCH * FILLER_CONNECTIONS) as u64);
    let template = Template::filler(WRITE_KEY_BASE64, FILLER_BATCH);
    let pace = Pace::Requests(u32::try_from(requests)?);
    loads.run(&server, &template, FILLER_CONNECTIONS, pace, Duration::ZERO)?;
    server.stop()
}

/// What was acknowledged is stored, once: otherwise the figures are worth nothing.
fn check_count(place: &Place, acknowledged: u64) -> anyhow::Result<()> {
    let stored = count(&place.data, &place.arguments(), "SELECT count(*) AS events FROM events")?;
    if stored != acknowledged {
        bail!("{acknowledged} events were acknowledged, {stored} are stored");
    }
    Ok(())
}

/// The bytes of the tables' active files, once no server runs: files that were compacted away lie
/// there for a while longer.
fn at_rest(place: &Place) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let snapshot = runtime.block_on(pipeline::log::read_only(&place.log_config()?))?;
    Ok(snapshot.tables.iter().flat_map(|view| view.table.files.iter()).map(|file| file.bytes).sum())
}

/// Loads with message ids of their own, and how many events Flowstate has acknowledged.
struct Loads {
    run: u64,
    acknowledged: u64,
}

impl Loads {
    fn flowstate(&mut self, place: &Place, log: &Path, settings: &[&str]) -> anyhow::Result<Server> {
        self.run += 1;
        self.acknowledged += 1; // The first answer is to an event, too.
        Server::flowstate(&place.data, log, self.run, &[place.arguments().as_slice(), settings].concat())
    }

    fn single(
        &mut self,
        server: &Server,
        connections: usize,
        pace: Pace,
        duration: Duration,
    ) -> anyhow::Result<Figures> {
        self.run(server, &Template::single(WRITE_KEY_BASE64), connections, pace, duration)
    }

    fn batch(&mut self, server: &Server, duration: Duration) -> anyhow::Result<Figures> {
        let template = Template::batch(WRITE_KEY_BASE64, BATCH);
        self.run(server, &template, BATCH_CONNECTIONS, Pace::Closed, duration)
    }

    /// Every request must be answered 200; the others would flatter.
    fn run(
        &mut self,
        server: &Server,
        template: &Template,
        connections: usize,
        pace: Pace,
        duration: Duration,
    ) -> anyhow::Result<Figures> {
        self.run += 1;
        let figures = run(server.address, &template.for_run(self.run), connections, pace, duration)?;
        if !figures.failures.is_empty() {
            bail!("requests were not answered 200, by status: {:?}", figures.failures);
        }
        self.acknowledged += figures.events;
        Ok(figures)
    }
}
