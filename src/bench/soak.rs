//! `flowstate bench soak`: whether a long day changes anything. Ingest at half the maximum, with
//! queries, imports and compaction beside it, and every figure over time.

mod beside;
mod chart;
mod svg;
mod windows;

use super::load::{Pace, Template, run as load};
use super::machine::{Before, Stolen};
use super::server::{Server, WRITE_KEY_BASE64, count};
use super::sheet::{Bound, Sheet};
use super::workers;
use crate::output::print;
use anyhow::bail;
use beside::Beside;
use chart::Series;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use windows::{MIB, Window};

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Seconds for which the maximum is measured.
const PROBE: Duration = Duration::from_secs(10);
/// So many windows make a chart, and none is shorter than this.
const WINDOWS_MAX: u64 = 60;
const WINDOW_S_MIN: u64 = 5;
/// What the server may have resident, in MiB: that of the benchmark of ingest, and `sql_memory_bytes_max`.
const MEMORY_MAX: f64 = 1024.0 + 256.0;
/// How much more it may have at the end than in the second quarter.
const GROWTH_MAX: f64 = 1.15;
/// The active files that a table may have; compaction keeps them below.
const FILES_MAX: f64 = 250.0;

/// `flowstate bench soak`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Takes as long as --minutes says, and about 40 MB of disk for each million events. Build with --release.
Exits with 1 when a bound is missed, or when an event is not stored exactly once.")]
pub(crate) struct SoakArgs {
    /// How long it lasts
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Requests a second with one event each; half of the measured maximum when not set
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Where the charts are written
    #[arg(long, default_value = "./flowstate-soak.svg")]
    chart: PathBuf,
    /// A directory to measure in, on the disk in question; it is made and removed again
    #[arg(long, default_value = "./flowstate-bench")]
    data: PathBuf,
    /// Write the table in Markdown
    #[arg(long)]
    markdown: bool,
}

pub(crate) async fn run(args: SoakArgs) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || soak(&args)).await?
}

fn soak(args: &SoakArgs) -> anyhow::Result<()> {
    if args.data.exists() {
        bail!("`{}` exists; name a directory that can be made and removed", args.data.display());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the figures mean nothing");
    }
    std::fs::create_dir_all(&args.data)?;
    let before = Before::now();
    let soaked = under_load(args)?;
    std::fs::remove_dir_all(&args.data)?;

    let charts = charts(&soaked.windows);
    std::fs::write(&args.chart, svg::document(&charts))?;
    let sheet = sheet(&soaked);
    print(report(args, &soaked, &sheet, &charts, before)?)?;
    if !sheet.holds() {
        bail!("a bound was missed");
    }
    Ok(())
}

/// What was seen.
struct Soaked {
    rate: f64,
    windows: Vec<Window>,
    beside: beside::Figures,
    /// The most memory it has had, its end included, in MiB.
    memory: f64,
}

fn under_load(args: &SoakArgs) -> anyhow::Result<Soaked> {
    let (data, log) = (args.data.join("server"), args.data.join("servers.log"));
    let template = Template::single(WRITE_KEY_BASE64);
    let server = Server::flowstate(&data, &log, 1, &[])?;
    // The first answer of a server is to an event, too.
    let mut acknowledged = 1;
    let rate = match args.rate {
        Some(rate) => f64::from(rate),
        None => {
            let most = load(server.address, &template.for_run(2), CONNECTIONS, Pace::Closed, PROBE)?;
            acknowledged += most.events;
            most.requests_per_second() / 2.0
        }
    };
    let seconds = (args.minutes * 60).div_ceil(WINDOWS_MAX).max(WINDOW_S_MIN);
    let count_of_windows = (args.minutes * 60).div_ceil(seconds);
    let beside = Beside::start(server.address, &data, &args.data)?;
    let mut stolen = Stolen::watch();
    let mut windows = Vec::new();
    for nth in 0..count_of_windows {
        let template = template.for_run(3 + nth);
        let figures =
            load(server.address, &template, CONNECTIONS, Pace::Open(rate), Duration::from_secs(seconds))?;
        if !figures.failures.is_empty() {
            bail!("requests were not answered 200, by status: {:?}", figures.failures);
        }
        acknowledged += figures.events;
        let window = Window::seen(&server, &data, &figures, (nth + 1) * seconds, stolen.take())?;
        eprintln!("{}", window.line(count_of_windows * seconds));
        windows.push(window);
    }
    let beside = beside.stop()?;
    let memory = windows.iter().map(|window| window.peak_mib).fold(server.stop()? as f64 / MIB, f64::max);
    check(&data, acknowledged + beside.imported)?;
    Ok(Soaked { rate, windows, beside, memory })
}

/// What was acknowledged is stored, once: otherwise the figures are worth nothing.
fn check(data: &Path, acknowledged: u64) -> anyhow::Result<()> {
    let stored = count(data, &[], "SELECT count(*) AS events FROM events")?;
    if stored != acknowledged {
        bail!("{acknowledged} events were acknowledged, {stored} are stored");
    }
    Ok(())
}

fn sheet(soaked: &Soaked) -> Sheet {
    let mut sheet = Sheet::default();
    let windows = &soaked.windows;
    let quarter = windows.len().div_ceil(4);
    let most = |windows: &[Window], of: fn(&Window) -> f64| windows.iter().map(of).fold(0.0, f64::max);
    let (settled, last) =
        (&windows[quarter.min(windows.len() - 1)..], &windows[windows.len().saturating_sub(quarter)..]);
    let second = &settled[..quarter.min(settled.len())];
    sheet.note("events/s", "", Bound::None, soaked.rate);
    for window in windows {
        sheet.note("p50 of each window", "ms", Bound::None, window.p50_ms);
        sheet.note("p99 of each window", "ms", Bound::None, window.p99_ms);
        sheet.note("stolen CPU time of each window", "%", Bound::None, window.stolen_percent);
    }
    let growth = most(last, |w| w.memory_mib) / most(second, |w| w.memory_mib).max(1.0);
    sheet.note("memory in the last quarter to the second", "", Bound::Below(GROWTH_MAX), growth);
    sheet.note("peak memory", "MiB", Bound::Below(MEMORY_MAX), soaked.memory);
    sheet.note("most files of a table", "", Bound::Below(FILES_MAX), most(windows, |w| w.files));
    let compactions = windows.last().map_or(0.0, |window| window.compactions);
    sheet.note("compactions", "", Bound::AtLeast(1.0), compactions);
    sheet.note("most WAL", "MiB", Bound::None, most(windows, |w| w.wal_mib));
    sheet.note("queries beside it", "", Bound::AtLeast(1.0), soaked.beside.queries as f64);
    sheet.note("queries that were given up", "", Bound::None, soaked.beside.given_up as f64);
    sheet.note("p99 of those that were answered", "ms", Bound::None, soaked.beside.query_ms(0.99));
    sheet.note("events imported beside it", "", Bound::AtLeast(1.0), soaked.beside.imported as f64);
    sheet
}

fn charts(windows: &[Window]) -> Vec<Series> {
    let series = |title: &str, unit, of: fn(&Window) -> f64| {
        let points = windows.iter().map(|window| (window.at_s as f64 / 60.0, of(window)));
        Series { title: title.to_owned(), unit, points: points.collect() }
    };
    vec![
        series("p99 of requests", "ms", |window| window.p99_ms),
        series("CPU time that the machine's host gave to others", "%", |window| window.stolen_percent),
        series("resident memory", "MiB", |window| window.memory_mib),
        series("most memory since the window before", "MiB", |window| window.peak_mib),
        series("files of the largest table", "", |window| window.files),
    ]
}

fn report(
    args: &SoakArgs,
    soaked: &Soaked,
    sheet: &Sheet,
    charts: &[Series],
    before: Before,
) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}", before.describe())?;
    writeln!(
        text,
        "Durability: disk, fdatasync before every 200. Load generator, queries and imports on the same machine, \
         {} workers.",
        workers()
    )?;
    writeln!(
        text,
        "{} minutes, {:.0} requests/s with one event of about 1 KB, {CONNECTIONS} connections, open loop.",
        args.minutes, soaked.rate
    )?;
    writeln!(text, "\n{}", sheet.table(args.markdown))?;
    for chart in charts {
        writeln!(text, "{}", chart.text())?;
    }
    writeln!(text, "The same as a picture: `{}`.", args.chart.display())?;
    Ok(text)
}
