//! What comes in, as server-sent events (HTML Living Standard, section 9.2).

use crate::logged::News;
use crate::problem::Problem;
use crate::reads::ReadError;
use actix_web::http::StatusCode;
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use serde_json::json;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// After so much silence a client hears that the stream is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// The first words: when to come back after the stream broke off, in ms.
const FIRST: &str = "retry: 2000\n\n";

/// All seats are taken.
pub(super) fn full() -> Problem {
    let message = "as many clients follow what comes in as may; try again when one has left";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
}

/// The stream as text. It is read only as fast as the client reads, so a slow client takes no memory;
/// one that is too far behind is told what it missed. After `heartbeat` of silence it says that it is
/// alive. It ends when `news` ends or fails.
pub(super) fn body(
    news: BoxStream<'static, Result<News, ReadError>>,
    seat: OwnedSemaphorePermit,
    heartbeat: Duration,
) -> impl Stream<Item = Result<Bytes, Problem>> {
    let following = Following { news, heartbeat, last: None, _seat: seat };
    let first = stream::once(async { Ok(Bytes::from_static(FIRST.as_bytes())) });
    first.chain(stream::unfold(Some(following), |following| async {
        let mut following = following?;
        match following.next().await? {
            Ok(text) => Some((Ok(text), Some(following))),
            Err(error) => Some((Err(Problem::from(error)), None)),
        }
    }))
}

struct Following {
    news: BoxStream<'static, Result<News, ReadError>>,
    heartbeat: Duration,
    /// The address of the last record that was looked at.
    last: Option<String>,
    _seat: OwnedSemaphorePermit,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        loop {
            let news = match timeout(self.heartbeat, self.news.next()).await {
                Err(_) => return Some(Ok(self.heartbeat())),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(error)),
                Ok(Some(Ok(news))) => news,
            };
            self.last = news.position.checked_sub(1).map(|last| format!("{}:{last}", news.partition));
            let text = written(&news);
            if !text.is_empty() {
                return Some(Ok(Bytes::from(text)));
            }
        }
    }

    /// Without data it is no event, but the client comes back behind what did not concern it.
    fn heartbeat(&self) -> Bytes {
        let id = self.last.as_ref().map(|last| format!("id: {last}\n")).unwrap_or_default();
        Bytes::from(format!(": nothing new\n{id}\n"))
    }
}

fn written(news: &News) -> String {
    let mut text = String::new();
    let mut write = |kind: &str, id: String, data: &str| {
        text.push_str(&format!("{kind}id: {id}\ndata: {data}\n\n"));
    };
    if let Some(gap) = &news.gap {
        let data = json!({ "partition": news.partition.to_string(), "from": gap.start, "to": gap.end });
        let last = gap.end.saturating_sub(1);
        write("event: gap\n", format!("{}:{last}", news.partition), &data.to_string());
    }
    for event in &news.events {
        // It cannot fail: it is text, numbers and JSON.
        let Ok(data) = serde_json::to_string(event) else { continue };
        // JSON that was kept as it came may have line breaks between its values; in data each line
        // would need a name of its own.
        let data = if data.contains(['\n', '\r']) { data.replace(['\n', '\r'], " ") } else { data };
        write("", format!("{}:{}", event.partition, event.offset), &data);
    }
    text
}
