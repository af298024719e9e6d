//! Places where a test may have the process end as if its power had gone.
//!
//! Only debug builds have them; in a release build [`hit`] is nothing.

use std::sync::OnceLock;

static ARMED: OnceLock<String> = OnceLock::new();

/// Has the process abort when it comes to the place of this name. Only the first call counts.
pub fn arm(name: String) {
    if cfg!(debug_assertions) {
        let _ = ARMED.set(name);
    }
}

/// Marks a place: aborts when it is the armed one.
pub fn hit(name: &str) {
    if cfg!(debug_assertions) && ARMED.get().is_some_and(|armed| armed == name) {
        tracing::error!("failpoint `{name}` ends the process");
        std::process::abort();
    }
}
