//! The thread itself: gathers a group, writes and syncs it, and answers who waits.

use super::group_ids::GroupIds;
use super::puts::{PUT_AGAIN, Puts};
use super::{Answer, Message, Shared};
use crate::log::dedup::Dedup;
use crate::log::frame::{self, Batch};
use crate::log::objects::Unstored;
use crate::log::tail::{Group, Tail};
use crate::log::wal::{self, Wal, WalError};
use crate::log::{AppendError, Appended, LogError, Offset};
use crate::{Clock, Micros};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::time::Instant;

/// A group is closed at this size even when more is waiting.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// When nothing came for this long, the last group is confirmed (see [`Wal::confirm`]).
const IDLE: Duration = Duration::from_millis(200);

const RETRY_AFTER_FULL_S: u64 = 10;

pub(super) struct Thread {
    wal: Wal,
    pub(super) objects: Option<Puts>,
    /// The last group, while it is in the WAL alone, and when it was last put. Nothing comes after it.
    pub(super) unstored: Option<(Unstored, Instant)>,
    dedup: Dedup,
    tail: Arc<Tail>,
    clock: Clock,
    pub(super) shared: Arc<Shared>,
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

/// A request in the group being gathered.
pub(super) struct Pending {
    pub(super) appended: Appended,
    pub(super) answer: Answer,
}

impl Thread {
    /// A thread that goes on at the end of `tail`. With `objects`, every group is stored as an object, too.
    pub(super) fn new(
        wal: Wal,
        objects: Option<Puts>,
        dedup: Dedup,
        tail: Arc<Tail>,
        clock: Clock,
        shared: Arc<Shared>,
        last_received_at: Micros,
    ) -> Self {
        let next = tail.end();
        Self {
            wal,
            objects,
            unstored: None,
            dedup,
            tail,
            clock,
            shared,
            next,
            last_received_at,
            payload: Vec::new(),
            ids: GroupIds::default(),
            confirmed: true,
            durable: next,
            index_is_behind: false,
        }
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
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
    fn decide(&mut self, batch: &Batch, offset: Offset, received_at: Micros) -> Result<Vec<u32>, LogError> {
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
                .map_err(|_| LogError::Damaged("a message id is not UTF-8".into()))?;
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

    /// Shows everyone a group that is as durable as it has to be.
    pub(super) fn stored(&mut self, group: Unstored) {
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
    fn catch_up(&mut self) -> Result<(), LogError> {
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

    pub(super) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the log cannot be written any more: restart, after mending what is named");
        let _ = self.shared.failed.set(reason.to_owned());
    }
}

pub(super) fn answer_all(group: Vec<Pending>, error: impl Fn() -> AppendError) {
    metrics::counter!("flowstate_log_refused_appends_total").increment(group.len() as u64);
    for pending in group {
        let _ = pending.answer.send(Err(error()));
    }
}
