//! Rows of the log as the console shows them.

use console::{LoggedEvent, Page, PagePlace, RejectedEvent, Search};
use pipeline::event::{Event, Rejected, format_timestamp};
use pipeline::log::Stored;
use queries::PageOf;
use serde_json::value::RawValue;

pub(super) fn page_of(search: Search) -> PageOf {
    let after =
        search.after.map(|at| queries::Place { received_at: at.received_at, partition: at.partition });
    let Search { equal, from, to, oldest_first, limit, .. } = search;
    PageOf { equal, offset: None, from, to, after, oldest_first, limit }
}

pub(super) fn page<T, R>(page: queries::Page<T>, shown: impl Fn(Stored<T>) -> R) -> Page<R> {
    let next = page.next.map(|at| PagePlace { received_at: at.received_at, partition: at.partition });
    Page { rows: page.rows.into_iter().map(shown).collect(), next }
}

pub(super) fn event(stored: Stored<Event<'static>>) -> LoggedEvent {
    let event = stored.record;
    let (timestamp, flags) = event.timestamp(stored.received_at);
    let flags = event.flags.union(flags).to_words().unwrap_or_default();
    let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned());
    let json = |json: Option<std::borrow::Cow<'_, str>>| json.and_then(|json| raw(json.into_owned()));
    LoggedEvent {
        partition: stored.partition.to_string(),
        offset: stored.offset,
        received_at: format_timestamp(stored.received_at),
        source: stored.source.to_string(),
        test: stored.test,
        r#type: event.kind.as_str(),
        message_id: event.message_id.into_owned(),
        original_message_id: text(event.original_message_id),
        anonymous_id: text(event.anonymous_id),
        user_id: text(event.user_id),
        group_id: text(event.group_id),
        previous_id: text(event.previous_id),
        event: text(event.event),
        name: text(event.name),
        category: text(event.category),
        timestamp: format_timestamp(timestamp),
        original_timestamp: event.original_timestamp.map(format_timestamp),
        sent_at: event.sent_at.map(format_timestamp),
        properties: json(event.properties),
        traits: json(event.traits),
        context: json(event.context),
        integrations: json(event.integrations),
        extra: json(event.extra),
        flags: flags.split(',').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect(),
    }
}

/// JSON as it is kept. What is none after all, which nothing writes, is shown as a text.
fn raw(json: String) -> Option<Box<RawValue>> {
    serde_json::from_str(&json).or_else(|_| serde_json::value::to_raw_value(&json)).ok()
}

pub(super) fn rejected(stored: Stored<Rejected<'static>>) -> RejectedEvent {
    let rejected = stored.record;
    RejectedEvent {
        partition: stored.partition.to_string(),
        offset: stored.offset,
        received_at: format_timestamp(stored.received_at),
        source: stored.source.to_string(),
        test: stored.test,
        code: rejected.code.into_owned(),
        field: rejected.field.map(|field| field.into_owned()),
        message: rejected.message.into_owned(),
        message_id: rejected.message_id.map(|id| id.into_owned()),
        body: rejected.body.map(|body| body.into_owned()),
        body_bytes: rejected.body_bytes,
        admitted: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::event::Kind;
    use pipeline::log::PartitionId;

    #[test]
    fn an_event_is_shown_whole_and_its_numbers_as_they_came() {
        let event = Event {
            properties: Some(r#"{"price": 12.50, "id": 12345678901234567890123}"#.into()),
            user_id: Some("ada".into()),
            original_timestamp: Some(1_768_478_399_000_000),
            ..Event::new(Kind::Track, "m1")
        };
        let stored = Stored {
            partition: PartitionId("aa".into()),
            offset: 7,
            received_at: 1_768_478_400_000_000,
            source: "web".into(),
            test: true,
            record: event,
        };
        let shown = serde_json::to_string(&super::event(stored)).unwrap();
        for part in [
            r#""properties":{"price": 12.50, "id": 12345678901234567890123}"#,
            r#""partition":"aa","offset":7,"received_at":"2026-01-15T12:00:00.000000Z""#,
            r#""source":"web","test":true,"type":"track","message_id":"m1","user_id":"ada""#,
            r#""flags":["no_sent_at"]"#,
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("traits"), "{shown}");
    }
}
