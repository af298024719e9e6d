//! What the newest events would make at a destination, without sending anything.

use super::{Service, ServiceError};
use crate::Feed;
use crate::engine::mapping::Mapping;
use crate::engine::selection::{Decision, Selection};
use crate::engine::{Limits, Mapped, Operation, Sink, TOO_OLD};
use flate2::read::GzDecoder;
use pipeline::Micros;
use pipeline::connection::Connection;
use pipeline::egress::Request;
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, Stored};
use pipeline::redact::Redactor;
use reqwest::header::CONTENT_ENCODING;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// How many offsets before the end of a partition are looked at for each event that is wanted, and how many
/// times as many where that was too few: receipts and rejected events take offsets too.
const OFFSETS_PER_EVENT: u64 = 8;
const WIDER: u64 = 16;
/// No more offsets of a partition are looked at.
const OFFSETS_MAX: u64 = 200_000;
/// How much of a body is shown, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the newest events would make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The events, newest first.
    pub events: Vec<PreviewedEvent>,
    /// The requests, in the order in which they would be sent.
    pub requests: Vec<PreviewedRequest>,
}

/// What would become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedEvent {
    /// Its message id.
    pub message_id: String,
    /// Where it lies.
    pub partition: pipeline::log::PartitionId,
    /// Where it lies.
    pub offset: Offset,
    /// `sent`, `filtered`, `suppressed`, `skipped` or `refused`.
    pub outcome: &'static str,
    /// Which rule left it out, or what is wrong with it.
    pub reason: Option<String>,
}

/// A request as it would be sent, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedRequest {
    /// Its method.
    pub method: String,
    /// Where it would go.
    pub url: String,
    /// Its headers; dots stand for those that hold a secret.
    pub headers: BTreeMap<String, String>,
    /// Its body as text, unpacked.
    pub body: String,
    /// The message ids of the events in it.
    pub message_ids: Vec<String>,
}

impl Service {
    /// The requests that the newest events, at most `count`, would make.
    ///
    /// # Errors
    /// When the connection cannot be used as it is, or the log cannot be read.
    pub async fn preview(&self, connection: &str, count: usize) -> Result<Preview, ServiceError> {
        let connection = self.connection(connection).await?;
        let (sink, now) = (self.parts.sink(&connection)?, self.parts.clock.now());
        let selection = self.selection(&connection).await?;
        let mapping = Mapping::compile(&connection.routing.mapping)
            .map_err(|error| ServiceError::Refused(error.to_string()))?;
        let newest = self.newest(count).await?;
        let decisions = selection.decide(&newest);
        let mut operations: Vec<(String, Operation)> = Vec::new();
        let mut preview = Preview::default();
        for (event, decision) in newest.into_iter().zip(decisions) {
            let (message_id, partition, offset) =
                (event.record.message_id.clone().into_owned(), event.partition.clone(), event.offset);
            let (outcome, reason) = match decision {
                Decision::Filtered(reason) => ("filtered", Some(reason.to_owned())),
                Decision::Suppressed(reason) => ("suppressed", Some(reason.to_owned())),
                Decision::Refused { detail, .. } => ("refused", Some(detail)),
                Decision::Send if sink.manners().is_too_old(&event, now) => {
                    ("refused", Some(TOO_OLD.to_owned()))
                }
                Decision::Send => match sink.map(&mapping.apply(event)) {
                    Mapped::Skipped(reason) => ("skipped", Some(reason.to_owned())),
                    Mapped::Refused(failure) => ("refused", Some(failure.detail)),
                    Mapped::Operations(made) => {
                        operations.extend(made.into_iter().map(|operation| (message_id.clone(), operation)));
                        ("sent", None)
                    }
                },
            };
            preview.events.insert(0, PreviewedEvent { message_id, partition, offset, outcome, reason });
        }
        let credentials = self.parts.connections.open_credentials(&connection)?;
        let redactor = Redactor::new(credentials.values().map(pipeline::control::Secret::reveal));
        preview.requests = requests(&*sink, &operations, &redactor, now);
        Ok(preview)
    }

    /// The newest events of all partitions, oldest first.
    async fn newest(&self, count: usize) -> Result<Vec<Stored<Event<'static>>>, LogError> {
        let mut found = Vec::new();
        for partition in self.parts.log.partitions() {
            found.extend(newest_of(&*self.parts.feed(&partition), count).await?);
        }
        found.sort_by_key(|event| event.received_at);
        found.drain(..found.len().saturating_sub(count));
        Ok(found)
    }

    async fn selection(&self, connection: &Connection) -> Result<Selection, ServiceError> {
        let refused = |error: &dyn std::error::Error| ServiceError::Refused(error.to_string());
        let suppressed = Arc::new(self.parts.connections.store().suppressed().await?);
        let compile = |text: &String| self.parts.compiler.compile(text).map_err(|error| refused(&error));
        let condition = connection.routing.condition.as_ref().map(compile).transpose()?;
        Selection::new(&connection.routing, self.parts.known_as(connection), suppressed, condition)
            .map_err(|error| refused(&error))
    }
}

/// The newest events of a partition, oldest first.
async fn newest_of(feed: &dyn Feed, count: usize) -> Result<Vec<Stored<Event<'static>>>, LogError> {
    let end = feed.end();
    let mut span = (count as u64 * OFFSETS_PER_EVENT).min(OFFSETS_MAX);
    loop {
        let from = end.saturating_sub(span);
        let (mut events, mut next, mut found) = (feed.open(from), from, Vec::new());
        while next < end {
            let (read, position) = events.next(256).await?;
            next = position;
            found.extend(read);
            found.drain(..found.len().saturating_sub(count));
        }
        if found.len() == count || from == 0 || span == OFFSETS_MAX {
            return Ok(found);
        }
        span = (span * WIDER).min(OFFSETS_MAX);
    }
}

/// The requests that these operations make: those of one endpoint and group together, within limits.
fn requests(
    sink: &dyn Sink,
    operations: &[(String, Operation)],
    redactor: &Redactor,
    now: Micros,
) -> Vec<PreviewedRequest> {
    let mut batches: Vec<Vec<&(String, Operation)>> = Vec::new();
    for item in operations {
        let (_, operation) = item;
        let limits = sink.manners().endpoints[operation.endpoint];
        let fits = |batch: &&mut Vec<&(String, Operation)>| {
            let (_, first) = batch[0];
            (first.endpoint, &first.group) == (operation.endpoint, &operation.group)
                && has_room(batch, operation, &limits)
        };
        match batches.iter_mut().find(fits) {
            Some(batch) => batch.push(item),
            None => batches.push(vec![item]),
        }
    }
    let shown = |batch: Vec<&(String, Operation)>| {
        let operations: Vec<&Operation> = batch.iter().map(|(_, operation)| operation).collect();
        let mut message_ids: Vec<String> = batch.iter().map(|(id, _)| id.clone()).collect();
        message_ids.dedup();
        shown_request(&sink.request(&operations, now), message_ids, redactor)
    };
    batches.into_iter().map(shown).collect()
}

fn shown_request(request: &Request, message_ids: Vec<String>, redactor: &Redactor) -> PreviewedRequest {
    let headers = request.headers.iter().map(|(name, value)| {
        let shown = match value.to_str() {
            Ok(text) if !value.is_sensitive() => redactor.text(text),
            _ => "…".to_owned(),
        };
        (name.to_string(), shown)
    });
    let mut body = redactor.text(&String::from_utf8_lossy(&unpacked(request)));
    body.truncate(body.floor_char_boundary(BODY_BYTES_MAX));
    PreviewedRequest {
        method: request.method.to_string(),
        url: redactor.text(request.url.as_str()),
        headers: headers.collect(),
        body,
        message_ids,
    }
}

/// The body, without its compression.
fn unpacked(request: &Request) -> Cow<'_, [u8]> {
    let is_gzip = request.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let mut bytes = Vec::new();
    let unpacked = is_gzip && GzDecoder::new(&request.body[..]).read_to_end(&mut bytes).is_ok();
    if unpacked { Cow::Owned(bytes) } else { Cow::Borrowed(&request.body) }
}

fn has_room(batch: &[&(String, Operation)], operation: &Operation, limits: &Limits) -> bool {
    let bytes: usize = batch.iter().map(|(_, operation)| operation.body.len()).sum();
    batch.len() < limits.operations_max && bytes + operation.body.len() <= limits.batch_bytes_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Events;
    use async_trait::async_trait;
    use pipeline::event::Kind;
    use pipeline::log::{PartitionId, Passed};
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    /// A partition with events at these offsets only, which notes where it was read from.
    struct Sparse {
        partition: PartitionId,
        offsets: Vec<Offset>,
        end: Offset,
        opened: AtomicU64,
    }

    struct SparseEvents(PartitionId, Vec<Offset>, Offset);

    impl Feed for Sparse {
        fn partition(&self) -> &PartitionId {
            &self.partition
        }

        fn end(&self) -> Offset {
            self.end
        }

        fn open(&self, from: Offset) -> Box<dyn Events> {
            self.opened.store(from, SeqCst);
            let offsets = self.offsets.iter().copied().filter(|offset| *offset >= from).collect();
            Box::new(SparseEvents(self.partition.clone(), offsets, self.end))
        }
    }

    #[async_trait]
    impl Events for SparseEvents {
        async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
            let event = |offset: Offset| Stored {
                partition: self.0.clone(),
                offset,
                received_at: 0,
                source: "web".into(),
                test: false,
                record: Event::new(Kind::Track, offset.to_string()),
            };
            let read = self.1.drain(..max.min(self.1.len())).map(event).collect();
            Ok((read, self.1.first().copied().unwrap_or(self.2)))
        }

        fn passed(&mut self) -> Vec<Passed> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn events_far_from_the_end_are_found_up_to_a_limit() {
        let end = 10 * OFFSETS_MAX;
        let first = end - OFFSETS_MAX;
        for (offsets, expected) in [
            (vec![1, end - 9, end - 3], vec![end - 9, end - 3]),
            (vec![end - 30_000, end - 3], vec![end - 30_000, end - 3]),
            (vec![first - 1, first], vec![first]),
        ] {
            let partition = PartitionId("0".into());
            let feed = Sparse { partition, offsets, end, opened: AtomicU64::new(0) };
            let found = newest_of(&feed, 2).await.unwrap();
            assert_eq!(found.iter().map(|event| event.offset).collect::<Vec<_>>(), expected);
            assert!(feed.opened.load(SeqCst) >= first);
        }
    }
}
