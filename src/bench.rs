//! `flowstate bench ingest`: how many events a second are taken in, and how that compares with a
//! server that does nothing with them.
//!
//! One run holds the yardstick and Flowstate side by side on the same machine, with the load
//! generator on it too, so the ratios carry over to other machines better than the rates do.

mod commits;
pub(crate) mod deliver;
mod durable;
mod load;
mod machine;
mod measure;
pub(crate) mod read;
mod server;
mod sheet;
pub(crate) mod soak;
mod yardstick;

use crate::output::print;
use crate::settings::Settings;
use anyhow::bail;
use machine::Before;
use pipeline::log::LogConfig;
use sheet::Sheet;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `flowstate bench ingest`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Takes about three minutes for each repeat. Build with --release; on battery or a busy machine the
figures mean little. Exits with 1 when a bound is missed.")]
pub(crate) struct BenchArgs {
    /// How often everything is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Seconds of the load with batches
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Seconds of every other load
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    single_seconds: u64,
    /// Message ids that the deduplication index knows beforehand
    #[arg(long, default_value_t = 10_000_000)]
    dedup_ids: u64,
    /// Commits to make one after the other, for the time of a late one; 0 leaves that out
    #[arg(long, default_value_t = 3_000)]
    commits: u32,
    /// MiB that the write-ahead log holds at the start after a crash
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=4096))]
    wal_mib: u64,
    /// A directory to measure in, on the disk in question; it is made and removed again
    #[arg(long, default_value = "./flowstate-bench")]
    data: PathBuf,
    /// Measure only how long it takes until an event is acknowledged as an object, in `object` durability
    #[arg(long, value_parser = ["object"])]
    durability: Option<String>,
    /// The store, such as s3://bucket/prefix, with nothing there yet and nothing removed afterwards; a
    /// directory below `--data` when not set
    #[arg(long)]
    store: Option<String>,
    /// Write the table in Markdown
    #[arg(long)]
    markdown: bool,
    /// Be the yardstick, at this address
    #[arg(long, hide = true)]
    yardstick: Option<SocketAddr>,
}

pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || match args.yardstick {
        Some(address) => Ok(yardstick::serve(TcpListener::bind(address)?, workers())?),
        None => bench(&args),
    })
    .await?
}

/// Where a server under load keeps its log.
struct Place {
    data: PathBuf,
    /// Where its tables lie, if not in `data`.
    store: Option<String>,
}

impl Place {
    /// A place of its own for one repeat of one measurement.
    fn new(args: &BenchArgs, what: &str, repeat: u32) -> Self {
        let name = format!("{what}-{repeat}");
        let store = args.store.as_ref().map(|store| format!("{}/{name}", store.trim_end_matches('/')));
        Self { data: args.data.join(name), store }
    }

    /// The options that name the store to a command.
    fn arguments(&self) -> Vec<&str> {
        self.store.iter().flat_map(|store| ["--store", store]).collect()
    }

    /// The log there, as the server itself opens it.
    fn log_config(&self) -> anyhow::Result<LogConfig> {
        let config = log_config(&self.data)?;
        Ok(match &self.store {
            Some(store) => {
                let settings = Settings::load(None, std::env::vars_os(), &[("store", store.clone())])?;
                LogConfig { store: settings.store()?, ..config }
            }
            None => config,
        })
    }
}

/// The log of a server's data directory, with the tables in it, as the server itself opens it.
fn log_config(data: &Path) -> anyhow::Result<LogConfig> {
    let tables = std::path::absolute(data.join("tables"))?;
    std::fs::create_dir_all(&tables)?;
    let store = url::Url::from_directory_path(&tables).map_err(|()| anyhow::anyhow!("a path for tables"))?;
    Ok(LogConfig {
        dir: data.to_owned(),
        store: store.into(),
        durability: Default::default(),
        wal_bytes_max: 8 << 30,
        segment_bytes: 64 << 20,
        commit_age: Duration::from_secs(5),
        commit_bytes: 32 << 20,
        dedup_window: Duration::from_secs(7 * 24 * 3600),
        dedup_memory_bytes_max: 128 << 20,
        promotion: Default::default(),
    })
}

/// As many workers as Flowstate itself has.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    if args.data.exists() {
        bail!("`{}` exists; name a directory that can be made and removed", args.data.display());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the figures mean nothing");
    }
    std::fs::create_dir_all(&args.data)?;
    let before = Before::now();
    let mut sheet = Sheet::default();
    let outcome = (1..=args.repeats).try_for_each(|repeat| {
        eprintln!("repeat {repeat} of {}", args.repeats);
        if args.durability.is_some() {
            return durable::measure(args, repeat, &mut sheet);
        }
        measure::repeat(args, repeat, &mut sheet)?;
        commits::measure(args, repeat, &mut sheet)
    });
    if outcome.is_ok() {
        std::fs::remove_dir_all(&args.data)?;
    }
    outcome?;
    print(report(args, &sheet, before)?)?;
    if !sheet.holds() {
        bail!("a bound was missed");
    }
    Ok(())
}

fn report(args: &BenchArgs, sheet: &Sheet, before: Before) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}", before.describe())?;
    let durability = match (&args.durability, &args.store) {
        (None, None) => "disk, fdatasync before every 200".to_owned(),
        (None, Some(store)) => format!("disk, fdatasync before every 200; tables in `{store}`"),
        (Some(_), None) => {
            "object, in a directory of the same disk, and fdatasync before every 200".to_owned()
        }
        (Some(_), Some(store)) => format!("object in `{store}`, and fdatasync before every 200"),
    };
    writeln!(
        text,
        "Durability: {durability}. Load generator on the same machine, {} workers each.",
        workers()
    )?;
    writeln!(
        text,
        "{} repeats; distinct events of {} bytes; {} message ids known beforehand; batches of {} for {} s.",
        args.repeats,
        load::Template::batch(server::WRITE_KEY_BASE64, measure::BATCH).event_bytes(),
        args.dedup_ids,
        measure::BATCH,
        args.seconds,
    )?;
    writeln!(text, "\n{}", sheet.table(args.markdown))?;
    Ok(text)
}
