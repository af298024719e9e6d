//! Reading single events again.

use super::ports::EventsAt;
use crate::Feed;
use async_trait::async_trait;
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, Stored};
use std::sync::Arc;

/// Offsets this close are read in one go, with what lies between them.
const NEAR: Offset = 2_048;

/// How many events are read in one go.
const READ_MAX: usize = 256;

/// Reads single events again through a feed.
pub struct FeedEventsAt(pub Arc<dyn Feed>);

#[async_trait]
impl EventsAt for FeedEventsAt {
    async fn read(&self, offsets: &[Offset]) -> Result<Vec<Stored<Event<'static>>>, LogError> {
        let end = self.0.end();
        let mut found = Vec::with_capacity(offsets.len());
        for near in offsets.chunk_by(|one, next| next - one <= NEAR) {
            let (Some(first), Some(last)) = (near.first(), near.last()) else { continue };
            let mut events = self.0.open(*first);
            let mut next = *first;
            // Beyond the end of the log a read would wait.
            while next <= (*last).min(end.saturating_sub(1)) && end > 0 {
                let read = events.next(READ_MAX).await?;
                next = read.1;
                found.extend(read.0.into_iter().filter(|event| near.binary_search(&event.offset).is_ok()));
            }
        }
        Ok(found)
    }
}
