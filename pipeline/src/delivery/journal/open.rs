//! Opening: what the last process left becomes what this one goes on from.

use super::disk::{Disk, Shared, make};
use super::layout::{BLOCK, GROUP_HEADER, SegmentHeader};
use super::segment::{Held, Segment};
use super::{JournalConfig, JournalError, SUFFIX, file_name};
use crate::log::PartitionId;
use crate::log::wal::fs::{Access, WalFs};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Opens the journal, or makes it. The tail that a crash tore is cut: a new segment is begun behind
/// the last whole group, and its header says so.
pub(super) fn open(fs: Arc<dyn WalFs>, config: JournalConfig) -> Result<Disk, JournalError> {
    let JournalConfig { dir, segment_bytes, known } = config;
    fs.create_dir(&dir)?;
    let lock = fs.try_lock(&dir.join("lock"), Access::Write)?;
    let lock = lock.ok_or_else(|| JournalError::Failed("another process has it open".to_owned()))?;
    for unfinished in fs.list(&dir)?.into_iter().filter(|name| name.ends_with(".new")) {
        fs.unlink(&dir.join(unfinished))?;
    }
    // Names that a process gave before it was killed must not come undone once others follow.
    fs.fsync_dir(&dir)?;
    let mut segments = segments(&*fs, &dir)?;
    let end = end(&segments)?.unwrap_or_else(|| {
        if known > 0 {
            tracing::warn!(known, dir = %dir.display(), "the delivery journal is gone; a new one is begun");
        }
        known + 1
    });
    if end <= known {
        let what = format!("it ends before record {end}, and record {known} was durable");
        return Err(JournalError::Damaged(what));
    }
    let header = SegmentHeader {
        journal: segments.last().map_or_else(|| new_id(&*fs), |last| last.header.journal.clone()),
        number: segments.last().map_or(0, |last| last.header.number) + 1,
        first: end,
        salt: fs.random(),
    };
    let active = Arc::new(make(&*fs, &dir, header)?);
    segments.push(Arc::clone(&active));
    Ok(Disk {
        shared: Arc::new(Shared::new(Held { segments, end })),
        fs,
        segment_bytes,
        active,
        position: BLOCK,
        next: end,
        _lock: lock,
        dir,
    })
}

fn new_id(fs: &dyn WalFs) -> PartitionId {
    PartitionId(format!("{:016x}", fs.random()).into())
}

/// The id of the journal in a directory, and the first sequence number in it; `None` where there is
/// no journal. Nothing is changed.
pub(super) fn peek(fs: &dyn WalFs, dir: &Path) -> Result<Option<(PartitionId, u64)>, JournalError> {
    fs.create_dir(dir)?;
    let segments = segments(fs, dir)?;
    Ok(segments.first().map(|first| (first.header.journal.clone(), first.header.first)))
}

/// The segments in the directory, in order.
fn segments(fs: &dyn WalFs, dir: &Path) -> Result<Vec<Arc<Segment>>, JournalError> {
    let mut numbers = Vec::new();
    for name in fs.list(dir)? {
        if let Some(number) = name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for number in numbers {
        let damaged = |what: &str| Err(JournalError::Damaged(format!("`{}`: {what}", file_name(number))));
        if segments.last().is_some_and(|last| last.header.number + 1 != number) {
            return damaged("the segment before it is missing");
        }
        let file = fs.open(&dir.join(file_name(number)), Access::Write)?;
        let mut block = vec![0; BLOCK as usize];
        file.read_at(0, &mut block)?;
        match SegmentHeader::decode(&block) {
            Some(header) if header.number == number && of_one_journal(&segments, &header) => {
                segments.push(Arc::new(Segment { header, file }))
            }
            _ => return damaged("its header is damaged or of another journal"),
        }
    }
    Ok(segments)
}

fn of_one_journal(segments: &[Arc<Segment>], header: &SegmentHeader) -> bool {
    segments.last().is_none_or(|last| last.header.journal == header.journal)
}

/// The sequence number behind the last record, once everything before it is whole and durable;
/// `None` without a segment.
fn end(segments: &[Arc<Segment>]) -> Result<Option<u64>, JournalError> {
    for pair in segments.windows(2) {
        let scanned = scan(&pair[0], pair[1].header.first)?;
        if scanned.next != pair[1].header.first {
            return Err(damaged(&pair[0], &scanned));
        }
    }
    let Some(last) = segments.last() else { return Ok(None) };
    let scanned = scan(last, u64::MAX)?;
    let length = last.file.bytes()?;
    let mut position = scanned.position;
    while position < length {
        // A group is written only when all before it are durable.
        if last.header_at(position)?.is_some_and(|later| later.first > scanned.next) {
            return Err(damaged(last, &scanned));
        }
        position += BLOCK;
    }
    if length > scanned.position {
        tracing::warn!(
            segment = last.header.number,
            position = scanned.position,
            "an unfinished write at the end of the delivery journal was cut; nobody was promised it"
        );
    }
    if let Some(group) = scanned.last {
        rewrite(last, group)?;
    }
    Ok(Some(scanned.next))
}

/// Writes the last group once more. A failed fsync leaves it in the page cache, marked as clean: the
/// process before this one may have stopped for that. Written again, it does reach the disk.
fn rewrite(segment: &Segment, position: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    let header = segment.read(position, &mut bytes)?;
    let header = header.ok_or_else(|| io::Error::other("a group that was read is gone"))?;
    let mut group = vec![0; GROUP_HEADER];
    header.encode(segment.header.salt, &mut group);
    group.extend_from_slice(&bytes);
    segment.file.write_at(position, &group)?;
    segment.file.fdatasync()
}

/// How far the whole groups of a segment reach.
struct Scanned {
    next: u64,
    position: u64,
    /// Where the last one begins.
    last: Option<u64>,
}

fn scan(segment: &Segment, end: u64) -> io::Result<Scanned> {
    let mut scanned = Scanned { next: segment.header.first, position: BLOCK, last: None };
    let mut bytes = Vec::new();
    while scanned.next < end {
        match segment.read(scanned.position, &mut bytes)? {
            Some(group) if group.first == scanned.next => {
                scanned.last = Some(scanned.position);
                scanned.next = group.end();
                scanned.position += group.padded();
            }
            _ => break,
        }
    }
    Ok(scanned)
}

fn damaged(segment: &Segment, scanned: &Scanned) -> JournalError {
    JournalError::Damaged(format!(
        "segment {}, byte {}: record {} cannot be read",
        segment.header.number, scanned.position, scanned.next
    ))
}
