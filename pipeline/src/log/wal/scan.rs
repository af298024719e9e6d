//! Reads a WAL directory from front to back and says what it holds, changing nothing.
//!
//! A group is written only when everything before it is durable, and so is a segment's header.
//! So a group that cannot be read is a torn tail, which nobody was promised, only if no group
//! header and no segment stands behind it; else something durable is damaged.

use super::fs::{Access, WalFs};
use super::layout::{BLOCK, GroupHeader, SegmentHeader};
use super::segment::{Found, HeldSegment, Segment};
use super::{Damage, Torn};
use crate::Micros;
use crate::log::{LogError, Offset, PartitionId};
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(super) const PARTITION: &str = "partition";
const PARTITION_TITLE: &str = "flowstate wal 1";
const NOTHING: &str = "a group that was durable cannot be read";

#[derive(Default)]
pub(super) struct Scan {
    /// What the file `partition` says; `None` without one.
    pub(super) partition: Option<PartitionId>,
    pub(super) segments: Vec<Scanned>,
    /// Where the next group belongs.
    pub(super) end: Position,
    pub(super) torn: Option<Torn>,
    pub(super) damage: Vec<Damage>,
    /// Names of recycled files that wait for another use.
    pub(super) spares: Vec<String>,
    /// Names of files that were never finished.
    pub(super) unfinished: Vec<String>,
}

pub(super) struct Scanned {
    pub(super) held: HeldSegment,
    pub(super) end_offset: Offset,
    pub(super) groups: u64,
    /// Where the last group stands.
    pub(super) last_group: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: Offset,
    pub(super) sequence: u64,
    pub(super) last_received_at: Micros,
}

/// Reads the whole directory. Damage is collected, not returned as an error.
pub(super) fn scan(fs: &dyn WalFs, dir: &Path, access: Access) -> Result<Scan, LogError> {
    let mut scan = Scan::default();
    let failed = |what: &str, error| LogError::store(format!("{what} `{}`", dir.display()), error);
    let mut numbers = Vec::new();
    for name in fs.list(dir).map_err(|error| failed("listing", error))? {
        if let Some(number) = number_of(&name) {
            numbers.push(number);
        } else if name.ends_with(".spare") {
            scan.spares.push(name);
        } else if name.ends_with(".new") {
            scan.unfinished.push(name);
        } else if name == PARTITION {
            scan.partition = Some(read_partition(fs, dir)?);
        }
    }
    numbers.sort_unstable();
    for (index, &number) in numbers.iter().enumerate() {
        if index > 0 && number != numbers[index - 1] + 1 {
            scan.damage(numbers[index - 1] + 1, 0, None, "the segment is missing");
        }
        scan.segment(fs, dir, number, access)
            .map_err(|error| failed(&format!("reading segment {number} of"), error))?;
    }
    scan.check_partition(&numbers);
    Ok(scan)
}

impl Scan {
    fn damage(&mut self, segment: u64, position: u64, end: Option<Offset>, what: &'static str) {
        self.damage.push(Damage { segment, position, first_offset: self.end.offset, end_offset: end, what });
    }

    /// Adds a segment that was just made.
    pub(super) fn add(&mut self, segment: Segment) {
        let end_offset = segment.header.first_offset;
        let held = HeldSegment::new(Arc::new(segment));
        self.segments.push(Scanned { held, end_offset, groups: 0, last_group: None });
    }

    fn segment(&mut self, fs: &dyn WalFs, dir: &Path, number: u64, access: Access) -> io::Result<()> {
        let file = fs.open(&dir.join(segment_name(number)), access)?;
        let mut bytes = vec![0; BLOCK as usize];
        file.read_at(0, &mut bytes)?;
        let Some(header) = SegmentHeader::decode(&bytes).filter(|header| header.number == number) else {
            self.damage(number, 0, None, "its header cannot be read");
            return Ok(());
        };
        let other = |partition: &PartitionId| *partition != header.partition;
        if self.partition.as_ref().is_some_and(other) {
            self.damage(number, 0, None, "it belongs to another partition");
            return Ok(());
        }
        let start = Position {
            offset: header.first_offset,
            sequence: header.first_sequence,
            last_received_at: header.last_received_at,
        };
        match self.segments.last() {
            Some(before) if self.end != start => {
                // Where damage was found already, this segment only shows how far it goes.
                let (before, position) = (before.held.segment.header.number, before.held.position);
                if self.damage.is_empty() {
                    self.damage(before, position, Some(start.offset), NOTHING);
                }
            }
            _ => {}
        }
        self.end = start;
        self.torn = None;
        self.groups(Segment { header, file }, bytes)
    }

    fn groups(&mut self, segment: Segment, mut bytes: Vec<u8>) -> io::Result<()> {
        let number = segment.header.number;
        let mut held = HeldSegment::new(Arc::new(segment));
        let (mut groups, mut last_group) = (0, None);
        while held.position < held.segment.header.bytes {
            let position = held.position;
            let found = held.segment.read(position, &mut bytes)?;
            match &found {
                Found::Group(group) if self.follows(group) => {
                    held.push(group);
                    self.end = Position {
                        offset: group.end_offset,
                        sequence: group.sequence + 1,
                        last_received_at: group.last_received_at,
                    };
                    (groups, last_group) = (groups + 1, Some(position));
                    continue;
                }
                Found::Group(group) if !group.mark => {
                    self.damage(number, position, Some(group.first_offset), "another group belongs here");
                }
                _ => {}
            }
            let Some((behind, group)) = held.segment.next_header(position + BLOCK)? else {
                let bytes = match found {
                    Found::Broken(group) => group.padded(),
                    Found::Torn => BLOCK,
                    Found::Group(_) | Found::Nothing => break,
                };
                self.torn = Some(Torn { segment: number, position, bytes });
                break;
            };
            self.damage(number, position, Some(group.synced), NOTHING);
            held.position = behind;
            if group.mark {
                break;
            }
            self.end.offset = group.first_offset;
            self.end.sequence = group.sequence;
        }
        self.segments.push(Scanned { held, end_offset: self.end.offset, groups, last_group });
        Ok(())
    }

    fn follows(&self, group: &GroupHeader) -> bool {
        !group.mark
            && group.sequence == self.end.sequence
            && group.first_offset == self.end.offset
            && group.end_offset > group.first_offset
    }

    /// The first segment is made before the file `partition`, and no group before both.
    fn check_partition(&mut self, numbers: &[u64]) {
        match (&self.partition, numbers) {
            (Some(_), []) => self.damage(1, 0, None, "all segments are missing"),
            (None, []) => {}
            (None, [1]) if self.damage.is_empty() && self.end.offset == 0 => {}
            (None, _) => self.damage(0, 0, None, "the file `partition` is missing"),
            (Some(_), _) => {}
        }
    }
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016}.wal")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let number = digits.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

pub(super) fn read_partition(fs: &dyn WalFs, dir: &Path) -> Result<PartitionId, LogError> {
    let path = dir.join(PARTITION);
    let mut bytes = [0; 256];
    let read = fs.open(&path, Access::Read).and_then(|file| file.read_at(0, &mut bytes));
    let read = read.map_err(|error| LogError::store(format!("reading `{}`", path.display()), error))?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    if title.starts_with("flowstate wal ") && title != PARTITION_TITLE {
        let what = format!("`{}` is of the format `{title}`", path.display());
        return Err(LogError::store(what, format!("this program knows `{PARTITION_TITLE}`")));
    }
    let id = lines.next().unwrap_or_default();
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if title != PARTITION_TITLE || id.len() != 16 || !id.bytes().all(hexadecimal) {
        return Err(LogError::Damaged(format!("`{}` does not name a partition", path.display())));
    }
    Ok(PartitionId(id.into()))
}

pub(super) fn partition_text(partition: &PartitionId) -> String {
    format!("{PARTITION_TITLE}\n{partition}\n")
}
