//! The start of a restored node.

use super::Manifest;
use crate::Clock;
use crate::log::store::Store;
use crate::log::{LogConfig, LogError, PartitionId, adopt, claims, recovery};

/// A restored node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forked {
    /// Its new partition.
    pub partition: PartitionId,
    /// The node that delivers what is left of the old partition: itself, unless another was first.
    pub deliverer: PartitionId,
}

/// Gives a restored node, whose tables are in the store, a partition of its own in a new WAL directory, and
/// ends the one it had, whose deliveries it claims.
///
/// Where the tables were restored, too, no node writes to them: every partition in them ends, and each that
/// was claimed before is claimed again. Where they are in the bucket they always were in, only the node's own
/// partition ends. With [`Durability::Object`](crate::log::Durability::Object) it is adopted; else what its
/// disk held behind the last commit is lost, unless the node starts on that disk once more: then it commits
/// that, and goes on with a new partition.
///
/// # Errors
/// As [`adopt()`](crate::log::adopt()) and [`Log::open`](crate::log::Log::open).
pub async fn fork(config: &LogConfig, manifest: &Manifest, clock: &Clock) -> Result<Forked, LogError> {
    let store = Store::open(&config.store).await?;
    let id = |text: &str| PartitionId(text.into());
    let old = id(&manifest.partition);
    if manifest.has_tables {
        for partition in manifest.ends.keys().map(|text| id(text)) {
            adopt::end_on(&store, &partition, clock.clone()).await?;
        }
        for (partition, by) in &manifest.claims {
            claims::claim_on(&store, &id(partition), &id(by), clock).await?;
        }
    }
    adopt::end_on(&store, &old, clock.clone()).await?;
    let (wal, recovered) = recovery::open_wal(config).await?;
    drop(wal);
    let deliverer = claims::claim_on(&store, &old, &recovered.partition, clock).await?;
    Ok(Forked { partition: recovered.partition, deliverer })
}
