//! `flowstate bench deliver`: how many events a second go out, how soon, and whether one bad
//! destination slows the others down.
//!
//! The vendor is a fast fake in this process. The yardstick is the same HTTP client posting bodies
//! that Flowstate has made, in the same run and to the same fake, so the ratio carries over to other
//! machines better than the rates do.

mod fake;
mod measure;
mod trial;
mod yardstick;

use super::{machine::Before, sheet::Sheet};
use crate::output::print;
use anyhow::bail;
use std::fmt::Write;
use std::path::PathBuf;

/// `flowstate bench deliver`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Takes about three minutes for each repeat. Build with --release; on battery or a busy machine the
figures mean little. Exits with 1 when a bound is missed, or when an event does not arrive exactly once.")]
pub(crate) struct DeliverArgs {
    /// How often everything is measured; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Events that wait when the destination is enabled; at least 10,000
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    events: u64,
    /// Events that wait for a destination with a rate cap of 20,000 events/s
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    capped_events: u64,
    /// Events that wait for a retry when the server starts; a lane holds a million at most
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    parked_events: u64,
    /// Events sent one by one to an idle server
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    single_events: u32,
    /// Seconds of the live load of 2,000 events/s
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A directory to measure in, on the disk in question; it is made and removed again
    #[arg(long, default_value = "./flowstate-bench")]
    data: PathBuf,
    /// Write the table in Markdown
    #[arg(long)]
    markdown: bool,
}

pub(crate) async fn run(args: DeliverArgs) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || bench(&args)).await?
}

fn bench(args: &DeliverArgs) -> anyhow::Result<()> {
    if args.data.exists() {
        bail!("`{}` exists; name a directory that can be made and removed", args.data.display());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the figures mean nothing");
    }
    std::fs::create_dir_all(&args.data)?;
    let before = Before::now();
    let mut sheet = Sheet::default();
    for repeat in 1..=args.repeats {
        eprintln!("repeat {repeat} of {}", args.repeats);
        measure::repeat(args, &mut sheet)?;
    }
    std::fs::remove_dir_all(&args.data)?;
    print(report(args, &sheet, before)?)?;
    if !sheet.holds() {
        bail!("a bound was missed");
    }
    Ok(())
}

fn report(args: &DeliverArgs, sheet: &Sheet, before: Before) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}", before.describe())?;
    writeln!(
        text,
        "Durability: disk, fdatasync before every 200. Vendor and load generator on the \
         same machine.",
    )?;
    writeln!(
        text,
        "{} repeats; distinct events of about 1 KB; a Segment destination, {} requests at once at most; every \
         event arrived exactly once.",
        args.repeats,
        yardstick::REQUESTS_AT_ONCE,
    )?;
    writeln!(text, "\n{}", sheet.table(args.markdown))?;
    Ok(text)
}
