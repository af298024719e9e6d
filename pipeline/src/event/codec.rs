//! The bytes of one record in the WAL: a bitmap of the fields that are present, then the fields.
//!
//! Lengths and numbers are LEB128 varints, signed ones zigzagged; text is a length and UTF-8.
//! The order of fields never changes within a version of the format; a new field takes the next bit.

use super::{Event, Flags, Kind, Rejected};
use std::borrow::Cow;
use std::ops::Range;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// An accepted event.
    Event = 1,
    /// A rejected event.
    Rejected = 2,
}

/// One decoded record, borrowing its text.
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and none is kept for long")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// An accepted event.
    Event(Event<'a>),
    /// A rejected event.
    Rejected(Rejected<'a>),
}

/// Bytes that are no record. Their checksum held, so they were written so: a defect of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a record cannot be decoded: {0}")]
pub struct CodecError(pub &'static str);

impl<'a> Record<'a> {
    /// Appends the bytes of `event` to `out` and says where in it the message id lies.
    pub fn encode_event(event: &Event<'_>, out: &mut Vec<u8>) -> Range<usize> {
        let texts = [
            &event.original_message_id,
            &event.anonymous_id,
            &event.user_id,
            &event.group_id,
            &event.previous_id,
            &event.event,
            &event.name,
            &event.category,
            &event.properties,
            &event.traits,
            &event.context,
            &event.integrations,
            &event.extra,
        ];
        let times = [event.original_timestamp, event.sent_at];
        let mut present = 0;
        for (bit, text) in texts.iter().enumerate() {
            present |= u64::from(text.is_some()) << bit;
        }
        for (bit, time) in times.iter().enumerate() {
            present |= u64::from(time.is_some()) << (texts.len() + bit);
        }
        out.push(event.kind as u8);
        put_u64(out, present);
        put_u64(out, u64::from(event.flags.0));
        put_text(out, &event.message_id);
        let message_id = out.len() - event.message_id.len()..out.len();
        for text in texts.into_iter().flatten() {
            put_text(out, text);
        }
        for time in times.into_iter().flatten() {
            put_i64(out, time);
        }
        message_id
    }

    /// Appends the bytes of `rejected` to `out`.
    pub fn encode_rejected(rejected: &Rejected<'_>, out: &mut Vec<u8>) {
        let texts = [&rejected.field, &rejected.message_id, &rejected.body];
        let mut present = 0;
        for (bit, text) in texts.iter().enumerate() {
            present |= u64::from(text.is_some()) << bit;
        }
        put_u64(out, present);
        put_u64(out, rejected.body_bytes);
        put_text(out, &rejected.code);
        put_text(out, &rejected.message);
        for text in texts.into_iter().flatten() {
            put_text(out, text);
        }
    }

    /// Reads the bytes that [`Record::encode_event`] or [`Record::encode_rejected`] wrote.
    ///
    /// # Errors
    /// When the bytes end early, go on too long, or are not text where text is expected.
    pub fn decode(kind: RecordKind, bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut input = Input(bytes);
        let record = match kind {
            RecordKind::Event => Self::Event(decode_event(&mut input)?),
            RecordKind::Rejected => Self::Rejected(decode_rejected(&mut input)?),
        };
        if input.0.is_empty() { Ok(record) } else { Err(CodecError("it is longer than its fields")) }
    }
}

fn decode_event<'a>(input: &mut Input<'a>) -> Result<Event<'a>, CodecError> {
    let kind = input.byte()?;
    let kind = Kind::ALL.into_iter().find(|k| *k as u8 == kind).ok_or(CodecError("its kind is unknown"))?;
    let present = input.u64()?;
    if present >> 15 != 0 {
        return Err(CodecError("it has fields of a newer version"));
    }
    let flags = u32::try_from(input.u64()?).map_err(|_| CodecError("its flags are out of range"))?;
    let mut event = Event::new(kind, input.text()?);
    event.flags = Flags(flags);
    let texts = [
        &mut event.original_message_id,
        &mut event.anonymous_id,
        &mut event.user_id,
        &mut event.group_id,
        &mut event.previous_id,
        &mut event.event,
        &mut event.name,
        &mut event.category,
        &mut event.properties,
        &mut event.traits,
        &mut event.context,
        &mut event.integrations,
        &mut event.extra,
    ];
    let mut bits = present;
    for text in texts {
        *text = input.text_if(&mut bits)?;
    }
    for time in [&mut event.original_timestamp, &mut event.sent_at] {
        if take_bit(&mut bits) {
            *time = Some(input.i64()?);
        }
    }
    Ok(event)
}

fn decode_rejected<'a>(input: &mut Input<'a>) -> Result<Rejected<'a>, CodecError> {
    let mut bits = input.u64()?;
    if bits >> 3 != 0 {
        return Err(CodecError("it has fields of a newer version"));
    }
    let body_bytes = input.u64()?;
    Ok(Rejected {
        code: Cow::Borrowed(input.text()?),
        message: Cow::Borrowed(input.text()?),
        field: input.text_if(&mut bits)?,
        message_id: input.text_if(&mut bits)?,
        body: input.text_if(&mut bits)?,
        body_bytes,
    })
}

fn take_bit(bits: &mut u64) -> bool {
    let set = *bits & 1 == 1;
    *bits >>= 1;
    set
}

pub(crate) fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_i64(out: &mut Vec<u8>, number: i64) {
    put_u64(out, ((number << 1) ^ (number >> 63)) as u64);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The bytes not read yet.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.0.split_first().ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError("a number is too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError("a number is too long"))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, CodecError> {
        let number = self.u64()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, CodecError> {
        let length = usize::try_from(self.u64()?).map_err(|_| ENDS_EARLY)?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| CodecError("its text is not UTF-8"))
    }

    fn text_if(&mut self, bits: &mut u64) -> Result<Option<Cow<'a, str>>, CodecError> {
        if take_bit(bits) { Ok(Some(Cow::Borrowed(self.text()?))) } else { Ok(None) }
    }
}

const ENDS_EARLY: CodecError = CodecError("it ends early");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Option<Cow<'static, str>>> {
        proptest::option::of(".{0,40}".prop_map(Cow::Owned))
    }

    fn event() -> impl Strategy<Value = Event<'static>> {
        (
            (0..6_usize, ".{1,100}", any::<u32>(), any::<Option<i64>>(), any::<Option<i64>>()),
            proptest::collection::vec(text(), 13),
        )
            .prop_map(|((kind, message_id, flags, original_timestamp, sent_at), texts)| {
                let mut event = Event::new(Kind::ALL[kind], message_id);
                event.flags = Flags(flags);
                event.original_timestamp = original_timestamp;
                event.sent_at = sent_at;
                let mut texts = texts.into_iter();
                for field in [
                    &mut event.original_message_id,
                    &mut event.anonymous_id,
                    &mut event.user_id,
                    &mut event.group_id,
                    &mut event.previous_id,
                    &mut event.event,
                    &mut event.name,
                    &mut event.category,
                    &mut event.properties,
                    &mut event.traits,
                    &mut event.context,
                    &mut event.integrations,
                    &mut event.extra,
                ] {
                    *field = texts.next().flatten();
                }
                event
            })
    }

    proptest! {
        #[test]
        fn an_event_is_read_back_as_it_was_written(event in event()) {
            let mut bytes = Vec::new();
            let id = Record::encode_event(&event, &mut bytes);
            prop_assert_eq!(&bytes[id], event.message_id.as_bytes());
            prop_assert_eq!(Record::decode(RecordKind::Event, &bytes), Ok(Record::Event(event)));
        }

        #[test]
        fn a_rejected_event_is_read_back_as_it_was_written(
            code in ".{0,20}", field in text(), message in ".{0,80}", message_id in text(),
            body in text(), body_bytes in any::<u64>(),
        ) {
            let rejected =
                Rejected { code: code.into(), field, message: message.into(), message_id, body, body_bytes };
            let mut bytes = Vec::new();
            Record::encode_rejected(&rejected, &mut bytes);
            prop_assert_eq!(Record::decode(RecordKind::Rejected, &bytes), Ok(Record::Rejected(rejected)));
        }

        #[test]
        fn any_other_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(RecordKind::Event, &bytes);
            let _ = Record::decode(RecordKind::Rejected, &bytes);
        }
    }
}
