//! What can be set.

use crate::ip::Network;
use std::time::Duration;

/// Limits and trust of the tracking API. [`Config::default`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes a request's body may have, before and after decompression. Default 4 MiB; 64 KiB to
    /// 64 MiB.
    pub request_bytes_max: usize,
    /// Bytes one event may have as JSON; a larger one is rejected and kept. Default 32 KiB; 1 KiB to
    /// 1 MiB.
    pub event_bytes_max: usize,
    /// Events a batch may have; the ones behind are rejected one by one, and a request with ten times
    /// as many (never more than 100,000) is refused as too large. Default 2,500; 1 to 100,000.
    pub batch_events_max: usize,
    /// Bytes the bodies of all requests under way may take together; beyond it requests are answered
    /// with 503. Default 256 MiB; at least twice `request_bytes_max`.
    pub bodies_bytes_max: usize,
    /// How long the whole body of a request may take to arrive. Default 30 seconds; 100 milliseconds
    /// to one hour.
    pub body_timeout: Duration,
    /// Bytes of rejected events that are kept for each source and hour; beyond it only what was
    /// wrong is kept. Default 64 MiB; 0 keeps no body.
    pub rejected_bytes_per_hour: u64,
    /// Events one source may send each second; what is over it is answered with 429. Default 0, which
    /// is no limit.
    pub source_events_per_s_max: u64,
    /// Requests one address may send each second, of all sources; what is over it is answered with
    /// 429. Default 0, which is no limit.
    pub address_requests_per_s_max: u64,
    /// Proxies whose `X-Forwarded-For` is believed, for `context.ip` and for the limit by address.
    /// Default none.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 << 20,
            event_bytes_max: 32 << 10,
            batch_events_max: 2_500,
            bodies_bytes_max: 256 << 20,
            body_timeout: Duration::from_secs(30),
            rejected_bytes_per_hour: 64 << 20,
            source_events_per_s_max: 0,
            address_requests_per_s_max: 0,
            trusted_proxies: Vec::new(),
        }
    }
}

/// A setting that is out of its range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{setting}` is {value}; allowed is {allowed}")]
pub struct ConfigError {
    /// The setting's name.
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl Config {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let timeout = Duration::from_millis(100)..=Duration::from_secs(3_600);
        let wrong = if !((64 << 10)..=(64 << 20)).contains(&self.request_bytes_max) {
            ("request_bytes_max", self.request_bytes_max.to_string(), "65536 to 67108864 bytes")
        } else if !((1 << 10)..=(1 << 20)).contains(&self.event_bytes_max) {
            ("event_bytes_max", self.event_bytes_max.to_string(), "1024 to 1048576 bytes")
        } else if !(1..=100_000).contains(&self.batch_events_max) {
            ("batch_events_max", self.batch_events_max.to_string(), "1 to 100000 events")
        } else if self.bodies_bytes_max < 2 * self.request_bytes_max {
            ("bodies_bytes_max", self.bodies_bytes_max.to_string(), "at least twice `request_bytes_max`")
        } else if !timeout.contains(&self.body_timeout) {
            ("body_timeout", format!("{:?}", self.body_timeout), "100 milliseconds to 1 hour")
        } else {
            return Ok(());
        };
        let (setting, value, allowed) = wrong;
        Err(ConfigError { setting, value, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_ranges() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_setting_out_of_range_is_named_with_what_is_allowed() {
        let config = Config { batch_events_max: 0, ..Config::default() };
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "`batch_events_max` is 0; allowed is 1 to 100000 events");
        let wrong = [
            Config { request_bytes_max: 1, ..Config::default() },
            Config { event_bytes_max: 2 << 20, ..Config::default() },
            Config { bodies_bytes_max: 4 << 20, ..Config::default() },
            Config { body_timeout: Duration::ZERO, ..Config::default() },
        ];
        assert!(wrong.iter().all(|config| config.check().is_err()));
    }
}
