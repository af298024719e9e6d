//! The one thread that owns the WAL and the deduplication index: group commit.
//!
//! It drains the queue, decides duplicates, writes one group, syncs it once, and then answers all
//! who wait. There is no artificial delay: while one group is synced, the next one gathers. With
//! [`super::Durability::Object`] the group is stored as an object before the answers; what happens
//! when it cannot be stands on [`Owner`].

mod group_ids;
mod puts;
mod thread;

use super::dedup::Dedup;
use super::frame::{self, Batch};
use super::objects::Owner;
use super::tail::Tail;
use super::wal::Wal;
use super::{AppendError, Appended, Offset};
use crate::{Clock, Micros};
use puts::Puts;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use thread::Thread;
use tokio::sync::oneshot;

/// Requests that may wait for the disk.
const QUEUE_MAX: usize = 16_384;

/// Bytes that may wait for the disk.
const QUEUE_BYTES_MAX: u64 = 128 << 20;

const RETRY_AFTER_S: u64 = 1;

type Answer = oneshot::Sender<Result<Appended, AppendError>>;

enum Message {
    Append(Batch, Answer),
    Release(Offset),
    /// Take no more appends.
    Stop(oneshot::Sender<()>),
    /// Close the WAL and let go of the directory.
    End(oneshot::Sender<()>),
}

/// The way to the thread.
pub(crate) struct Appender {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    queued_bytes: AtomicU64,
    wal_bytes: AtomicU64,
    /// What one append may take in the WAL.
    append_bytes_max: u64,
    stopped: AtomicBool,
    failed: OnceLock<String>,
    /// Why the last group is not in the store.
    waiting: Mutex<Option<String>>,
}

impl Appender {
    /// Starts the thread. `next` and `last_received_at` go on from what was recovered. With `objects`,
    /// every group is stored as an object, too.
    pub(crate) fn start(
        wal: Wal,
        objects: Option<Owner>,
        dedup: Dedup,
        tail: Arc<Tail>,
        clock: Clock,
        last_received_at: Micros,
    ) -> std::io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            queued_bytes: AtomicU64::new(0),
            wal_bytes: AtomicU64::new(wal.bytes_used()),
            append_bytes_max: wal.group_bytes_max(),
            stopped: AtomicBool::new(false),
            failed: OnceLock::new(),
            waiting: Mutex::default(),
        });
        let objects = objects.map(Puts::new).transpose()?;
        let shared_too = Arc::clone(&shared);
        let thread = Thread::new(wal, objects, dedup, tail, clock, shared_too, last_received_at);
        let watch = Watch(Arc::clone(&shared));
        std::thread::Builder::new().name("log-appender".into()).spawn(move || {
            let _watch = watch;
            thread.run(&messages);
        })?;
        Ok(Self { queue, shared })
    }

    pub(crate) async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        if let Some(reason) = self.failed() {
            return Err(AppendError::Failed(reason.to_owned()));
        }
        if self.shared.stopped.load(Relaxed) {
            return Err(AppendError::ShuttingDown);
        }
        if frame::bytes_max(&batch) > self.shared.append_bytes_max {
            return Err(AppendError::TooLarge { bytes_max: self.shared.append_bytes_max });
        }
        let bytes = batch.bytes.len() as u64;
        if self.shared.queued_bytes.fetch_add(bytes, Relaxed) + bytes > QUEUE_BYTES_MAX {
            self.shared.queued_bytes.fetch_sub(bytes, Relaxed);
            return Err(AppendError::Overloaded { retry_after_s: RETRY_AFTER_S });
        }
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.queue.try_send(Message::Append(batch, answer)) {
            self.shared.queued_bytes.fetch_sub(bytes, Relaxed);
            return Err(match refused {
                TrySendError::Full(_) => AppendError::Overloaded { retry_after_s: RETRY_AFTER_S },
                TrySendError::Disconnected(_) => self.gone(),
            });
        }
        answered.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Everything below `offset` is in the tables: its segments may be used again. Says whether
    /// the thread will hear of it; a full queue takes no message.
    pub(crate) fn release(&self, offset: Offset) -> bool {
        self.queue.try_send(Message::Release(offset)).is_ok()
    }

    /// Why nothing can be appended any more; `None` while all is well.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.shared.failed.get().map(String::as_str)
    }

    /// Why appends are refused until the store is back; `None` while all is well.
    pub(crate) fn waiting(&self) -> Option<String> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes the WAL takes on disk.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.shared.wal_bytes.load(Relaxed)
    }

    /// Takes no more appends: they get [`AppendError::ShuttingDown`]. Those that are queued are
    /// durable or refused when it returns.
    pub(crate) async fn stop(&self) {
        self.shared.stopped.store(true, Relaxed);
        self.send(Message::Stop).await;
    }

    /// Closes the WAL and lets go of its directory.
    pub(crate) async fn end(&self) {
        self.send(Message::End).await;
    }

    /// Sends a message and waits until it was followed, or until the thread has ended.
    async fn send(&self, message: fn(oneshot::Sender<()>) -> Message) {
        let (done, followed) = oneshot::channel();
        let queue = self.queue.clone();
        let sent = tokio::task::spawn_blocking(move || queue.send(message(done))).await;
        if matches!(sent, Ok(Ok(()))) {
            // The thread drops it when it ends early, which is as good an answer.
            let _ = followed.await;
        }
    }

    fn gone(&self) -> AppendError {
        match self.failed() {
            Some(reason) => AppendError::Failed(reason.to_owned()),
            None => AppendError::ShuttingDown,
        }
    }
}

/// Tells when its thread panics.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.failed.set("its thread panicked".into());
        }
    }
}
