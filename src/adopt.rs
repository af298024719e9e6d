//! `flowstate adopt`: takes over the partition of a node that is lost, or lists the partitions.

use crate::cli::AdoptArgs;
use crate::output::print;
use crate::settings::Settings;
use anyhow::{Context, bail};
use pipeline::clock::SECOND;
use pipeline::event::format_timestamp;
use pipeline::log::{self, Adopted, PartitionId, PartitionReport, PartitionState};
use pipeline::{Clock, Micros};

/// A partition that was written to within this time most likely has a node that lives.
const RECENT: Micros = 60 * SECOND;

pub(crate) async fn run(args: AdoptArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let (store, clock) = (settings.store()?, Clock::system());
    let partitions = log::partitions(&store).await?;
    let Some(name) = args.partition else {
        return Ok(print(list(&partitions))?);
    };
    let Some(found) = partitions.iter().find(|found| *found.partition.0 == *name) else {
        bail!("there is no partition `{name}` in `{}`; `flowstate adopt` lists those there are", store.url);
    };
    if seems_to_live(found, &clock) && !args.now {
        bail!(
            "partition `{name}` was written to within the last minute, so its node seems to live; with `--now` it \
             is taken from it all the same"
        );
    }
    let partition = PartitionId(name.as_str().into());
    let node = if args.deliver { Some(node(&settings)?) } else { None };
    let adopted = log::adopt(&store, &partition, clock.clone()).await?;
    print(outcome(&name, &adopted))?;
    let Some(node) = node else { return Ok(()) };
    let by = log::claim(&store, &partition, &node, &clock).await?;
    if by != node {
        bail!("partition {name} is adopted; the server of partition {by} delivers its events, and was first");
    }
    Ok(print(format!("the server of partition {node} delivers its events\n"))?)
}

/// Whether a partition was written to so recently that its server most likely lives.
pub(crate) fn seems_to_live(report: &PartitionReport, clock: &Clock) -> bool {
    let recent = report.written_at.is_some_and(|at| clock.now() - at < RECENT);
    report.state == PartitionState::Open && recent
}

/// The partition of the server of the data directory.
fn node(settings: &Settings) -> anyhow::Result<PartitionId> {
    let wal = settings.data.join("wal");
    log::wal::partition(log::wal::fs::RealFs, &wal)?.with_context(|| {
        format!(
            "`--deliver` is for the server of a data directory, and `{}` is none: name one with --data",
            settings.data.display()
        )
    })
}

fn outcome(partition: &str, adopted: &Adopted) -> String {
    let Adopted { end, records, was_sealed } = adopted;
    let again = if *was_sealed { ", which was sealed before," } else { "" };
    format!("partition {partition}{again} ends at offset {end}; {records} records moved into the tables\n")
}

fn list(partitions: &[PartitionReport]) -> String {
    let mut lines = format!(
        "{:16}  {:8}  {:>12}  {:>12}  {:>7}  {:16}  last written\n",
        "partition", "state", "committed", "end", "objects", "delivered by"
    );
    for report in partitions {
        let state = report.state.as_str();
        let written = report.written_at.map_or_else(|| "-".to_owned(), format_timestamp);
        let by = report.claimed_by.as_ref().map_or("-", |by| &*by.0);
        lines += &format!(
            "{:16}  {state:8}  {:>12}  {:>12}  {:>7}  {by:16}  {written}\n",
            report.partition.0, report.committed, report.end, report.objects
        );
    }
    lines
        + "\nlocal: records behind `committed` are on its node's disk; open: appends, or its node is lost; \
           sealed: adopt it again; adopted: ended, all of it is in the tables\n\
           delivered by: the server, by its own partition, that has claimed the events of one that ended\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_every_partition_and_how_it_stands() {
        let report = |name: &str, state, written_at| PartitionReport {
            partition: PartitionId(name.into()),
            state,
            committed: 4,
            end: 9,
            objects: 2,
            written_at,
            claimed_by: None,
        };
        let claimed_by = Some(PartitionId("0123456789abcdef".into()));
        let text = list(&[
            report("0123456789abcdef", PartitionState::Open, Some(0)),
            report("fedcba9876543210", PartitionState::Local, None),
            PartitionReport { claimed_by, ..report("00000000000000aa", PartitionState::Adopted, Some(0)) },
        ]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let epoch = "1970-01-01T00:00:00.000000Z";
        assert_eq!(lines[1], ["0123456789abcdef", "open", "4", "9", "2", "-", epoch]);
        assert_eq!(lines[2], ["fedcba9876543210", "local", "4", "9", "2", "-", "-"]);
        assert_eq!(lines[3], ["00000000000000aa", "adopted", "4", "9", "2", "0123456789abcdef", epoch]);
    }
}
