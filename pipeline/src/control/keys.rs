//! Sources and API keys in memory, so that no request waits for the control store.

use super::{ApiKey, Control, ControlError, KeyHash, Source};
use crate::Micros;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How soon a change made by another process is seen.
const POLL: Duration = Duration::from_millis(500);
/// After how many polls it is written down when keys were used: about a minute.
const POLLS_OF_USE: u64 = 120;

/// The sources and API keys of a control store, found by their key.
pub struct Keys {
    control: Arc<dyn Control>,
    known: ArcSwap<Known>,
    /// When API keys were used since that was last written down.
    used: Mutex<HashMap<KeyHash, Micros>>,
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
        let keys = Self { control, known: ArcSwap::default(), used: Mutex::default() };
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

    /// Takes note that an API key was used; [`Keys::follow`] writes it down within a minute or so.
    pub fn used(&self, key: KeyHash, at: Micros) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key, at);
    }

    /// Writes down when API keys were used.
    ///
    /// # Errors
    /// When the control store cannot be written; the uses since are forgotten then.
    pub async fn write_uses(&self) -> Result<(), ControlError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        self.control.api_keys_used(&used.into_iter().collect::<Vec<_>>()).await
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
        for poll in 1_u64.. {
            tokio::time::sleep(POLL).await;
            if poll.is_multiple_of(POLLS_OF_USE)
                && let Err(error) = self.write_uses().await
            {
                tracing::warn!(%error, "it could not be written down when API keys were used");
            }
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
