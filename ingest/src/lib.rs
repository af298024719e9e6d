//! Everything that comes in: the tracking API as Segment's, RudderStack's and Jitsu's clients speak
//! it, mounted on a server with [`configure`].
//!
//! A request is read within limits ([`Config`]), taken apart without a copy where that is possible,
//! checked event by event, and appended to the log as one batch. Only then is it answered.

mod admit;
mod answer;
mod auth;
mod body;
mod config;
mod envelope;
mod import;
mod ip;
mod item;
mod meter;
mod object;
mod pixel;
mod prepare;
mod quota;
mod rate;
mod routes;
mod rules;
mod settings;
mod shared;
mod text;
mod tracking;

pub use admit::{AdmitError, Admitted, Repaired, made_message_id};
pub use config::{Config, ConfigError};
pub use import::{ImportError, Imported, Piece, Reason};
pub use ip::{Network, NetworkError};
pub use routes::{configure, unknown_path};

use body::Memory;
use futures::future::BoxFuture;
use pipeline::Clock;
use pipeline::control::Keys;
use pipeline::log::{AppendError, Appended, Batch, Log};
use prepare::Tools;
use quota::Quota;
use rate::Rates;
use std::sync::Arc;

/// The tracking API over one log.
pub struct Ingest {
    log: Arc<dyn Append>,
    tools: Tools,
    memory: Memory,
    rates: Rates,
    clock: Clock,
}

impl Ingest {
    /// Takes events for `log` from the sources that `keys` knows.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(log: Arc<Log>, keys: Arc<Keys>, config: Config, clock: Clock) -> Result<Self, ConfigError> {
        Self::over(log, keys, config, clock)
    }

    fn over(
        log: Arc<dyn Append>,
        keys: Arc<Keys>,
        config: Config,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let memory = Memory::new(config.bodies_bytes_max);
        let rates = Rates::new(config.source_events_per_s_max, config.address_requests_per_s_max);
        let quota = Arc::new(Quota::new(config.rejected_bytes_per_hour));
        Ok(Self { log, tools: Tools { config: Arc::new(config), keys, quota }, memory, rates, clock })
    }
}

/// What the tracking API needs of the log.
trait Append: Send + Sync {
    /// See [`Log::append`].
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>>;
}

impl Append for Log {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(Self::append(self, batch))
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
