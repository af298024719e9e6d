//! What comes in, as it comes in.

use super::logged;
use console::{News, ReadError};
use futures::stream::{self, BoxStream, StreamExt};
use pipeline::event::Event;
use pipeline::log::{Log, LogError, Offset, PartitionId, Reader, Stored};
use std::sync::Arc;
use tokio::sync::watch;

/// Who is further behind than this many records has the rest passed over.
const BEHIND_MAX: u64 = 100_000;
/// So many events are looked at before something is said.
const EVENTS_AT_ONCE: usize = 256;

/// Follows the log behind `after`, or from now on, until `ending` is true.
///
/// It reads when it is asked for more, and keeps one batch of events in memory. `after` of another
/// partition means nothing here: all that lies in this one is then passed over as a gap.
pub(super) fn follow(
    log: Arc<Log>,
    ending: watch::Receiver<bool>,
    equal: Vec<(&'static str, String)>,
    after: Option<(PartitionId, Offset)>,
) -> BoxStream<'static, Result<News, ReadError>> {
    let end = log.status().end;
    let (position, is_lost) = match after {
        Some((partition, offset)) if partition == *log.partition() => {
            (offset.saturating_add(1).min(end), false)
        }
        Some(_) => (0, true),
        None => (end, false),
    };
    let following = Following { reader: log.reader(position), log, ending, equal, position, is_lost };
    stream::unfold(Some(following), |following| async {
        let mut following = following?;
        match following.next().await? {
            Ok(news) => Some((Ok(news), Some(following))),
            Err(error) => Some((Err(ReadError::Failed(error.to_string())), None)),
        }
    })
    .boxed()
}

struct Following {
    log: Arc<Log>,
    reader: Reader,
    ending: watch::Receiver<bool>,
    equal: Vec<(&'static str, String)>,
    position: Offset,
    /// Whether nobody knows where it was.
    is_lost: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Result<News, LogError>> {
        if *self.ending.borrow() {
            return None;
        }
        let partition = self.log.partition().clone();
        let end = self.log.status().end;
        if std::mem::take(&mut self.is_lost) || end.saturating_sub(self.position) > BEHIND_MAX {
            let gap = Some(self.position..end);
            (self.reader, self.position) = (self.log.reader(end), end);
            return Some(Ok(News { partition, gap, events: Vec::new(), position: end }));
        }
        let read = tokio::select! {
            read = self.reader.next(EVENTS_AT_ONCE) => read,
            _ = self.ending.changed() => return None,
        };
        let (events, position) = match read {
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        self.position = position;
        let wanted = events.into_iter().filter(|event| self.wants(event));
        let events = wanted.map(logged::event).collect();
        Some(Ok(News { partition, gap: None, events, position }))
    }

    fn wants(&self, stored: &Stored<Event<'_>>) -> bool {
        let event = &stored.record;
        self.equal.iter().all(|(column, text)| {
            let value = match *column {
                "source" => Some(&*stored.source),
                "type" => Some(event.kind.as_str()),
                "event" => event.event.as_deref(),
                "user_id" => event.user_id.as_deref(),
                "anonymous_id" => event.anonymous_id.as_deref(),
                "message_id" => Some(&*event.message_id),
                _ => None,
            };
            value == Some(text.as_str())
        })
    }
}
