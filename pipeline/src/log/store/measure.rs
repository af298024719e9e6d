//! How fast a store is, and what time it has.

use super::{Store, cannot_open};
use crate::clock::{Clock, Micros};
use crate::log::LogError;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode};
use std::time::Duration;
use tokio::time::Instant;

/// How long each operation took, and what the store's clock says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Creating a small object that was absent.
    pub create: Duration,
    /// Reading it.
    pub read: Duration,
    /// Listing what lies beside it.
    pub list: Duration,
    /// Deleting it.
    pub delete: Duration,
    /// How far our clock is ahead of the store's, in µs; a store may tell whole seconds only.
    pub skew: Micros,
    /// How far our clock jumped meanwhile, in µs.
    pub clock_jump: Micros,
}

impl Store {
    /// Times each operation on an object that is made for it and taken away again.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails one of them.
    pub async fn measure(&self, clock: &Clock) -> Result<Timing, LogError> {
        let failed = |error: object_store::Error| cannot_open(&self.root, error.into());
        let name = format!("{}measure-{}", self.root.path(), uuid::Uuid::now_v7());
        let invalid = |error| failed(object_store::Error::InvalidPath { source: error });
        let path = Path::from_url_path(&name).map_err(invalid)?;
        let root = Path::from_url_path(self.root.path()).map_err(invalid)?;
        let store = &self.object_store;

        let (begin, begin_clock) = (Instant::now(), clock.now());
        store.put_opts(&path, "measure".into(), PutMode::Create.into()).await.map_err(failed)?;
        let (create, after) = (begin.elapsed(), clock.now());
        let start = Instant::now();
        let found = store.get(&path).await.map_err(failed)?;
        let made = found.meta.last_modified.timestamp_micros();
        found.bytes().await.map_err(failed)?;
        let read = start.elapsed();
        let start = Instant::now();
        store.list_with_delimiter(Some(&root)).await.map_err(failed)?;
        let list = start.elapsed();
        let start = Instant::now();
        store.delete(&path).await.map_err(failed)?;
        let delete = start.elapsed();
        let passed = i64::try_from(begin.elapsed().as_micros()).unwrap_or(i64::MAX);
        let skew = match made {
            made if made > after => after - made,
            // What is told in whole seconds is up to one second early.
            made if made + 1_000_000 < begin_clock => begin_clock - made,
            _ => 0,
        };
        Ok(Timing { create, read, list, delete, skew, clock_jump: clock.now() - begin_clock - passed })
    }
}
