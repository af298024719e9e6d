//! One append: the receipt of a request and the records it brought, as they stand in the WAL.
//!
//! A frame takes one offset for its receipt and one for each record, in this order; the same goes
//! for `received_at`, a microsecond apart. Duplicates are named in the receipt and take no offset.

use super::Offset;
use crate::Micros;
use crate::event::codec::{Input, put_i64, put_text, put_u64};
use crate::event::{CodecError, Event, Record, RecordKind, Rejected};
use crate::log::dedup;
use std::ops::Range;
use std::sync::Arc;

const VERSION: u8 = 1;
const TEST: u8 = 1;

/// Which source a request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of the source, the scope of deduplication.
    pub source: Arc<str>,
    /// Whether the source was made for tests and is kept apart.
    pub test: bool,
}

/// The items of one request, encoded and ready for [`crate::log::Log::append`].
///
/// Items keep the order in which they are pushed; outcomes name them by that index.
#[derive(Debug)]
pub struct Batch {
    pub(crate) origin: Origin,
    pub(crate) received: u32,
    pub(crate) items: Vec<Item>,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: RecordKind,
    pub(crate) range: Range<usize>,
    /// Where the message id lies in `Batch::bytes`, and its hash; events only.
    pub(crate) id: Option<(Range<usize>, dedup::IdHash)>,
}

impl Batch {
    /// An empty batch for a request in which `received` items were counted.
    ///
    /// The count is taken before anything is decided about the items, so that
    /// received = accepted + duplicate + rejected is a check and no definition.
    pub fn new(origin: Origin, received: u32) -> Self {
        Self { origin, received, items: Vec::new(), bytes: Vec::new() }
    }

    /// Adds an event.
    pub fn push_event(&mut self, event: &Event<'_>) {
        let start = self.bytes.len();
        let id = Record::encode_event(event, &mut self.bytes);
        let hash = dedup::IdHash::of(&self.origin.source, &event.message_id);
        let range = start..self.bytes.len();
        self.items.push(Item { kind: RecordKind::Event, range, id: Some((id, hash)) });
    }

    /// Adds a rejected event.
    pub fn push_rejected(&mut self, rejected: &Rejected<'_>) {
        let start = self.bytes.len();
        Record::encode_rejected(rejected, &mut self.bytes);
        self.items.push(Item { kind: RecordKind::Rejected, range: start..self.bytes.len(), id: None });
    }

    /// The items, decoded again, in the order in which they were pushed.
    ///
    /// # Errors
    /// Never for what this type encoded itself.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, CodecError>> {
        self.items.iter().map(|item| Record::decode(item.kind, &self.bytes[item.range.clone()]))
    }

    /// How many items were pushed.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no item was pushed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Appends a frame to `out`: the batch without the items whose index stands in `duplicates`
/// (ascending). The receipt takes `offset` and `received_at`, the records the ones after.
pub(crate) fn encode(
    batch: &Batch,
    duplicates: &[u32],
    offset: Offset,
    received_at: Micros,
    out: &mut Vec<u8>,
) {
    out.push(VERSION);
    out.push(if batch.origin.test { TEST } else { 0 });
    put_u64(out, offset);
    put_i64(out, received_at);
    put_text(out, &batch.origin.source);
    put_u64(out, u64::from(batch.received));
    put_u64(out, duplicates.len() as u64);
    for &index in duplicates {
        if let Some((id, _)) = &batch.items[index as usize].id {
            put_u64(out, id.len() as u64);
            out.extend_from_slice(&batch.bytes[id.clone()]);
        }
    }
    put_u64(out, (batch.items.len() - duplicates.len()) as u64);
    let mut left_out = duplicates.iter().peekable();
    for (index, item) in batch.items.iter().enumerate() {
        if left_out.next_if(|&&duplicate| duplicate as usize == index).is_some() {
            continue;
        }
        out.push(item.kind as u8);
        put_u64(out, item.range.len() as u64);
        out.extend_from_slice(&batch.bytes[item.range.clone()]);
    }
}

/// What a batch takes as a frame, at most.
pub(crate) fn bytes_max(batch: &Batch) -> u64 {
    // Each number takes at most 10 bytes: 6 stand in the frame, 2 before each item or duplicate.
    (batch.bytes.len() + batch.origin.source.len() + 64 + 21 * batch.items.len()) as u64
}

/// One append as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The offset of the receipt; record `i` has `offset + 1 + i`.
    pub offset: Offset,
    /// When the request was received; record `i` has `received_at + 1 + i`.
    pub received_at: Micros,
    /// The name of the source.
    pub source: &'a str,
    /// Whether the source was made for tests.
    pub test: bool,
    /// Items counted before anything was decided about them.
    pub received: u64,
    /// The message ids of the items that had been stored before.
    pub duplicates: Vec<&'a str>,
    /// How many records follow.
    pub records: u64,
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes` and moves `bytes` behind it.
    ///
    /// # Errors
    /// When the bytes are no frame. Their checksum held, so that is a defect of ours.
    pub fn decode(bytes: &mut &'a [u8]) -> Result<Self, CodecError> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(CodecError("its frame has a version this program does not know"));
        }
        let test = input.byte()? & TEST != 0;
        let (offset, received_at) = (input.u64()?, input.i64()?);
        let (source, received) = (input.text()?, input.u64()?);
        let mut duplicates = Vec::new();
        for _ in 0..input.u64()? {
            duplicates.push(input.text()?);
        }
        let records = input.u64()?;
        let fits = |records: i64| {
            offset.checked_add(records as u64)?.checked_add(1)?;
            received_at.checked_add(records)
        };
        if i64::try_from(records).ok().and_then(fits).is_none() {
            return Err(CodecError("a frame's numbers are too large"));
        }
        let rest = input.0;
        for _ in 0..records {
            input.byte()?;
            let length = input.u64()?;
            input.bytes(usize::try_from(length).map_err(|_| CodecError("a record is too long"))?)?;
        }
        let rest = &rest[..rest.len() - input.0.len()];
        *bytes = input.0;
        Ok(Frame { offset, received_at, source, test, received, duplicates, records, rest })
    }

    /// The first offset behind this frame.
    pub fn end(&self) -> Offset {
        self.offset + 1 + self.records
    }

    /// The records in order, each with its offset and its `received_at`.
    pub fn records(
        &self,
    ) -> impl Iterator<Item = Result<(Offset, Micros, Record<'a>), CodecError>> + use<'a> {
        let (mut offset, mut received_at) = (self.offset, self.received_at);
        let mut input = Input(self.rest);
        std::iter::from_fn(move || {
            (!input.0.is_empty()).then(|| {
                offset += 1;
                received_at += 1;
                let kind = match input.byte()? {
                    1 => RecordKind::Event,
                    2 => RecordKind::Rejected,
                    _ => return Err(CodecError("a record is of an unknown kind")),
                };
                let length = input.u64()? as usize;
                Ok((offset, received_at, Record::decode(kind, input.bytes(length)?)?))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn batch() -> Batch {
        let mut batch = Batch::new(Origin { source: "web".into(), test: true }, 4);
        batch.push_event(&Event::new(Kind::Track, "a"));
        batch.push_event(&Event::new(Kind::Page, "b"));
        batch.push_rejected(&Rejected {
            code: "bad_request".into(),
            field: None,
            message: "it is wrong".into(),
            message_id: None,
            body: Some("{}".into()),
            body_bytes: 2,
        });
        batch.push_event(&Event::new(Kind::Track, "c"));
        batch
    }

    #[test]
    fn a_frame_keeps_what_is_new_and_names_the_duplicates() {
        let mut bytes = Vec::new();
        encode(&batch(), &[1], 10, 5_000, &mut bytes);
        encode(&batch(), &[], 14, 6_000, &mut bytes);
        let mut rest = bytes.as_slice();
        let frame = Frame::decode(&mut rest).unwrap();
        assert_eq!((frame.offset, frame.end(), frame.received_at), (10, 14, 5_000));
        assert_eq!((frame.source, frame.test, frame.received), ("web", true, 4));
        assert_eq!(frame.duplicates, ["b"]);
        let records: Vec<_> = frame.records().map(Result::unwrap).collect();
        assert_eq!(records[0], (11, 5_001, Record::Event(Event::new(Kind::Track, "a"))));
        assert!(matches!(records[1], (12, 5_002, Record::Rejected(_))));
        assert_eq!(records[2], (13, 5_003, Record::Event(Event::new(Kind::Track, "c"))));
        assert_eq!(Frame::decode(&mut rest).unwrap().end(), 19);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_frame_whose_numbers_overflow_is_refused() {
        // The fuzz target `frame` found it.
        for (offset, received_at) in [(u64::MAX - 3, 0), (0, i64::MAX - 2)] {
            let mut bytes = Vec::new();
            encode(&batch(), &[1], offset, received_at, &mut bytes);
            assert!(Frame::decode(&mut bytes.as_slice()).is_err(), "{offset} {received_at}");
        }
        let mut bytes = Vec::new();
        encode(&batch(), &[1], u64::MAX - 4, i64::MAX - 3, &mut bytes);
        let frame = Frame::decode(&mut bytes.as_slice()).unwrap();
        assert_eq!(frame.end(), u64::MAX);
        assert_eq!(frame.records().map(Result::unwrap).last().unwrap().0, u64::MAX - 1);
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused() {
        let mut bytes = Vec::new();
        encode(&batch(), &[1], 10, 5_000, &mut bytes);
        for length in 0..bytes.len() {
            assert!(Frame::decode(&mut &bytes[..length]).is_err(), "{length}");
        }
    }
}
