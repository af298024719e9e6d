//! The one HTTP client for everything that leaves.
//!
//! It follows no redirects, reads no proxy from the environment, and bounds time and size.

use std::time::Duration;

/// The longest time to a vendor's whole answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the client.
///
/// # Errors
/// When the platform's certificates cannot be read.
#[expect(clippy::disallowed_methods, reason = "the one place that makes a client")]
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT)
        .user_agent(concat!("flowstate/", env!("CARGO_PKG_VERSION")))
        .build()
}
