//! Whether servers that share the store are lost, or were taken over by half.

use super::report::Report;
use crate::settings::Settings;
use pipeline::clock::SECOND;
use pipeline::event::format_timestamp;
use pipeline::log::{self, LogError, PartitionId, PartitionReport, PartitionState};
use pipeline::{Clock, Micros};

const MINUTE: Micros = 60 * SECOND;
const CHECK: &str = "partitions";
/// A server that has written nothing for so long may be lost, or have nothing to write.
const SILENT: Micros = 10 * MINUTE;

pub(super) async fn look(settings: &Settings, clock: &Clock, report: &mut Report) {
    let wal = settings.data.join("wal");
    let looked = async {
        let own = log::wal::partition(log::wal::fs::RealFs, &wal)?;
        let store = settings.store().map_err(|error| LogError::store("the store is not known", error))?;
        Ok::<_, LogError>((own, log::partitions(&store).await?))
    };
    match looked.await {
        Ok((own, partitions)) => tell(&partitions, own.as_ref(), clock.now(), report),
        Err(error) => report.fail(CHECK, error.to_string(), "see what it says, and run `flowstate verify`"),
    }
}

fn tell(partitions: &[PartitionReport], own: Option<&PartitionId>, now: Micros, report: &mut Report) {
    let mut is_well = true;
    for found in partitions.iter().filter(|found| Some(&found.partition) != own) {
        let PartitionReport { partition, written_at, committed, end, .. } = found;
        let silent = written_at.is_some_and(|at| now - at > SILENT);
        let (what, remedy) = match found.state {
            PartitionState::Open if silent => (
                format!(
                    "the server of partition {partition} wrote last at {}",
                    written_at.map_or_else(String::new, format_timestamp)
                ),
                format!("if it is gone for good: `flowstate adopt {partition} --deliver`"),
            ),
            PartitionState::Sealed => (
                format!("partition {partition} was taken over up to offset {committed} of {end}"),
                format!("finish it: `flowstate adopt {partition}`"),
            ),
            _ => continue,
        };
        is_well = false;
        report.warn(CHECK, what, remedy);
    }
    if is_well {
        report.ok(CHECK, format!("{}, none of a server that seems lost", partitions.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_servers_and_half_adoptions_are_told_and_nothing_else() {
        let report = |name: &str, state, written_at| PartitionReport {
            partition: PartitionId(name.into()),
            state,
            committed: 4,
            end: 9,
            objects: 2,
            written_at,
        };
        let (now, own) = (1_000 * MINUTE, PartitionId("own".into()));
        let well = [
            report("own", PartitionState::Open, Some(0)),
            report("busy", PartitionState::Open, Some(now - MINUTE)),
            report("old", PartitionState::Adopted, Some(0)),
            report("local", PartitionState::Local, None),
        ];
        let mut told = Report::default();
        tell(&well, Some(&own), now, &mut told);
        assert_eq!(
            told.text(),
            "ok    partitions  4, none of a server that seems lost\n1 checks: 0 failed, 0 to look at\n"
        );
        let mut told = Report::default();
        let bad = [report("a", PartitionState::Open, Some(0)), report("b", PartitionState::Sealed, Some(0))];
        tell(&bad, Some(&own), now, &mut told);
        let text = told.text();
        assert!(text.contains("adopt a --deliver") && text.contains("offset 4 of 9"), "{text}");
        assert!(text.ends_with("2 checks: 0 failed, 2 to look at\n"), "{text}");
    }
}
