//! What is recorded: an event, a rejected event, and the receipt of the request they came in.
//!
//! Field names are Segment's in snake case (Segment Spec, "Common fields", read 2026-11).
//! Text that is JSON is kept as the client sent it; nothing is reordered or reformatted.

pub(crate) mod codec;
mod message_id;
mod timestamp;

pub use codec::{CodecError, Record, RecordKind};
pub use message_id::{MESSAGE_ID_CHARS_MAX, kept_message_id, message_id_of_line};
pub use timestamp::{FUTURE_MAX, SKEW_MAX, format_timestamp, parse_timestamp};

use crate::Micros;
use std::borrow::Cow;

/// What kind of call an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Something a user did; has an `event` name and `properties`.
    Track = 1,
    /// Who a user is; has `traits`.
    Identify = 2,
    /// A page view; has an optional `name` and `category`.
    Page = 3,
    /// A screen view in an app; like `Page`.
    Screen = 4,
    /// A user belongs to a group; has a `group_id` and the group's `traits`.
    Group = 5,
    /// Two ids are the same user: `previous_id` and `user_id`.
    Alias = 6,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Track, Self::Identify, Self::Page, Self::Screen, Self::Group, Self::Alias];

    /// The name on the wire and in the `type` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// The kind with this name; `None` for any other name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Remarks on how an event was taken in; each has a word in the `flags` column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// The client's clock was more than 30 days off, so its own timestamp stands uncorrected.
    pub const CLOCK_SKEW: Self = Self(1);
    /// The client did not say when it sent the event, so its timestamp stands uncorrected.
    pub const NO_SENT_AT: Self = Self(1 << 1);
    /// The timestamp lay more than 24 hours ahead and became the time of receipt.
    pub const FUTURE_TIMESTAMP: Self = Self(1 << 2);
    /// A timestamp could not be read; its text is kept in `extra`.
    pub const INVALID_TIMESTAMP: Self = Self(1 << 3);
    /// NUL or lone surrogates were replaced by U+FFFD.
    pub const REPLACED_CHARACTERS: Self = Self(1 << 4);
    /// The message id was over 100 characters and is now a hash; see `original_message_id`.
    pub const HASHED_MESSAGE_ID: Self = Self(1 << 5);
    /// The client sent no message id; the server made one, or the import did from file and line.
    pub const MADE_MESSAGE_ID: Self = Self(1 << 6);
    /// The event was read from a file: its origin is an import. Its timestamp stands uncorrected, and no
    /// destination gets it but by a replay, unless [`Flags::FOR_DELIVERY`] is set too.
    pub const IMPORTED: Self = Self(1 << 7);
    /// The import was asked to deliver its events.
    pub const FOR_DELIVERY: Self = Self(1 << 8);
    /// The event had been rejected and was admitted later, as it was or corrected; `admitted_from` in
    /// `extra` is the address of the rejected record. Its timestamp was corrected when that came.
    pub const ADMITTED: Self = Self(1 << 9);

    const WORDS: [(Self, &'static str); 10] = [
        (Self::CLOCK_SKEW, "clock_skew"),
        (Self::NO_SENT_AT, "no_sent_at"),
        (Self::FUTURE_TIMESTAMP, "future_timestamp"),
        (Self::INVALID_TIMESTAMP, "invalid_timestamp"),
        (Self::REPLACED_CHARACTERS, "replaced_characters"),
        (Self::HASHED_MESSAGE_ID, "hashed_message_id"),
        (Self::MADE_MESSAGE_ID, "made_message_id"),
        (Self::IMPORTED, "imported"),
        (Self::FOR_DELIVERY, "for_delivery"),
        (Self::ADMITTED, "admitted"),
    ];

    /// Whether every flag of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the flags of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The words of the flags that are set, separated by commas; `None` when none is.
    pub fn to_words(self) -> Option<String> {
        let words: Vec<&str> =
            Self::WORDS.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, word)| *word).collect();
        (!words.is_empty()).then(|| words.join(","))
    }

    /// The flags whose words stand in `words`; unknown words are passed over.
    pub fn from_words(words: &str) -> Self {
        Self::WORDS
            .iter()
            .filter(|(_, word)| words.split(',').any(|w| w == *word))
            .fold(Self::default(), |all, (flag, _)| all.union(*flag))
    }
}

/// Something that happened to someone, checked and normalised, as it is appended to the log.
///
/// Its position (partition, offset), its `received_at` and its `source` belong to the record that
/// holds it; see [`crate::log::Stored`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The kind of call.
    pub kind: Kind,
    /// The client's id of this message: 1 to 100 characters, unique within its source.
    pub message_id: Cow<'a, str>,
    /// The client's id where it was too long to be used as it is.
    pub original_message_id: Option<Cow<'a, str>>,
    /// The id of a visitor who is not known yet.
    pub anonymous_id: Option<Cow<'a, str>>,
    /// The id of a known user.
    pub user_id: Option<Cow<'a, str>>,
    /// The group of a `group` call.
    pub group_id: Option<Cow<'a, str>>,
    /// The older id of an `alias` call.
    pub previous_id: Option<Cow<'a, str>>,
    /// The name of a `track` call.
    pub event: Option<Cow<'a, str>>,
    /// The name of a `page` or `screen`.
    pub name: Option<Cow<'a, str>>,
    /// The category of a `page` or `screen`.
    pub category: Option<Cow<'a, str>>,
    /// When it happened by the client's clock.
    pub original_timestamp: Option<Micros>,
    /// When the client sent it, by the client's clock.
    pub sent_at: Option<Micros>,
    /// A JSON object.
    pub properties: Option<Cow<'a, str>>,
    /// A JSON object.
    pub traits: Option<Cow<'a, str>>,
    /// A JSON object.
    pub context: Option<Cow<'a, str>>,
    /// A JSON object: which destinations the event is meant for.
    pub integrations: Option<Cow<'a, str>>,
    /// A JSON object of all top-level fields of the payload that have no column of their own.
    pub extra: Option<Cow<'a, str>>,
    /// Remarks on how the event was taken in.
    pub flags: Flags,
}

impl<'a> Event<'a> {
    /// An event of this kind with nothing else filled in.
    pub fn new(kind: Kind, message_id: impl Into<Cow<'a, str>>) -> Self {
        Self {
            kind,
            message_id: message_id.into(),
            original_message_id: None,
            anonymous_id: None,
            user_id: None,
            group_id: None,
            previous_id: None,
            event: None,
            name: None,
            category: None,
            original_timestamp: None,
            sent_at: None,
            properties: None,
            traits: None,
            context: None,
            integrations: None,
            extra: None,
            flags: Flags::default(),
        }
    }

    /// The same event, owning its text.
    pub fn into_owned(self) -> Event<'static> {
        let own = |text: Option<Cow<'a, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Event {
            kind: self.kind,
            message_id: Cow::Owned(self.message_id.into_owned()),
            original_message_id: own(self.original_message_id),
            anonymous_id: own(self.anonymous_id),
            user_id: own(self.user_id),
            group_id: own(self.group_id),
            previous_id: own(self.previous_id),
            event: own(self.event),
            name: own(self.name),
            category: own(self.category),
            original_timestamp: self.original_timestamp,
            sent_at: self.sent_at,
            properties: own(self.properties),
            traits: own(self.traits),
            context: own(self.context),
            integrations: own(self.integrations),
            extra: own(self.extra),
            flags: self.flags,
        }
    }
}

/// An event that broke a rule, kept aside with what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// A stable word for the rule that was broken, such as `no_user_anon_id`.
    pub code: Cow<'a, str>,
    /// The field that broke it, as a path such as `context.ip`, where there is one.
    pub field: Option<Cow<'a, str>>,
    /// A sentence that says what is wrong and what is allowed.
    pub message: Cow<'a, str>,
    /// The message id, where one could be read.
    pub message_id: Option<Cow<'a, str>>,
    /// The event as it came, cut at 1 MiB; `None` when the source's quota for bodies was used up.
    pub body: Option<Cow<'a, str>>,
    /// The size of the event as it came.
    pub body_bytes: u64,
}

impl Rejected<'_> {
    /// The same, owning its text.
    pub fn into_owned(self) -> Rejected<'static> {
        Rejected {
            code: Cow::Owned(self.code.into_owned()),
            field: self.field.map(|text| Cow::Owned(text.into_owned())),
            message: Cow::Owned(self.message.into_owned()),
            message_id: self.message_id.map(|text| Cow::Owned(text.into_owned())),
            body: self.body.map(|text| Cow::Owned(text.into_owned())),
            body_bytes: self.body_bytes,
        }
    }
}
