//! Events from files: lines of JSON, taken in by the rules of HTTP.
//!
//! What differs from a batch: each line stands alone, so a bad one costs no other; an event without an
//! id gets one from its file and line, so a second run finds duplicates; the events are marked as
//! imported, which leaves their timestamps as they are and keeps them from destinations.

#[cfg(test)]
mod tests;

use crate::Ingest;
use crate::item::Item;
use crate::meter;
use crate::prepare::{Intake, Prepared, Tools};
use crate::rules::Broken;
use crate::shared::Shared;
use crate::text::Text;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::control::Source;
use pipeline::event::{Flags, message_id_of_line};
use pipeline::log::AppendError;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Consecutive lines of one file.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The name of the source that the events are of.
    pub source: String,
    /// What the file is known by, whatever its name: the same content, the same text.
    pub file: String,
    /// The number of the first line, counted from 1.
    pub first_line: u64,
    /// Whether destinations get the events.
    pub deliver: bool,
    /// The lines; blank ones are counted in the numbering and passed over.
    pub lines: Bytes,
}

/// What became of a piece; everything in it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Events stored.
    pub accepted: u64,
    /// Events that had been stored before.
    pub duplicate: u64,
    /// Lines kept aside because they broke a rule.
    pub rejected: u64,
    /// What was wrong, by the code of the rule.
    pub reasons: BTreeMap<String, Reason>,
}

/// Lines that broke the same rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// How many.
    pub lines: u64,
    /// The number of the first.
    pub first_line: u64,
    /// What is wrong with that one.
    pub message: String,
}

/// Why a piece was not taken in. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no such source. Add it, or name another.
    #[error("there is no source `{0}`")]
    UnknownSource(String),
    /// The source takes no events. Enable it.
    #[error("the source `{0}` is switched off")]
    DisabledSource(String),
    /// The piece has too many lines. Send it in smaller ones.
    #[error("the piece has {lines} lines; allowed are {lines_max}")]
    TooLong {
        /// How many it has.
        lines: usize,
        /// How many it may have.
        lines_max: usize,
    },
    /// The log did not take it. See [`AppendError`].
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The server could not take the piece apart. Try again.
    #[error("the server could not take the piece apart")]
    Failed,
}

impl Ingest {
    /// Takes in lines of a file; when it returns, they are durable.
    ///
    /// # Errors
    /// See [`ImportError`]; nothing was kept, except after [`AppendError::Failed`], where nobody knows
    /// until the restart.
    pub async fn import(&self, piece: Piece) -> Result<Imported, ImportError> {
        let Some(source) = self.tools.keys.source_named(&piece.source) else {
            return Err(ImportError::UnknownSource(piece.source));
        };
        if !source.enabled {
            return Err(ImportError::DisabledSource(piece.source));
        }
        let (tools, now) = (self.tools.clone(), self.clock.now());
        let preparing = tokio::task::spawn_blocking(move || prepare(&tools, now, &source, &piece));
        let (Prepared { source, batch, outcomes }, numbers) =
            preparing.await.map_err(|_| ImportError::Failed)??;
        let appended = self.log.append(batch).await?;
        let counts = outcomes.counts(&appended.duplicates);
        meter::items(&source, counts);
        let mut imported = Imported {
            accepted: counts.accepted as u64,
            duplicate: counts.duplicate as u64,
            rejected: counts.rejected as u64,
            reasons: BTreeMap::new(),
        };
        for (index, broken) in outcomes.broken() {
            imported.count(broken, numbers.get(index).copied().unwrap_or_default());
        }
        Ok(imported)
    }
}

impl Imported {
    fn count(&mut self, broken: &Broken, first_line: u64) {
        let reason = || Reason { lines: 0, first_line, message: broken.message.clone() };
        self.reasons.entry(broken.code.to_owned()).or_insert_with(reason).lines += 1;
    }
}

/// Checks and encodes the lines; the numbers are those of the lines that are not blank.
fn prepare(
    tools: &Tools,
    now: Micros,
    source: &Source,
    piece: &Piece,
) -> Result<(Prepared, Vec<u64>), ImportError> {
    // Counted before anything is decided about them, as the receipt demands.
    let received = piece.lines.split(|&byte| byte == b'\n').filter(|line| !is_blank(line)).count();
    let lines_max = tools.config.batch_events_max;
    if received > lines_max {
        return Err(ImportError::TooLong { lines: received, lines_max });
    }
    let read = String::from_utf8_lossy(&piece.lines);
    let was_utf8 = matches!(read, Cow::Borrowed(_));
    let text = Text::new(&read);
    let shared = Shared::new(None, None, None, None);
    let mut intake = Intake::new(tools, now, source, &text, received);
    let mut flags = Flags::IMPORTED;
    if piece.deliver {
        flags.insert(Flags::FOR_DELIVERY);
    }
    let mut numbers = Vec::with_capacity(received);
    let lines = piece.lines.split(|&byte| byte == b'\n').zip(text.clean().split('\n'));
    for ((bytes, line), number) in lines.zip(piece.first_line..) {
        if is_blank(bytes) {
            continue;
        }
        numbers.push(number);
        let line = line.trim_start_matches('\u{feff}').trim_matches(BLANK);
        let not_utf8 = if was_utf8 { None } else { std::str::from_utf8(bytes).err() };
        if let Some(error) = not_utf8 {
            let at = error.valid_up_to();
            let message = format!("the line is not UTF-8: its byte at position {at} is wrong");
            intake.reject(None, line, Broken::item("invalid_json", message));
            continue;
        }
        if let Err(broken) = intake.check_size(line) {
            intake.reject(None, line, broken);
            continue;
        }
        match serde_json::from_str::<&RawValue>(line) {
            Err(error) => {
                let message = format!("the line is not JSON: {error}");
                intake.reject(None, line, Broken::item("invalid_json", message));
            }
            Ok(json) => {
                let json = json.get();
                let make = || message_id_of_line(&piece.file, number, json);
                intake.take_with(None, json, Item::parse(json), &shared, flags, make);
            }
        }
    }
    Ok((intake.prepared, numbers))
}

/// What may stand around a value in JSON.
const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
