//! Which node delivers the events of a partition that has ended.

use super::store::{Store, StoreConfig};
use super::table::TableKind;
use super::{Adopted, Log, LogError, PartitionId, PartitionReport, adopt};
use crate::{Clock, Micros};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The directory of all claims.
const DIRECTORY: &str = "_deliver";

/// What a claim says.
#[derive(Deserialize, Serialize)]
struct Claim {
    /// The partition of the node that delivers.
    by: String,
    /// When it was made, in µs; for people.
    at: Micros,
}

/// The claims that are known.
///
/// A claim is an object, `_deliver/<partition>`, that is created if there is none and never changed or
/// removed: so of several nodes one has it, for good. It names the partition of its node. When that one ends
/// in its turn, whoever claims it has everything that it had claimed, too: claims are followed to the end.
#[derive(Default)]
pub(super) struct Claims {
    by: HashMap<PartitionId, PartitionId>,
    /// Some are new, and the tables were not looked at since.
    are_new: bool,
}

impl Claims {
    /// Takes in claims that were made since.
    pub(super) async fn refresh(&mut self, store: &Store) -> Result<(), LogError> {
        let failed = |error| LogError::store("the claims of partitions cannot be read", error);
        let listed = store.object_store.list(Some(&path(store, "")?)).try_collect::<Vec<_>>().await;
        let listed = match listed {
            Err(Error::NotFound { .. }) => return Ok(()),
            listed => listed.map_err(failed)?,
        };
        for found in listed {
            let Some(name) = found.location.filename() else { continue };
            let partition = PartitionId(name.into());
            if !self.by.contains_key(&partition)
                && let Some(by) = read(store, &partition).await?
            {
                self.by.insert(partition, by);
                self.are_new = true;
            }
        }
        Ok(())
    }

    /// The partitions that the node of `node` delivers besides its own, in no order.
    pub(super) fn of<'a>(&'a self, node: &'a PartitionId) -> impl Iterator<Item = &'a PartitionId> {
        self.by.keys().filter(move |partition| *partition != node && self.deliverer(partition) == node)
    }

    /// The node that delivers the events of a partition, where it is not the partition's own.
    pub(super) fn claimed_by<'a>(&'a self, partition: &'a PartitionId) -> Option<&'a PartitionId> {
        Some(self.deliverer(partition)).filter(|by| *by != partition)
    }

    fn deliverer<'a>(&'a self, partition: &'a PartitionId) -> &'a PartitionId {
        let mut last = partition;
        // A chain is no longer than there are claims, unless somebody made a ring of them.
        for _ in 0..=self.by.len() {
            match self.by.get(last) {
                Some(by) => last = by,
                None => break,
            }
        }
        last
    }
}

impl Log {
    /// The partitions that have ended and whose events this node delivers, as the claims in the store say: at
    /// any time no other node does. It costs a listing of the store.
    ///
    /// # Errors
    /// [`LogError::Store`] when the claims cannot be read; [`LogError::Damaged`] when one is none.
    pub async fn assigned(&self) -> Result<Vec<PartitionId>, LogError> {
        let mut claims = self.claims.lock().await;
        claims.refresh(self.published.table(TableKind::Events).store()).await?;
        if claims.are_new {
            // Whoever claims a partition has committed all of it before.
            self.published.refresh().await?;
            claims.are_new = false;
        }
        let mut assigned: Vec<_> = claims.of(&self.partition).cloned().collect();
        assigned.sort();
        Ok(assigned)
    }

    /// Adopts a partition, as [`adopt()`](adopt::adopt) does, and claims the delivery of its events for this node where
    /// `deliver` says so. Answers with the node that delivers them; `None` when none does.
    ///
    /// # Errors
    /// As [`adopt()`](adopt::adopt). A partition that is this node's own cannot be adopted by it.
    pub async fn adopt(
        &self,
        partition: &PartitionId,
        deliver: bool,
    ) -> Result<(Adopted, Option<PartitionId>), LogError> {
        if *partition == self.partition {
            return Err(LogError::store(
                format!("partition {partition} cannot be adopted"),
                "it is this node's own",
            ));
        }
        let store = self.published.table(TableKind::Events).store();
        let adopted = adopt::adopt_on(store, partition, self.clock.clone()).await?;
        let by = match deliver {
            true => Some(claim_on(store, partition, &self.partition, &self.clock).await?),
            false => read(store, partition).await?,
        };
        Ok((adopted, by))
    }

    /// The partitions that the tables and the objects know, as [`partitions`](adopt::partitions) tells them.
    ///
    /// # Errors
    /// As [`partitions`](adopt::partitions).
    pub async fn all_partitions(&self) -> Result<Vec<PartitionReport>, LogError> {
        adopt::partitions_on(self.published.table(TableKind::Events).store()).await
    }
}

/// Claims the delivery of a partition that has ended for the node whose own partition is `node`; answers with
/// the one that has it, which is another where that was first.
///
/// # Errors
/// [`LogError::Store`] when the store fails, or when the partition has not ended: its node delivers its
/// events, and [`adopt()`](adopt::adopt) ends it.
pub async fn claim(
    config: &StoreConfig,
    partition: &PartitionId,
    node: &PartitionId,
    clock: &Clock,
) -> Result<PartitionId, LogError> {
    claim_on(&Store::open(config).await?, partition, node, clock).await
}

pub(super) async fn claim_on(
    store: &Store,
    partition: &PartitionId,
    node: &PartitionId,
    clock: &Clock,
) -> Result<PartitionId, LogError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        LogError::store(format!("the delivery of partition {partition} cannot be claimed"), error)
    };
    if adopt::ended_at(store, partition).await?.is_none() {
        return Err(failed("it has not ended: its own node delivers its events".into()));
    }
    if partition == node {
        return Err(failed("a node that has ended cannot deliver".into()));
    }
    let claim = Claim { by: node.to_string(), at: clock.now() };
    let bytes = serde_json::to_vec(&claim).map_err(|error| failed(error.into()))?;
    let path = path(store, &partition.0)?;
    match store.object_store.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
        Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
        Err(error) => return Err(failed(error.into())),
    }
    // What stands there decides, whoever made it: an answer may have been lost.
    read(store, partition).await?.ok_or_else(|| failed("the claim was made and is not there".into()))
}

/// Who has claimed a partition; `None` when nobody has.
pub(super) async fn read(store: &Store, partition: &PartitionId) -> Result<Option<PartitionId>, LogError> {
    let failed = |error| LogError::store(format!("the claim of partition {partition} cannot be read"), error);
    let bytes = match store.object_store.get(&path(store, &partition.0)?).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let claim: Claim = serde_json::from_slice(&bytes).map_err(|error| {
        LogError::Damaged(format!("`{DIRECTORY}/{partition}` is no claim of a partition: {error}"))
    })?;
    Ok(Some(PartitionId(claim.by.into())))
}

fn path(store: &Store, below: &str) -> Result<Path, LogError> {
    let url = store.url(DIRECTORY);
    Path::from_url_path(format!("{}{below}", url.path()))
        .map_err(|error| LogError::store(format!("`{url}` is no place for claims"), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    fn id(name: &str) -> PartitionId {
        PartitionId(format!("{name:0>16}").into())
    }

    #[tokio::test]
    async fn of_several_nodes_one_delivers_and_what_it_had_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let config: StoreConfig = url::Url::from_directory_path(dir.path()).unwrap().into();
        let (store, clock) = (Store::open(&config).await.unwrap(), Clock::given(1_768_478_400 * SECOND));
        let (lost, one, two) = (id("a"), id("1"), id("2"));
        let error = claim_on(&store, &lost, &one, &clock).await.unwrap_err();
        assert!(error.to_string().contains("cannot be claimed"), "{error}");
        for ended in [&lost, &one] {
            assert_eq!(adopt::end_on(&store, ended, clock.clone()).await.unwrap(), 0);
        }
        let (first, second) =
            tokio::join!(claim_on(&store, &lost, &one, &clock), claim_on(&store, &lost, &two, &clock));
        let winner = first.unwrap();
        assert_eq!(winner, second.unwrap(), "both think that it is theirs");
        let of = async |node: &PartitionId| {
            let mut claims = Claims::default();
            claims.refresh(&store).await.unwrap();
            let mut of: Vec<_> = claims.of(node).cloned().collect();
            of.sort();
            of
        };
        assert_eq!(of(&winner).await, std::slice::from_ref(&lost));
        // The other of the two ended, and a third takes over what it has.
        let (third, fourth) = (id("3"), id("4"));
        assert_eq!(claim_on(&store, &one, &third, &clock).await.unwrap(), third);
        if winner == one {
            assert!(of(&one).await.is_empty());
            assert_eq!(of(&third).await, [one.clone(), lost.clone()]);
        } else {
            assert_eq!(of(&third).await, std::slice::from_ref(&one));
        }
        assert!(of(&fourth).await.is_empty());
        let mut claims = Claims::default();
        claims.refresh(&store).await.unwrap();
        let last = if winner == one { &third } else { &two };
        assert_eq!(claims.claimed_by(&lost), Some(last));
        assert_eq!((claims.claimed_by(&one), claims.claimed_by(&third)), (Some(&third), None));
    }

    #[test]
    fn a_ring_of_claims_ends() {
        let by = [(id("1"), id("2")), (id("2"), id("1"))].into();
        let ring = Claims { by, are_new: false };
        assert_eq!(ring.of(&id("3")).count(), 0);
    }
}
