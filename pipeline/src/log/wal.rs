//! HEDGE: simple WAL.
use super::{LogError, Offset, PartitionId};
use crate::Micros;
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const BLOCK: u64 = 4096;
const MAGIC: u32 = 0x4653_4731;

/// fs
#[derive(Clone, Copy, Debug)]
pub struct RealFs;
/// config
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// dir
    pub dir: PathBuf,
    /// seg
    pub segment_bytes: u64,
    /// max
    pub bytes_max: u64,
}
/// torn
#[derive(Clone, Debug)]
pub struct Torn {
    /// pos
    pub position: u64,
}
/// recovered
#[derive(Clone, Debug)]
pub struct Recovered {
    /// p
    pub partition: PartitionId,
    /// f
    pub first_offset: Offset,
    /// e
    pub end: Offset,
    /// l
    pub last_received_at: Micros,
    /// t
    pub torn: Option<Torn>,
}
/// group
#[derive(Debug)]
pub struct Group<'a> {
    /// f
    pub first_offset: Offset,
    /// e
    pub end_offset: Offset,
    /// l
    pub last_received_at: Micros,
    /// p
    pub payload: &'a [u8],
}
/// data
#[derive(Debug)]
pub struct GroupData {
    /// f
    pub first_offset: Offset,
    /// e
    pub end_offset: Offset,
    /// l
    pub last_received_at: Micros,
    /// p
    pub payload: Bytes,
}
/// error
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// full
    #[error("{reason}")]
    Full {
        /// r
        reason: String,
    },
    /// failed
    #[error("{0}")]
    Failed(#[from] std::io::Error),
}
struct Entry {
    first: Offset,
    end: Offset,
    at: u64,
    len: u64,
    received: Micros,
}
struct Index {
    file: File,
    entries: Vec<Entry>,
}
/// reader
#[derive(Clone)]
pub struct WalReader(Arc<Mutex<Index>>);
/// wal
pub struct Wal {
    index: Arc<Mutex<Index>>,
    file: File,
    at: u64,
    max: u64,
    buf: Vec<u8>,
    _lock: File,
}
/// held
pub struct Held {
    /// p
    pub partition: PartitionId,
    /// f
    pub first_offset: Offset,
    /// e
    pub end: Offset,
    /// r
    pub reader: WalReader,
}
fn io(what: &str) -> impl Fn(std::io::Error) -> LogError + '_ {
    move |e| LogError::store(what, e)
}
fn scan(file: &File) -> Result<(Vec<Entry>, u64), LogError> {
    let len = file.metadata().map_err(io("wal"))?.len();
    let (mut at, mut out) = (0, Vec::new());
    let mut next = None;
    while at + BLOCK <= len {
        let mut head = [0u8; 48];
        file.read_exact_at(&mut head, at).map_err(io("wal"))?;
        let u32_ = |i: usize| u32::from_le_bytes(head[i..i + 4].try_into().expect("4"));
        let u64_ = |i: usize| u64::from_le_bytes(head[i..i + 8].try_into().expect("8"));
        if u32_(0) != MAGIC {
            break;
        }
        let plen = u64_(8);
        if at + 48 + plen > len {
            break;
        }
        let mut all = vec![0; 40 + plen as usize];
        file.read_exact_at(&mut all, at + 8).map_err(io("wal"))?;
        if crc32c::crc32c(&all) != u32_(4) {
            break;
        }
        let (first, end) = (u64_(16), u64_(24));
        if next.is_some_and(|n| n != first) {
            break;
        }
        next = Some(end);
        out.push(Entry { first, end, at: at + 48, len: plen, received: u64_(32) as i64 });
        at += (48 + plen).div_ceil(BLOCK) * BLOCK;
    }
    Ok((out, at))
}
fn open_id(dir: &Path) -> Result<PartitionId, LogError> {
    let p = dir.join("partition");
    if let Ok(s) = std::fs::read_to_string(&p) {
        return Ok(PartitionId(s.trim().into()));
    }
    let id = format!("{:016x}", uuid::Uuid::now_v7().as_u128() as u64);
    std::fs::write(&p, &id).map_err(io("partition"))?;
    Ok(PartitionId(id.as_str().into()))
}
impl Wal {
    /// open
    pub fn open(_fs: RealFs, c: WalConfig) -> Result<(Self, Recovered), LogError> {
        std::fs::create_dir_all(&c.dir).map_err(io("wal dir"))?;
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(c.dir.join("lock"))
            .map_err(io("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| LogError::InUse(c.dir.clone()))?;
        let partition = open_id(&c.dir)?;
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(c.dir.join("0.wal"))
            .map_err(io("wal"))?;
        let (entries, at) = scan(&file)?;
        file.set_len(at).map_err(io("wal"))?;
        let r = Recovered {
            partition,
            first_offset: entries.first().map_or(0, |e| e.first),
            end: entries.last().map_or(0, |e| e.end),
            last_received_at: entries.last().map_or(0, |e| e.received),
            torn: None,
        };
        let index = Arc::new(Mutex::new(Index { file: file.try_clone().map_err(io("wal"))?, entries }));
        Ok((Self { index, file, at, max: c.bytes_max, buf: Vec::new(), _lock: lock }, r))
    }
    /// append
    pub fn append(&mut self, g: &Group<'_>) -> Result<(), WalError> {
        if self.at + g.payload.len() as u64 > self.max {
            return Err(WalError::Full { reason: "max".into() });
        }
        self.buf.clear();
        self.buf.extend_from_slice(&[0; 8]);
        self.buf.extend_from_slice(&(g.payload.len() as u64).to_le_bytes());
        self.buf.extend_from_slice(&g.first_offset.to_le_bytes());
        self.buf.extend_from_slice(&g.end_offset.to_le_bytes());
        self.buf.extend_from_slice(&g.last_received_at.to_le_bytes());
        self.buf.extend_from_slice(&[0; 8]);
        self.buf.extend_from_slice(g.payload);
        let crc = crc32c::crc32c(&self.buf[8..]);
        self.buf[..4].copy_from_slice(&MAGIC.to_le_bytes());
        self.buf[4..8].copy_from_slice(&crc.to_le_bytes());
        let padded = (self.buf.len() as u64).div_ceil(BLOCK) * BLOCK;
        self.buf.resize(padded as usize, 0);
        self.file.write_all_at(&self.buf, self.at)?;
        self.file.sync_data()?;
        let e = Entry {
            first: g.first_offset,
            end: g.end_offset,
            at: self.at + 48,
            len: g.payload.len() as u64,
            received: g.last_received_at,
        };
        self.index.lock().unwrap_or_else(PoisonError::into_inner).entries.push(e);
        self.at += padded;
        Ok(())
    }
    /// release
    pub fn release(&mut self, _below: Offset) -> Result<(), WalError> {
        Ok(())
    }
    /// confirm
    pub fn confirm(&mut self) -> Result<(), WalError> {
        Ok(())
    }
    /// bytes
    pub fn bytes_used(&self) -> u64 {
        self.at
    }
    /// reader
    pub fn reader(&self) -> WalReader {
        WalReader(Arc::clone(&self.index))
    }
}
impl WalReader {
    /// read
    pub fn read_from(&self, from: Offset, bytes: u64) -> Result<Option<Vec<GroupData>>, LogError> {
        let index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if index.entries.first().is_none_or(|e| from < e.first) {
            return Ok(None);
        }
        let (mut out, mut sum) = (Vec::new(), 0);
        for e in index.entries.iter().filter(|e| e.end > from) {
            let mut payload = vec![0; e.len as usize];
            index.file.read_exact_at(&mut payload, e.at).map_err(io("wal"))?;
            sum += e.len;
            out.push(GroupData {
                first_offset: e.first,
                end_offset: e.end,
                last_received_at: e.received,
                payload: payload.into(),
            });
            if sum >= bytes {
                break;
            }
        }
        Ok(Some(out))
    }
}
/// read only
pub fn read_only(_fs: RealFs, dir: &Path) -> Result<Option<Held>, LogError> {
    let Ok(lock) = File::open(dir.join("lock")) else { return Ok(None) };
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let partition = open_id(dir)?;
    let file = File::open(dir.join("0.wal")).map_err(io("wal"))?;
    let (entries, _) = scan(&file)?;
    let (first_offset, end) = (entries.first().map_or(0, |e| e.first), entries.last().map_or(0, |e| e.end));
    Ok(Some(Held {
        partition,
        first_offset,
        end,
        reader: WalReader(Arc::new(Mutex::new(Index { file, entries }))),
    }))
}
