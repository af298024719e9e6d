//! The one thread that owns the WAL and the deduplication index: group commit.
//!
//! It drains the queue, decides duplicates, writes one group, syncs it once, and then answers all
//! who wait. There is no artificial delay: while one group is synced, the next one gathers. With
//! [`super::Durability::Object`] the group is stored as an object before the answers; what happens
//! when it cannot be stands on [`Owner`].

mod group_ids;

use super::dedup::Dedup;
use super::frame::{self, Batch};
use super::objects::{Owner, PutError, Unstored};
use super::tail::{Group, Tail};
use super::wal::{self, Wal, WalError};
use super::{AppendError, Appended, Offset};
use crate::{Clock, Micros};
use group_ids::GroupIds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Requests that may wait for the disk.
const QUEUE_MAX: usize = 16_384;

/// Bytes that may wait for the disk.
const QUEUE_BYTES_MAX: u64 = 128 << 20;

/// A group is closed at this size even when more is waiting.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// When nothing came for this long, the last group is confirmed (see [`Wal::confirm`]).
const IDLE: Duration = Duration::from_millis(200);

/// How long after a put that failed the group is put again.
const PUT_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1_000 });

const RETRY_AFTER_S: u64 = 1;
const RETRY_AFTER_FULL_S: u64 = 10;
const RETRY_AFTER_STORE_S: u64 = 5;

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
        let next = tail.end();
        let thread = Thread {
            wal,
            objects,
            unstored: None,
            dedup,
            tail,
            clock,
            shared: Arc::clone(&shared),
            next,
            last_received_at,
            payload: Vec::new(),
            ids: GroupIds::default(),
            confirmed: true,
            durable: next,
            index_is_behind: false,
        };
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

struct Thread {
    wal: Wal,
    objects: Option<Puts>,
    /// The last group, while it is in the WAL alone, and when it was last put. Nothing comes after it.
    unstored: Option<(Unstored, Instant)>,
    dedup: Dedup,
    tail: Arc<Tail>,
    clock: Clock,
    shared: Arc<Shared>,
    next: Offset,
    last_received_at: Micros,
    payload: Vec<u8>,
    ids: GroupIds,
    /// Whether the last group is known to be durable by what follows it in the WAL.
    confirmed: bool,
    /// The first offset that is not durable.
    durable: Offset,
    /// Whether the index could not write what it holds; it takes no more until it can.
    index_is_behind: bool,
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

/// A request in the group being gathered.
struct Pending {
    appended: Appended,
    answer: Answer,
}

impl Thread {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let mut message = match self.receive(messages) {
                Some(message) => message,
                None => return,
            };
            let mut group = Vec::new();
            let mut stopping = None;
            loop {
                match message {
                    Message::Append(batch, answer) => {
                        // A large request gets a group of its own, so that it refuses no other.
                        if self.payload.len() + batch.bytes.len() > GROUP_BYTES_MAX {
                            self.write(std::mem::take(&mut group));
                        }
                        self.gather(batch, answer, &mut group);
                    }
                    Message::Release(offset) => self.release(offset),
                    Message::Stop(done) => stopping = Some(done),
                    Message::End(done) => {
                        self.write(group);
                        self.close();
                        let _ = done.send(());
                        return;
                    }
                }
                if self.payload.len() >= GROUP_BYTES_MAX || stopping.is_some() {
                    break;
                }
                match messages.try_recv() {
                    Ok(next) => message = next,
                    Err(_) => break,
                }
            }
            self.write(group);
            if let Some(done) = stopping {
                let _ = done.send(());
            }
        }
    }

    fn receive(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        while self.unstored.is_some() {
            match messages.recv_timeout(PUT_AGAIN) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.put_again(),
            }
        }
        if self.confirmed {
            return messages.recv().ok();
        }
        match messages.recv_timeout(IDLE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = self.wal.confirm() {
                    self.fail(&error.to_string());
                }
                self.confirmed = true;
                messages.recv().ok()
            }
        }
    }

    /// Decides what is new in `batch` and encodes it behind the frames gathered so far.
    fn gather(&mut self, batch: Batch, answer: Answer, group: &mut Vec<Pending>) {
        self.shared.queued_bytes.fetch_sub(batch.bytes.len() as u64, Relaxed);
        if let Some(reason) = self.shared.failed.get() {
            let _ = answer.send(Err(AppendError::Failed(reason.clone())));
            return;
        }
        self.put_again();
        if let Some(refused) = self.refusal() {
            let _ = answer.send(Err(refused));
            return;
        }
        if let Err(error) = self.catch_up() {
            let full =
                AppendError::StorageFull { reason: error.to_string(), retry_after_s: RETRY_AFTER_FULL_S };
            let _ = answer.send(Err(full));
            return;
        }
        let offset = self.next;
        let received_at = self.clock.now().max(self.last_received_at + 1);
        let duplicates = match self.decide(&batch, offset, received_at) {
            Ok(duplicates) => duplicates,
            Err(error) => {
                self.fail(&error.to_string());
                let _ = answer.send(Err(AppendError::Failed(error.to_string())));
                return;
            }
        };
        frame::encode(&batch, &duplicates, offset, received_at, &mut self.payload);
        let records = (batch.items.len() - duplicates.len()) as u64;
        self.next = offset + 1 + records;
        self.last_received_at = received_at + records as Micros;
        group.push(Pending { appended: Appended { offset, received_at, duplicates }, answer });
    }

    /// The indexes of the items that were stored before, or stand earlier in this group.
    fn decide(
        &mut self,
        batch: &Batch,
        offset: Offset,
        received_at: Micros,
    ) -> Result<Vec<u32>, super::LogError> {
        let source = &batch.origin.source;
        let (mut offset, mut received) = (offset, received_at);
        let mut duplicates = Vec::new();
        for (index, item) in batch.items.iter().enumerate() {
            let Some((range, hash)) = &item.id else {
                offset += 1;
                received += 1;
                continue;
            };
            let id = std::str::from_utf8(&batch.bytes[range.clone()])
                .map_err(|_| super::LogError::Damaged("a message id is not UTF-8".into()))?;
            let seen = self.ids.contains(*hash, source, id)
                || self.dedup.find(*hash, source, id, received_at)?.is_some();
            if seen {
                duplicates.push(index as u32);
                continue;
            }
            offset += 1;
            received += 1;
            self.ids.insert(*hash, source, id, offset, received);
        }
        Ok(duplicates)
    }

    /// Makes the gathered frames durable and answers everyone in the group.
    fn write(&mut self, group: Vec<Pending>) {
        let Some(first) = group.first().map(|pending| pending.appended.offset) else { return };
        let size = self.payload.len();
        let began = Instant::now();
        let written = self.wal.write(&wal::Group {
            first_offset: first,
            end_offset: self.next,
            last_received_at: self.last_received_at,
            payload: &self.payload,
        });
        metrics::histogram!("flowstate_log_fsync_seconds").record(began.elapsed());
        match written {
            Ok(()) => {
                self.confirmed = false;
                metrics::counter!("flowstate_log_fsyncs_total").increment(1);
                let payload = std::mem::take(&mut self.payload).into();
                let (end, last_received_at) = (self.next, self.last_received_at);
                self.store(Unstored { first, end, last_received_at, payload }, group);
            }
            Err(error @ (WalError::Full { .. } | WalError::TooLarge { .. })) => {
                // Nothing was written, so these offsets are free again.
                self.next = first;
                self.ids.clear();
                let reason = error.to_string();
                let full =
                    || AppendError::StorageFull { reason: reason.clone(), retry_after_s: RETRY_AFTER_FULL_S };
                answer_all(group, full);
            }
            Err(error) => {
                self.fail(&error.to_string());
                answer_all(group, || AppendError::Failed(error.to_string()));
            }
        }
        // The bytes of a group that was written live on in the tail; the next is likely as large.
        self.payload.clear();
        self.payload.reserve(size);
    }

    /// Stores what the WAL holds since a moment, where that is wanted, and answers everyone in the
    /// group.
    fn store(&mut self, unstored: Unstored, group: Vec<Pending>) {
        let put = self.objects.as_mut().map_or(Ok(()), |objects| objects.put(&unstored));
        match put {
            Ok(()) => {
                self.stored(unstored);
                for pending in group {
                    // A request whose client has gone needs no answer.
                    let _ = pending.answer.send(Ok(pending.appended));
                }
            }
            Err(PutError::Unavailable(reason)) => {
                tracing::warn!(
                    reason,
                    "the store does not take the log's records; appends are refused until it does"
                );
                self.wait_for_store(unstored, reason);
                answer_all(group, || self.refusal().unwrap_or(AppendError::ShuttingDown));
            }
            Err(PutError::Lost(reason)) => {
                self.fail(&reason);
                answer_all(group, || AppendError::Failed(reason.clone()));
            }
        }
    }

    /// Stores the group that waits, when it is time for another try.
    fn put_again(&mut self) {
        let due = |tried: &mut (Unstored, Instant)| tried.1.elapsed() >= PUT_AGAIN;
        let Some((unstored, _)) = self.unstored.take_if(due) else { return };
        match self.objects.as_mut().map_or(Ok(()), |objects| objects.put(&unstored)) {
            Ok(()) => {
                *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
                tracing::info!("the store takes the log's records again");
                self.stored(unstored);
            }
            Err(PutError::Unavailable(reason)) => self.wait_for_store(unstored, reason),
            Err(PutError::Lost(reason)) => self.fail(&reason),
        }
    }

    fn wait_for_store(&mut self, unstored: Unstored, reason: String) {
        *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.unstored = Some((unstored, Instant::now()));
    }

    /// Why nothing can be appended just now.
    fn refusal(&self) -> Option<AppendError> {
        if let Some(reason) = self.shared.failed.get() {
            return Some(AppendError::Failed(reason.clone()));
        }
        let reason = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(AppendError::StoreUnavailable { reason, retry_after_s: RETRY_AFTER_STORE_S })
    }

    /// Shows everyone a group that is as durable as it has to be.
    fn stored(&mut self, group: Unstored) {
        metrics::gauge!("flowstate_log_queue_bytes").set(self.shared.queued_bytes.load(Relaxed) as f64);
        metrics::gauge!("flowstate_log_end_offset").set(group.end as f64);
        self.wal.show();
        let Unstored { first, end, payload, .. } = group;
        self.tail.push(Group { first, end, payload, since: Instant::now() });
        self.durable = end;
        self.remember();
        self.note_wal_bytes();
    }

    /// Gives the index the ids that are durable now.
    fn remember(&mut self) {
        let dedup = &mut self.dedup;
        self.ids.drain(|hash, source, id, offset, received_at| {
            dedup.insert(hash, source, id, offset, received_at);
        });
        if let Err(error) = self.dedup.durable(self.durable) {
            tracing::warn!(%error, "the deduplication index cannot be written; appends wait for it");
            self.index_is_behind = true;
        }
    }

    /// Has the index write what it could not before: its memory is bounded.
    fn catch_up(&mut self) -> Result<(), super::LogError> {
        if self.index_is_behind {
            self.dedup.durable(self.durable)?;
            self.index_is_behind = false;
        }
        Ok(())
    }

    fn note_wal_bytes(&self) {
        let bytes = self.wal.bytes_used();
        self.shared.wal_bytes.store(bytes, Relaxed);
        metrics::gauge!("flowstate_log_wal_bytes").set(bytes as f64);
    }

    fn release(&mut self, offset: Offset) {
        if let Err(error) = self.wal.release(offset) {
            tracing::warn!(%error, "WAL segments could not be released");
        }
        metrics::gauge!("flowstate_log_dedup_memory_bytes").set(self.dedup.stats().memory_bytes as f64);
        self.note_wal_bytes();
    }

    fn close(self) {
        if self.shared.failed.get().is_some() {
            return;
        }
        if let Err(error) = self.wal.close() {
            tracing::warn!(%error, "the last group could not be confirmed");
        }
        if let Err(error) = self.dedup.close() {
            tracing::warn!(%error, "the deduplication index could not be written, the next start rebuilds it");
        }
    }

    fn fail(&self, reason: &str) {
        tracing::error!(reason, "the log cannot be written any more: restart, after mending what is named");
        let _ = self.shared.failed.set(reason.to_owned());
    }
}

/// The way from the thread to the store.
struct Puts {
    owner: Owner,
    runtime: tokio::runtime::Runtime,
}

impl Puts {
    fn new(owner: Owner) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { owner, runtime })
    }

    fn put(&mut self, group: &Unstored) -> Result<(), PutError> {
        self.runtime.block_on(self.owner.put(group))
    }
}

fn answer_all(group: Vec<Pending>, error: impl Fn() -> AppendError) {
    metrics::counter!("flowstate_log_refused_appends_total").increment(group.len() as u64);
    for pending in group {
        let _ = pending.answer.send(Err(error()));
    }
}
