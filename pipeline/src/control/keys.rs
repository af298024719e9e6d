//! Sources and API keys in memory, so that no request waits for the control store.

use super::{ApiKey, Control, ControlError, KeyHash, Source};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How soon a change made by another process is seen.
const POLL: Duration = Duration::from_millis(500);

/// The sources and API keys of a control store, found by their key.
pub struct Keys {
    control: Arc<dyn Control>,
    known: ArcSwap<Known>,
}

#[derive(Default)]
struct Known {
    version: i64,
    sources: HashMap<KeyHash, Arc<Source>>,
    api_keys: HashMap<KeyHash, Arc<ApiKey>>,
}

impl Keys {
    /// Reads all sources and keys.
    ///
    /// # Errors
    /// When the control store cannot be read.
    pub async fn load(control: Arc<dyn Control>) -> Result<Arc<Self>, ControlError> {
        let keys = Self { control, known: ArcSwap::default() };
        keys.refresh().await?;
        Ok(Arc::new(keys))
    }

    /// The source with this write key, whether it is enabled or not.
    pub fn source(&self, write_key: &str) -> Option<Arc<Source>> {
        self.known.load().sources.get(&KeyHash::of(write_key)).cloned()
    }

    /// The source of this name, whether it is enabled or not.
    pub fn source_named(&self, name: &str) -> Option<Arc<Source>> {
        self.known.load().sources.values().find(|source| source.name == name).cloned()
    }

    /// The API key that this is.
    pub fn api_key(&self, key: &str) -> Option<Arc<ApiKey>> {
        self.known.load().api_keys.get(&KeyHash::of(key)).cloned()
    }

    /// Reads everything anew.
    ///
    /// # Errors
    /// When the control store cannot be read; what was known stays.
    pub async fn refresh(&self) -> Result<(), ControlError> {
        let version = self.control.version().await?;
        let sources = self.control.sources().await?;
        let api_keys = self.control.api_keys().await?;
        self.known.store(Arc::new(Known {
            version,
            sources: sources.into_iter().map(|source| (source.write_key_hash, Arc::new(source))).collect(),
            api_keys: api_keys.into_iter().map(|key| (key.hash, Arc::new(key))).collect(),
        }));
        Ok(())
    }

    /// Follows the control store for ever; changes of other processes are seen within a second.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(POLL).await;
            let outcome = match self.control.version().await {
                Ok(version) if version == self.known.load().version => continue,
                Ok(_) => self.refresh().await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "sources and API keys could not be read anew, the known ones stay");
            }
        }
    }
}
