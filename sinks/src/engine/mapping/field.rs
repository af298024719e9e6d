//! The fields of an event that paths begin with.

use pipeline::event::{Event, format_timestamp};
use pipeline::log::Stored;
use std::borrow::Cow;

type Text = Option<Cow<'static, str>>;

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    UserId,
    AnonymousId,
    GroupId,
    PreviousId,
    Event,
    Name,
    Category,
    Properties,
    Traits,
    Context,
    Integrations,
    Extra,
    Type,
    MessageId,
    Timestamp,
    OriginalTimestamp,
    SentAt,
    ReceivedAt,
}

impl Field {
    /// All fields, by the names of the columns of `events`.
    pub(super) const ALL: [(Self, &'static str); 18] = [
        (Self::UserId, "user_id"),
        (Self::AnonymousId, "anonymous_id"),
        (Self::GroupId, "group_id"),
        (Self::PreviousId, "previous_id"),
        (Self::Event, "event"),
        (Self::Name, "name"),
        (Self::Category, "category"),
        (Self::Properties, "properties"),
        (Self::Traits, "traits"),
        (Self::Context, "context"),
        (Self::Integrations, "integrations"),
        (Self::Extra, "extra"),
        (Self::Type, "type"),
        (Self::MessageId, "message_id"),
        (Self::Timestamp, "timestamp"),
        (Self::OriginalTimestamp, "original_timestamp"),
        (Self::SentAt, "sent_at"),
        (Self::ReceivedAt, "received_at"),
    ];

    /// The fields that are JSON objects.
    pub(super) const OBJECTS: [Self; 5] =
        [Self::Properties, Self::Traits, Self::Context, Self::Integrations, Self::Extra];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(field, _)| field)
    }

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    pub(super) fn is_object(self) -> bool {
        self.object_index().is_some()
    }

    /// Its place in [`Field::OBJECTS`].
    pub(super) fn object_index(self) -> Option<usize> {
        Self::OBJECTS.into_iter().position(|field| field == self)
    }

    pub(super) fn is_id(self) -> bool {
        matches!(self, Self::UserId | Self::AnonymousId | Self::GroupId | Self::PreviousId)
    }

    pub(super) fn is_text(self) -> bool {
        self.is_id() || matches!(self, Self::Event | Self::Name | Self::Category)
    }

    pub(super) fn is_writable(self) -> bool {
        self.is_text() || self.is_object()
    }

    /// The place of an object's text; `None` for other fields.
    pub(super) fn object_mut<'e>(self, event: &'e mut Event<'static>) -> Option<&'e mut Text> {
        match self {
            Self::Properties => Some(&mut event.properties),
            Self::Traits => Some(&mut event.traits),
            Self::Context => Some(&mut event.context),
            Self::Integrations => Some(&mut event.integrations),
            Self::Extra => Some(&mut event.extra),
            _ => None,
        }
    }

    /// The place of a text; `None` for other fields.
    pub(super) fn text_mut<'e>(self, event: &'e mut Event<'static>) -> Option<&'e mut Text> {
        match self {
            Self::UserId => Some(&mut event.user_id),
            Self::AnonymousId => Some(&mut event.anonymous_id),
            Self::GroupId => Some(&mut event.group_id),
            Self::PreviousId => Some(&mut event.previous_id),
            Self::Event => Some(&mut event.event),
            Self::Name => Some(&mut event.name),
            Self::Category => Some(&mut event.category),
            _ => None,
        }
    }

    /// The text of a field that is no object; times are RFC 3339.
    pub(super) fn text(self, stored: &Stored<Event<'static>>) -> Option<String> {
        let event = &stored.record;
        let own = |text: &Text| text.as_deref().map(str::to_owned);
        match self {
            Self::UserId => own(&event.user_id),
            Self::AnonymousId => own(&event.anonymous_id),
            Self::GroupId => own(&event.group_id),
            Self::PreviousId => own(&event.previous_id),
            Self::Event => own(&event.event),
            Self::Name => own(&event.name),
            Self::Category => own(&event.category),
            Self::Type => Some(event.kind.as_str().to_owned()),
            Self::MessageId => Some(event.message_id.clone().into_owned()),
            Self::Timestamp => Some(format_timestamp(event.timestamp(stored.received_at).0)),
            Self::OriginalTimestamp => event.original_timestamp.map(format_timestamp),
            Self::SentAt => event.sent_at.map(format_timestamp),
            Self::ReceivedAt => Some(format_timestamp(stored.received_at)),
            Self::Properties | Self::Traits | Self::Context | Self::Integrations | Self::Extra => None,
        }
    }
}
