//! `flowstate bench read`: how fast the log is read back: all of it in order, one event by its id, and
//! a rare property before and after it has a column of its own.
//!
//! The yardstick of the first is a plain scan of the same columns of the same Parquet files, in the
//! same run.

mod fill;
mod measure;

use super::{machine::Before, sheet::Sheet};
use crate::output::print;
use anyhow::bail;
use std::fmt::Write;
use std::path::PathBuf;

/// `flowstate bench read`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Takes about a minute for each million events. The full size is --events 10000000. Build with --release;
on battery or a busy machine the figures mean little. Exits with 1 when a bound is missed.")]
pub(crate) struct ReadArgs {
    /// How often everything is measured on the same log; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Events in the log
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    events: u64,
    /// Events that are looked up by their id, one after the other
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    lookups: u32,
    /// A directory to measure in, on the disk in question; it is made and removed again
    #[arg(long, default_value = "./flowstate-bench")]
    data: PathBuf,
    /// Write the table in Markdown
    #[arg(long)]
    markdown: bool,
}

pub(crate) async fn run(args: ReadArgs) -> anyhow::Result<()> {
    if args.data.exists() {
        bail!("`{}` exists; name a directory that can be made and removed", args.data.display());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the figures mean nothing");
    }
    std::fs::create_dir_all(&args.data)?;
    let before = Before::now();
    let mut sheet = Sheet::default();
    eprintln!("filling the log with {} events", args.events);
    let measured = async {
        let log = fill::fill(&args.data, args.events).await?;
        measure::all(&args, log, &mut sheet).await
    };
    let outcome = measured.await;
    std::fs::remove_dir_all(&args.data)?;
    let (files, bytes) = outcome?;
    print(report(&args, &sheet, before, files, bytes)?)?;
    if !sheet.holds() {
        bail!("a bound was missed");
    }
    Ok(())
}

fn report(
    args: &ReadArgs,
    sheet: &Sheet,
    before: Before,
    files: usize,
    bytes: u64,
) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}", before.describe())?;
    writeln!(text, "Durability: disk. The files were read before, so the system has them in memory.")?;
    writeln!(
        text,
        "{} repeats; {} distinct events of about 800 bytes in {files} compacted files of {} MiB together; {} \
         look-ups.",
        args.repeats,
        args.events,
        bytes >> 20,
        args.lookups,
    )?;
    writeln!(text, "\n{}", sheet.table(args.markdown))?;
    Ok(text)
}
