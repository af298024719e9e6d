//! What the nodes of one store tell each other they need.
//!
//! One node removes what is due in all partitions, and knows its own destinations only. So each node
//! keeps an object with its needs, `_retention/<partition>.json`, which it alone overwrites.

use super::{Need, Partitions};
use crate::clock::{DAY, HOUR};
use crate::log::store::Store;
use crate::log::{LogError, Offset, PartitionId};
use crate::{Clock, Micros};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

const DIR: &str = "_retention";

/// Needs that were told longer ago hold nothing: their node is gone, and would hold rows for ever.
const KEPT: Micros = 7 * DAY;

/// Needs that have not changed are told again after this time.
const AGAIN: Micros = HOUR;

/// Tells the store this node's needs, and reads those of the others.
pub(crate) struct Notices {
    store: Store,
    own: PartitionId,
    clock: Clock,
    told: Option<(Vec<Need>, Micros)>,
}

#[derive(Deserialize, Serialize)]
struct Notice {
    /// In µs.
    told_at: Micros,
    needs: Vec<Told>,
}

#[derive(Deserialize, Serialize)]
struct Told {
    /// `None` for all but `all_but`.
    partition: Option<String>,
    #[serde(default)]
    all_but: Vec<String>,
    offset: Offset,
    from: Option<Micros>,
    by: String,
    passed_over: Option<String>,
}

impl Notices {
    /// The notices of a node with this partition.
    pub(crate) fn new(store: &Store, own: PartitionId, clock: Clock) -> Self {
        Self { store: store.clone(), own, clock, told: None }
    }

    /// Tells the needs of this node, where they have changed or were told long ago.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails.
    pub(crate) async fn tell(&mut self, needs: &[Need]) -> Result<(), LogError> {
        let now = self.clock.now();
        if self.told.as_ref().is_some_and(|(told, at)| told == needs && now - at < AGAIN) {
            return Ok(());
        }
        let notice = Notice { told_at: now, needs: needs.iter().map(Told::from).collect() };
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store("what this node's destinations need cannot be told", error)
        };
        let bytes = serde_json::to_vec(&notice).map_err(|error| failed(error.into()))?;
        let path = path(&self.store, &format!("{}.json", self.own)).map_err(|error| failed(error.into()))?;
        self.store.object_store.put(&path, bytes.into()).await.map_err(|error| failed(error.into()))?;
        self.told = Some((needs.to_vec(), now));
        Ok(())
    }

    /// The needs of the other nodes.
    ///
    /// # Errors
    /// As [`Notices::read`].
    pub(crate) async fn of_others(&self) -> Result<Vec<Need>, LogError> {
        Self::read(&self.store, Some(&self.own), self.clock.now()).await
    }

    /// The needs that all nodes but `own` have told within a week.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails or a notice cannot be read: it may hold what is needed.
    pub(crate) async fn read(
        store: &Store,
        own: Option<&PartitionId>,
        now: Micros,
    ) -> Result<Vec<Need>, LogError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            LogError::store("what the nodes' destinations need cannot be read", error)
        };
        let dir = path(store, "").map_err(|error| failed(error.into()))?;
        let own = own.map(|own| format!("{own}.json"));
        let listed: Vec<_> =
            store.object_store.list(Some(&dir)).try_collect().await.map_err(|error| failed(error.into()))?;
        let mut needs = Vec::new();
        for object in listed {
            let name = object.location.filename();
            if name.is_none_or(|name| !name.ends_with(".json") || own.as_deref() == Some(name)) {
                continue;
            }
            let bytes = match store.object_store.get(&object.location).await {
                Ok(found) => found.bytes().await.map_err(|error| failed(error.into()))?,
                Err(Error::NotFound { .. }) => continue,
                Err(error) => return Err(failed(error.into())),
            };
            let notice: Notice = serde_json::from_slice(&bytes)
                .map_err(|error| failed(format!("`{}`: {error}", object.location).into()))?;
            if now.saturating_sub(notice.told_at) > KEPT {
                continue;
            }
            needs.extend(notice.needs.into_iter().map(Need::from));
        }
        Ok(needs)
    }
}

impl From<&Need> for Told {
    fn from(need: &Need) -> Self {
        let (partition, all_but) = match &need.partitions {
            Partitions::One(one) => (Some(one.to_string()), Vec::new()),
            Partitions::AllBut(others) => (None, others.iter().map(ToString::to_string).collect()),
        };
        let Need { partitions: _, offset, from, by, passed_over } = need.clone();
        Self { partition, all_but, offset, from, by, passed_over }
    }
}

impl From<Told> for Need {
    fn from(told: Told) -> Self {
        let Told { partition, all_but, offset, from, by, passed_over } = told;
        let id = |name: String| PartitionId(name.into());
        let partitions = match partition {
            Some(one) => Partitions::One(id(one)),
            None => Partitions::AllBut(all_but.into_iter().map(id).collect()),
        };
        Self { partitions, offset, from, by, passed_over }
    }
}

fn path(store: &Store, name: &str) -> Result<Path, object_store::path::Error> {
    Path::from_url_path(format!("{}{DIR}/{name}", store.root.path()))
}
