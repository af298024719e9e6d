//! Which message ids were stored within the window.

/// The hash of a message id within its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdHash(pub u64);

impl IdHash {
    /// The hash of `message_id` in `source`.
    pub fn of(source: &str, message_id: &str) -> Self {
        let seed = xxhash_rust::xxh3::xxh3_64(source.as_bytes());
        Self(xxhash_rust::xxh3::xxh3_64_with_seed(message_id.as_bytes(), seed))
    }
}
