//! One file for each vendor that events go to.

mod answer;
#[cfg(test)]
mod conformance;
pub mod google_analytics;
mod manners;
pub mod mixpanel;
pub mod segment;
mod steps;
pub mod webhook;

use crate::SettingError;
use crate::engine::{Account, Sink};
use std::sync::Arc;

/// The sink of the vendor with this name, for one account.
///
/// # Errors
/// When a setting or credential cannot be used, or nothing can be sent to the vendor yet.
pub fn sink(vendor: &str, account: &Account) -> Result<Arc<dyn Sink>, SettingError> {
    Ok(match vendor {
        "google_analytics" => Arc::new(google_analytics::GoogleAnalytics::new(account)?),
        "mixpanel" => Arc::new(mixpanel::Mixpanel::new(account)?),
        "segment" => Arc::new(segment::Segment::new(account)?),
        "webhook" => Arc::new(webhook::Webhook::new(account)?),
        _ => {
            let problem = format!("nothing can be sent to `{vendor}` yet");
            return Err(SettingError { setting: "vendor", problem });
        }
    })
}
