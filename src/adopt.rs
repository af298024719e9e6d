//! `flowstate adopt`: takes over the partition of a node that is lost, or lists the partitions.

use crate::cli::AdoptArgs;
use crate::output::print;
use anyhow::bail;
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
    let recent = found.written_at.is_some_and(|at| clock.now() - at < RECENT);
    if found.state == PartitionState::Open && recent && !args.now {
        bail!(
            "partition `{name}` was written to within the last minute, so its node seems to live; with `--now` it \
             is taken from it all the same"
        );
    }
    let adopted = log::adopt(&store, &PartitionId(name.as_str().into()), clock).await?;
    Ok(print(outcome(&name, &adopted))?)
}

fn outcome(partition: &str, adopted: &Adopted) -> String {
    let Adopted { end, records, was_sealed } = adopted;
    let again = if *was_sealed { ", which was sealed before," } else { "" };
    format!("partition {partition}{again} ends at offset {end}; {records} records moved into the tables\n")
}

fn list(partitions: &[PartitionReport]) -> String {
    let mut lines = format!(
        "{:16}  {:8}  {:>12}  {:>12}  {:>7}  last written\n",
        "partition", "state", "committed", "end", "objects"
    );
    for report in partitions {
        let state = match report.state {
            PartitionState::Local => "local",
            PartitionState::Open => "open",
            PartitionState::Sealed => "sealed",
            PartitionState::Adopted => "adopted",
        };
        let written = report.written_at.map_or_else(|| "-".to_owned(), format_timestamp);
        lines += &format!(
            "{:16}  {state:8}  {:>12}  {:>12}  {:>7}  {written}\n",
            report.partition.0, report.committed, report.end, report.objects
        );
    }
    lines
        + "\nlocal: records behind `committed` are on its node's disk; open: appends, or its node is lost; \
           sealed: adopt it again; adopted: ended, all of it is in the tables\n"
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
        };
        let text = list(&[
            report("0123456789abcdef", PartitionState::Open, Some(0)),
            report("fedcba9876543210", PartitionState::Local, None),
        ]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["0123456789abcdef", "open", "4", "9", "2", "1970-01-01T00:00:00.000000Z"]);
        assert_eq!(lines[2], ["fedcba9876543210", "local", "4", "9", "2", "-"]);
    }
}
