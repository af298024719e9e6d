//! The WAL: frames, and the segments that hold them.

use crate::event::{Event, Kind, Record, Rejected};
use crate::log::frame;
use crate::log::wal::crash_fs::CrashFs;
use crate::log::wal::{Group, Wal, WalConfig, WalReader, read_only};
use crate::log::{Batch, Frame, LogError, Offset, Origin};
use std::path::Path;
use std::sync::LazyLock;

/// Reads the bytes as frames, one behind the other.
///
/// # Panics
/// When a record that was read is not read again as it was from what it is written as.
pub fn frame(data: &[u8]) {
    let mut rest = data;
    while let Ok(frame) = Frame::decode(&mut rest) {
        for (_, _, record) in frame.records().map_while(Result::ok) {
            let mut batch = Batch::new(Origin { source: frame.source.into(), test: frame.test }, 1);
            match &record {
                Record::Event(event) => batch.push_event(event),
                Record::Rejected(rejected) => batch.push_rejected(rejected),
            }
            assert_eq!(batch.records().next(), Some(Ok(record)));
        }
    }
}

/// Changes bytes of a WAL and opens it.
///
/// The input is a list of changes: two bytes say where in the segment, one how many bytes there
/// become those that follow; none cuts the file there.
///
/// # Panics
/// When groups do not follow each other, or a WAL that can be read cannot be opened and appended to.
pub fn wal(data: &[u8]) {
    let fs = WHOLE.fork();
    fs.damage(&Path::new(DIR).join("0000000000000001.wal"), |bytes| change(bytes, data));
    let read = read_only(fs.clone(), Path::new(DIR));
    let Ok(Some(held)) = read else {
        assert!(matches!(read, Ok(None) | Err(LogError::Damaged(_) | LogError::Store { .. })));
        return;
    };
    assert_eq!(groups(&held.reader, held.first_offset), held.end);
    let end = held.end;
    drop(held);
    let (mut wal, recovered) = Wal::open(fs, config()).expect("what can be read can be opened");
    assert_eq!(recovered.end, end);
    append(&mut wal);
    assert_eq!(groups(&wal.reader(), recovered.first_offset), wal.end());
}

const DIR: &str = "wal";

/// Three groups in one segment.
static WHOLE: LazyLock<CrashFs> = LazyLock::new(|| {
    let fs = CrashFs::new(1);
    let (mut wal, _) = Wal::open(fs.clone(), config()).expect("a new WAL opens");
    for _ in 0..3 {
        append(&mut wal);
    }
    wal.close().expect("it closes");
    fs.kill();
    fs
});

fn config() -> WalConfig {
    WalConfig { dir: DIR.into(), segment_bytes: 32 << 10, bytes_max: 256 << 10 }
}

fn append(wal: &mut Wal) {
    let mut batch = Batch::new(Origin { source: "web".into(), test: false }, 2);
    batch.push_event(&Event::new(Kind::Track, format!("id-{}", wal.end())));
    batch.push_rejected(&Rejected {
        code: "bad_request".into(),
        field: None,
        message: "it is wrong".into(),
        message_id: None,
        body: Some("{}".into()),
        body_bytes: 2,
    });
    let (first_offset, mut payload) = (wal.end(), Vec::new());
    let received_at = 1_000 + first_offset as i64;
    frame::encode(&batch, &[], first_offset, received_at, &mut payload);
    let group = Group {
        first_offset,
        end_offset: first_offset + 3,
        last_received_at: received_at + 2,
        payload: &payload,
    };
    wal.append(&group).expect("it has room");
}

/// Reads all groups and what is in them; where the last one ends.
fn groups(reader: &WalReader, first: Offset) -> Offset {
    let mut next = first;
    while let Some(groups) = reader.read_from(next, 10_000).expect("what was scanned can be read") {
        if groups.is_empty() {
            break;
        }
        for group in groups {
            assert!(group.first_offset <= next && group.end_offset > next, "{group:?} at {next}");
            next = group.end_offset;
            frame(&group.payload);
        }
    }
    next
}

fn change(bytes: &mut Vec<u8>, mut changes: &[u8]) {
    while let [low, high, count, rest @ ..] = changes {
        let at = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let count = usize::from(*count).min(rest.len());
        let (new, others) = rest.split_at(count);
        changes = others;
        if new.is_empty() {
            bytes.truncate(at);
        }
        let here = new.len().min(bytes.len() - at);
        bytes[at..at + here].copy_from_slice(&new[..here]);
    }
}
