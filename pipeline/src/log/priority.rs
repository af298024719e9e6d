//! Requests come first: what can wait runs at a lower priority.

/// How far below the server's own threads commits, compactions and merges run (`nice`).
const BACKGROUND_NICE: i32 = 10;

/// Lowers the priority of this thread and of those that it starts.
pub(super) fn lower() {
    if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICE) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}
