//! Records as bytes, as they stand in the journal.
//!
//! Numbers are LEB128 varints, signed ones in zigzag. Offsets ascend, so each is written as its
//! distance from the one before: about a byte for each event. The first byte is the version of the
//! format; a reader refuses versions that it does not know.

use super::{Class, LaneId, Outcome, Record, Trigger};
use crate::log::PartitionId;
use std::sync::Arc;

const VERSION: u8 = 1;

/// Which of the optional fields follow, a bit for each.
mod has {
    pub(super) const REPLAY: u64 = 1;
    pub(super) const NEXT_AT: u64 = 1 << 1;
    pub(super) const CLASS: u64 = 1 << 2;
    pub(super) const STATUS: u64 = 1 << 3;
    pub(super) const VENDOR_CODE: u64 = 1 << 4;
    pub(super) const REASON: u64 = 1 << 5;
    pub(super) const LATENCY: u64 = 1 << 6;
    pub(super) const REQUEST: u64 = 1 << 7;
    pub(super) const SENT: u64 = 1 << 8;
    pub(super) const ANSWERED: u64 = 1 << 9;
    pub(super) const ALL: u64 = (1 << 10) - 1;
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no record: {0}")]
pub struct CodecError(&'static str);

/// Appends a record's bytes to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    out.push(VERSION);
    let flags = [
        (has::REPLAY, record.lane.replay.is_some()),
        (has::NEXT_AT, record.next_at.is_some()),
        (has::CLASS, record.class.is_some()),
        (has::STATUS, record.status.is_some()),
        (has::VENDOR_CODE, record.vendor_code.is_some()),
        (has::REASON, record.reason.is_some()),
        (has::LATENCY, record.latency_us.is_some()),
        (has::REQUEST, record.request.is_some()),
        (has::SENT, record.sent.is_some()),
        (has::ANSWERED, record.answered.is_some()),
    ];
    put(out, flags.into_iter().filter(|(_, is)| *is).map(|(flag, _)| flag).sum());
    put_text(out, &record.lane.destination);
    put_text(out, &record.lane.partition.0);
    put_signed(out, record.at);
    out.push(outcome_code(record.outcome));
    out.push(trigger_code(record.trigger));
    put(out, record.offsets.len() as u64);
    let mut before = 0;
    for &offset in &record.offsets {
        put(out, offset.wrapping_sub(before));
        before = offset;
    }
    put(out, record.keys.len() as u64);
    for key in record.keys.iter().flatten() {
        out.extend_from_slice(&key.to_le_bytes());
    }
    put(out, record.cursor);
    put(out, u64::from(record.attempt));
    put(out, record.version);
    if let Some(replay) = &record.lane.replay {
        put_text(out, replay);
    }
    if let Some(next_at) = record.next_at {
        put_signed(out, next_at.wrapping_sub(record.at));
    }
    if let Some(class) = record.class {
        out.push(class_code(class));
    }
    if let Some(status) = record.status {
        put(out, u64::from(status));
    }
    for text in [&record.vendor_code, &record.reason].into_iter().flatten() {
        put_text(out, text);
    }
    for number in [record.latency_us, record.request].into_iter().flatten() {
        put(out, number);
    }
    for text in [&record.sent, &record.answered].into_iter().flatten() {
        put_text(out, text);
    }
}

/// The record that these bytes are, all of them.
///
/// # Errors
/// When they are damaged or of a version that this program does not know.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    let mut from = Bytes(bytes);
    if from.byte()? != VERSION {
        return Err(CodecError("their version is unknown"));
    }
    let flags = from.number()?;
    if flags & !has::ALL != 0 {
        return Err(CodecError("a field is unknown"));
    }
    let mut lane = LaneId {
        destination: from.text()?.into(),
        partition: PartitionId(from.text()?.into()),
        replay: None,
    };
    let at = from.signed()?;
    let outcome = of_code(&Outcome::ALL, outcome_code, from.byte()?, "the outcome is unknown")?;
    let trigger = of_code(&Trigger::ALL, trigger_code, from.byte()?, "the trigger is unknown")?;
    let mut offsets = Vec::with_capacity(from.count(1)?);
    for _ in 0..offsets.capacity() {
        let before = offsets.last().copied().unwrap_or(0_u64);
        offsets.push(before.wrapping_add(from.number()?));
    }
    let keys = from.count(16)?;
    let keys = (0..keys).map(|_| Ok([from.word()?, from.word()?])).collect::<Result<Vec<_>, _>>()?;
    let cursor = from.number()?;
    let attempt = from.number_up_to(u32::MAX.into())? as u32;
    let version = from.number()?;
    let has = |flag: u64| flags & flag != 0;
    if has(has::REPLAY) {
        lane.replay = Some(Arc::from(from.text()?));
    }
    let next_at = has(has::NEXT_AT).then(|| from.signed()).transpose()?.map(|after| at.wrapping_add(after));
    let class = match has(has::CLASS) {
        true => Some(of_code(&Class::ALL, class_code, from.byte()?, "the class is unknown")?),
        false => None,
    };
    let status = has(has::STATUS).then(|| from.number_up_to(u16::MAX.into())).transpose()?;
    let vendor_code = has(has::VENDOR_CODE).then(|| from.text()).transpose()?.map(ToOwned::to_owned);
    let reason = has(has::REASON).then(|| from.text()).transpose()?.map(ToOwned::to_owned);
    let latency_us = has(has::LATENCY).then(|| from.number()).transpose()?;
    let request = has(has::REQUEST).then(|| from.number()).transpose()?;
    let sent = has(has::SENT).then(|| from.text()).transpose()?.map(ToOwned::to_owned);
    let answered = has(has::ANSWERED).then(|| from.text()).transpose()?.map(ToOwned::to_owned);
    if !from.0.is_empty() {
        return Err(CodecError("there are more of them"));
    }
    Ok(Record {
        lane,
        at,
        outcome,
        trigger,
        offsets,
        keys,
        cursor,
        attempt,
        next_at,
        class,
        status: status.map(|status| status as u16),
        vendor_code,
        reason,
        latency_us,
        request,
        sent,
        answered,
        version,
    })
}

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Bytes that are being read.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], CodecError> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.0.len());
        let (taken, rest) = self.0.split_at(count.ok_or(CodecError("they end too early"))?);
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(CodecError("a number is too large"))
    }

    fn number_up_to(&mut self, max: u64) -> Result<u64, CodecError> {
        Some(self.number()?).filter(|number| *number <= max).ok_or(CodecError("a number is too large"))
    }

    /// A count of things that take `bytes` each at least, so that damage cannot ask for all memory.
    fn count(&mut self, bytes: usize) -> Result<usize, CodecError> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len() / bytes);
        count.ok_or(CodecError("they end too early"))
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u64, CodecError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    fn signed(&mut self) -> Result<i64, CodecError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn text(&mut self) -> Result<&'a str, CodecError> {
        let bytes = self.number()?;
        std::str::from_utf8(self.take(bytes)?).map_err(|_| CodecError("a text is not UTF-8"))
    }
}

fn of_code<T: Copy>(
    all: &[T],
    code: fn(T) -> u8,
    wanted: u8,
    unknown: &'static str,
) -> Result<T, CodecError> {
    all.iter().copied().find(|value| code(*value) == wanted).ok_or(CodecError(unknown))
}

fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Delivered => 1,
        Outcome::Retry => 2,
        Outcome::Waiting => 3,
        Outcome::Released => 4,
        Outcome::Filtered => 5,
        Outcome::Suppressed => 6,
        Outcome::Dead => 7,
        Outcome::Revived => 8,
        Outcome::Intent => 9,
        Outcome::Ambiguous => 10,
        Outcome::Missed => 11,
    }
}

fn trigger_code(trigger: Trigger) -> u8 {
    match trigger {
        Trigger::Live => 1,
        Trigger::Manual => 2,
        Trigger::Replay => 3,
    }
}

fn class_code(class: Class) -> u8 {
    match class {
        Class::AuthExpired => 1,
        Class::AuthRevoked => 2,
        Class::Permission => 3,
        Class::RateLimited => 4,
        Class::Quota => 5,
        Class::Validation => 6,
        Class::TooLarge => 7,
        Class::NotFound => 8,
        Class::Gone => 9,
        Class::ConflictDuplicate => 10,
        Class::Transient => 11,
        Class::Timeout => 12,
        Class::NetworkDns => 13,
        Class::NetworkConnect => 14,
        Class::NetworkTls => 15,
        Class::NetworkReset => 16,
        Class::SelfOutage => 17,
        Class::BlockedEgress => 18,
        Class::Unknown => 19,
    }
}

#[cfg(test)]
mod tests;
