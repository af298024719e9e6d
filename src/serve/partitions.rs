//! What the console asks about partitions, answered by the log.

use console::{Adoption, Committed, Partition, PartitionsError};
use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::Clock;
use pipeline::event::format_timestamp;
use pipeline::log::table::TableKind;
use pipeline::log::{Log, LogError, PartitionId, PartitionState};
use sinks::service::Service;
use std::sync::Arc;

/// The console's partitions over the log and the deliveries.
pub(crate) struct LogPartitions {
    pub(crate) log: Arc<Log>,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Clock,
}

impl console::Partitions for LogPartitions {
    fn list(&self) -> BoxFuture<'static, Result<Vec<Partition>, PartitionsError>> {
        let log = Arc::clone(&self.log);
        async move {
            let here = log.assigned().await.map_err(failed)?;
            let reports = log.all_partitions().await.map_err(failed)?;
            let shown = reports.into_iter().map(|report| Partition {
                own: report.partition == *log.partition(),
                state: report.state.as_str(),
                committed: report.committed,
                end: report.end,
                objects: report.objects,
                written_at: report.written_at.map(format_timestamp),
                delivered_here: here.contains(&report.partition),
                delivered_by: report.claimed_by.map(|by| by.to_string()),
                partition: report.partition.to_string(),
            });
            Ok(shown.collect())
        }
        .boxed()
    }

    fn adopt(
        &self,
        partition: PartitionId,
        deliver: bool,
        now: bool,
    ) -> BoxFuture<'static, Result<Adoption, PartitionsError>> {
        let (log, service, clock) = (Arc::clone(&self.log), Arc::clone(&self.service), self.clock.clone());
        async move {
            if partition == *log.partition() {
                return refused("this server appends to the partition itself");
            }
            let reports = log.all_partitions().await.map_err(failed)?;
            let found = reports.iter().find(|report| report.partition == partition);
            let found = found.ok_or_else(|| PartitionsError::Unknown(partition.to_string()))?;
            if found.state == PartitionState::Local {
                return refused("what is behind its last commit is on its server's disk: start that server again");
            }
            if crate::adopt::seems_to_live(found, &clock) && !now {
                return refused(
                    "it was written to within the last minute, so its server seems to live; with `now` it is taken \
                     from it all the same",
                );
            }
            let (adopted, by) = log.adopt(&partition, deliver).await.map_err(failed)?;
            service.changed();
            Ok(Adoption {
                partition: partition.to_string(),
                end: adopted.end,
                records: adopted.records,
                delivered_by: by.map(|by| by.to_string()),
            })
        }
        .boxed()
    }

    fn commit(&self) -> BoxFuture<'static, Result<Committed, PartitionsError>> {
        let (log, service) = (Arc::clone(&self.log), Arc::clone(&self.service));
        async move {
            service.flush().await.map_err(failed)?;
            let versions = log.pin().await.map_err(failed)?;
            let names = TableKind::ALL.map(TableKind::name);
            Ok(Committed {
                partition: log.partition().to_string(),
                versions: names.into_iter().zip(versions).collect(),
            })
        }
        .boxed()
    }
}

fn refused<T>(why: &str) -> Result<T, PartitionsError> {
    Err(PartitionsError::Refused(why.to_owned()))
}

fn failed(error: LogError) -> PartitionsError {
    PartitionsError::Failed(error.to_string())
}
