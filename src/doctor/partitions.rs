//! Whether servers that share the store are lost, or were taken over by half or without their deliveries.

use super::report::Report;
use crate::settings::Settings;
use pipeline::clock::SECOND;
use pipeline::connection::{ConnectionStore, State};
use pipeline::control::ControlError;
use pipeline::control::sqlite::Sqlite;
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
        let destinations = count_destinations(settings)
            .await
            .map_err(|error| LogError::store("the connections are not known", error))?;
        Ok::<_, LogError>((own, log::partitions(&store).await?, destinations))
    };
    match looked.await {
        Ok((own, partitions, destinations)) => {
            tell(&partitions, own.as_ref(), destinations, clock.now(), report);
        }
        Err(error) => report.fail(CHECK, error.to_string(), "see what it says, and run `flowstate verify`"),
    }
}

/// How many connections of the data directory get events, now or once a person lets them.
async fn count_destinations(settings: &Settings) -> Result<usize, ControlError> {
    let path = settings.control_path();
    // Opening it would make it.
    if !path.exists() {
        return Ok(0);
    }
    let sqlite = Sqlite::open(&path).await?;
    let connections = sqlite.connections().await;
    sqlite.close().await;
    let gets = |state: State| matches!(state, State::Enabled | State::Paused | State::Held);
    Ok(connections?.iter().filter(|connection| gets(connection.state)).count())
}

fn tell(
    partitions: &[PartitionReport],
    own: Option<&PartitionId>,
    destinations: usize,
    now: Micros,
    report: &mut Report,
) {
    let mut is_well = true;
    for found in partitions.iter().filter(|found| Some(&found.partition) != own) {
        let PartitionReport { partition, written_at, committed, end, claimed_by, .. } = found;
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
            PartitionState::Adopted if claimed_by.is_none() && destinations > 0 && *end > 0 => (
                format!("partition {partition} has ended, and no server delivers what its own had not"),
                format!("have this one do so: `flowstate adopt {partition} --deliver`"),
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
            claimed_by: None,
        };
        let (now, own) = (1_000 * MINUTE, PartitionId("own".into()));
        let well = [
            report("own", PartitionState::Open, Some(0)),
            report("busy", PartitionState::Open, Some(now - MINUTE)),
            report("old", PartitionState::Adopted, Some(0)),
            report("local", PartitionState::Local, None),
        ];
        let mut told = Report::default();
        tell(&well, Some(&own), 0, now, &mut told);
        assert_eq!(
            told.text(),
            "ok    partitions  4, none of a server that seems lost\n1 checks: 0 failed, 0 to look at\n"
        );
        let mut told = Report::default();
        let bad = [report("a", PartitionState::Open, Some(0)), report("b", PartitionState::Sealed, Some(0))];
        tell(&bad, Some(&own), 0, now, &mut told);
        let text = told.text();
        assert!(text.contains("adopt a --deliver") && text.contains("offset 4 of 9"), "{text}");
        assert!(text.ends_with("2 checks: 0 failed, 2 to look at\n"), "{text}");
    }

    #[test]
    fn an_ended_partition_that_nobody_delivers_is_told_where_there_are_destinations() {
        let ended = |claimed_by: Option<&str>, end| PartitionReport {
            partition: PartitionId("old".into()),
            state: PartitionState::Adopted,
            committed: end,
            end,
            objects: 1,
            written_at: Some(0),
            claimed_by: claimed_by.map(|by| PartitionId(by.into())),
        };
        for (report, destinations, is_told) in [
            (ended(None, 9), 1, true),
            (ended(None, 9), 0, false),
            (ended(None, 0), 1, false),
            (ended(Some("own"), 9), 1, false),
            (ended(Some("other"), 9), 1, false),
        ] {
            let mut told = Report::default();
            tell(&[report], Some(&PartitionId("own".into())), destinations, 0, &mut told);
            assert_eq!(told.text().contains("adopt old --deliver"), is_told, "{}", told.text());
        }
    }
}
