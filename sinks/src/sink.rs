//! What a vendor's code has to offer.

use crate::Outcome;
use async_trait::async_trait;
use bytes::Bytes;
use pipeline::event::Event;
use pipeline::log::Stored;

/// One vendor's way of taking events: a pure mapping, and one request.
///
/// The [`crate::Worker`] does everything else: it leaves out events that are not meant for the
/// vendor, cuts batches within [`Limits`], keeps their order, retries, splits refused batches and
/// moves the cursor.
///
/// A payload depends on the event alone, so that every attempt sends the same bytes and above all
/// the same id. An implementation never retries by itself and never shows a credential: not in
/// `Debug`, not in an [`Outcome`].
#[async_trait]
pub trait Sink: Send + Sync {
    /// The vendor's name in the `integrations` object of an event, such as `Segment.io`.
    fn integration(&self) -> &'static str;

    /// What one request may hold.
    fn limits(&self) -> Limits;

    /// The event in the vendor's words.
    fn payload(&self, event: &Stored<Event<'static>>) -> Bytes;

    /// Sends one request with these payloads, at least one, in this order.
    ///
    /// The outcome holds for all of them. It is [`Outcome::Delivered`] only when the vendor has
    /// answered that it took them.
    async fn send(&self, payloads: &[Bytes]) -> Outcome;
}

/// What one request to a vendor may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events in one request, at least 1.
    pub events_max: usize,
    /// The sum of the payloads of one request, in bytes.
    pub batch_bytes_max: usize,
    /// One payload, in bytes. A larger one is refused without asking the vendor.
    pub event_bytes_max: usize,
}

/// A destination's setting that cannot be used. The message never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct SettingError {
    /// Which setting, and which part of it.
    pub setting: &'static str,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}
