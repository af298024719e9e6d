//! The delivery journal: what every lane of this node decided, durable before it counts.
//!
//! Records are appended in groups, one write and one `fdatasync` for all lanes that wait, to segment
//! files in a directory of its own: `0000000000000001.journal` and on, unfinished ones `*.new`, and
//! `lock`. What the bytes are stands in `layout`, how damage is told from a torn tail in `open`.
//! Each process begins a new segment; whole segments are removed when nobody needs them.

mod appender;
mod disk;
mod layout;
mod open;
mod reader;
mod segment;

pub use reader::JournalReader;

use super::Record;
use crate::log::wal::fs::WalFs;
use crate::log::{LogError, PartitionId};
use appender::{Command, Done, WAITING_MAX};
use async_trait::async_trait;
use disk::Shared;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The records of one append take no more bytes.
const APPEND_BYTES_MAX: usize = 64 << 20;

/// What the names of segments end with.
const SUFFIX: &str = ".journal";

fn file_name(number: u64) -> String {
    format!("{number:016}{SUFFIX}")
}

/// Where lanes write down what they decided.
#[async_trait]
pub trait Records: Send + Sync {
    /// Appends records, all or none, in their order and behind those of every append that has
    /// returned. They are durable when this returns.
    ///
    /// The answer is the sequence number of the last one. Numbers are dense and begin at 1. No
    /// records are appended at once; the answer is then the number of the last durable record.
    ///
    /// # Errors
    /// See [`JournalError`].
    async fn append(&self, records: Vec<Record>) -> Result<u64, JournalError>;
}

/// Why records were not taken, or cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// A write or an fsync failed, or the journal was closed. Whether the records are kept shows when
    /// the process starts anew; until then the journal takes nothing more.
    #[error("the delivery journal cannot be written until the process starts anew: {0}")]
    Failed(String),
    /// Something that was durable cannot be read. Restore a backup, or remove the directory: then
    /// what was delivered since the last checkpoint is delivered again.
    #[error("the delivery journal is damaged: {0}")]
    Damaged(String),
    /// The records of one append are too many. Nothing was kept; append them in several parts.
    #[error("the records take more than {max} bytes, which is the most that one append may take")]
    TooLarge {
        /// What they may take together.
        max: u64,
    },
}

impl From<std::io::Error> for JournalError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<JournalError> for LogError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Damaged(_) => Self::Damaged(error.to_string()),
            _ => Self::store("the delivery journal could not do as asked", error),
        }
    }
}

/// How the journal is kept.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Its directory; made if it is not there. One process at a time holds it.
    pub dir: PathBuf,
    /// A segment is ended when the next group would make it larger than this.
    pub segment_bytes: u64,
    /// A record that is known to have been durable: the last one that a checkpoint or the
    /// `deliveries` table names; 0 when none is. A journal that ends before it is damaged. Where
    /// there is none at all, a new one begins behind it.
    pub known: u64,
}

impl JournalConfig {
    /// The size of a segment, unless something else is asked for.
    pub const SEGMENT_BYTES: u64 = 32 << 20;
}

/// The delivery journal of one node.
///
/// - When [`Records::append`] returns, the records survive a crash and loss of power. An append
///   whose future is dropped may be made or not.
/// - After a crash all records of an append are there or none, and all records before them are.
/// - Sequence numbers are dense, begin at 1 and are never given to another durable record.
/// - An fsync error ends it for good: then nobody knows what the disk holds, so the process must
///   start anew and recover from what is there.
pub struct Journal {
    id: PartitionId,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Journal {
    /// Opens the journal, or makes it, and starts its task on the current runtime.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when something durable cannot be read; [`JournalError::Failed`]
    /// when the disk fails or another process has it open.
    pub async fn open(fs: impl WalFs, config: JournalConfig) -> Result<Self, JournalError> {
        let fs: Arc<dyn WalFs> = Arc::new(fs);
        let disk = match fs.is_in_memory() {
            true => open::open(fs, config)?,
            false => tokio::task::spawn_blocking(move || open::open(fs, config)).await.map_err(ended)??,
        };
        let (id, shared) = (disk.active.header.journal.clone(), Arc::clone(&disk.shared));
        let (commands, received) = mpsc::channel(WAITING_MAX);
        tokio::spawn(appender::run(disk, received));
        Ok(Self { id, shared, commands })
    }

    /// The id of the journal in a directory, and the sequence number of the first record that it
    /// holds; `None` where there is no journal. Blocks on the disk.
    pub(crate) fn peek(fs: &dyn WalFs, dir: &Path) -> Result<Option<(PartitionId, u64)>, JournalError> {
        open::peek(fs, dir)
    }

    /// The id of this journal: 16 hexadecimal digits, made at random with its directory.
    pub fn id(&self) -> &PartitionId {
        &self.id
    }

    /// The sequence number of the last durable record; 0 before the first.
    pub fn last(&self) -> u64 {
        self.shared.lock().end - 1
    }

    /// The sequence number of the first record that is still held, or would be.
    pub fn first(&self) -> u64 {
        self.shared.lock().first()
    }

    /// Whether the journal goes on.
    ///
    /// # Errors
    /// [`JournalError::Failed`] once a write or an fsync has failed: the process must start anew.
    pub fn usable(&self) -> Result<(), JournalError> {
        self.shared.usable()
    }

    /// A reader of what is durable now, from the record `from` on. That record must not have been
    /// released.
    pub fn reader(&self, from: u64) -> JournalReader {
        JournalReader::new(self.shared.lock().clone(), from)
    }

    /// Says that records below `below` are not needed any more; segments that have no others are
    /// removed.
    ///
    /// # Errors
    /// [`JournalError::Failed`] when the disk fails, which ends the journal.
    pub async fn release(&self, below: u64) -> Result<(), JournalError> {
        self.command(|done| Command::Release { below, done }).await
    }

    /// Finishes what waits and lets go of the directory. Appends behind this fail.
    ///
    /// # Errors
    /// [`JournalError::Failed`] when the journal had failed.
    pub async fn close(&self) -> Result<(), JournalError> {
        self.command(|done| Command::Close { done }).await
    }

    async fn command<T>(&self, command: impl FnOnce(Done<T>) -> Command) -> Result<T, JournalError> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(ended)?;
        outcome.await.map_err(ended)?
    }
}

fn ended(_: impl std::error::Error) -> JournalError {
    JournalError::Failed("it was closed".to_owned())
}

#[async_trait]
impl Records for Journal {
    async fn append(&self, records: Vec<Record>) -> Result<u64, JournalError> {
        if records.is_empty() {
            return Ok(self.last());
        }
        let mut bytes = Vec::new();
        for record in &records {
            layout::put_record(record, &mut bytes);
            if bytes.len() > APPEND_BYTES_MAX {
                return Err(JournalError::TooLarge { max: APPEND_BYTES_MAX as u64 });
            }
        }
        let records = records.len() as u32;
        self.command(|done| Command::Append { records, bytes, done }).await
    }
}

#[cfg(test)]
mod tests;
