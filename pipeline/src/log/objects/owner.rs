//! The owner's side: what its node does with the objects of its partition.

use super::{Created, Header, Kind, Objects};
use crate::Micros;
use crate::log::wal::WalReader;
use crate::log::{Durability, LogError, Offset, blocking};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A put that takes longer counts as failed: its requests are refused, and it is made again.
const PUT_MAX: Duration = Duration::from_secs(10);

/// How often it is looked for objects that can go.
const TICK: Duration = Duration::from_secs(5);

/// How much of the WAL is read at once.
const WAL_BYTES: u64 = 16 << 20;

/// Headers that are read at once.
const READS_MAX: usize = 16;

/// Objects that are removed with one call.
const REMOVE_MAX: usize = 1_000;

/// Puts the groups of the WAL into the store, one at a time and in order.
///
/// The disk comes first: a group is durable in the WAL, then its object is created, and then its
/// requests are answered. So the WAL always holds what the objects hold and at most one group more:
///
/// - What was acknowledged is in both.
/// - A crash before the put leaves a group in the WAL alone. Nobody was promised it; the next start
///   puts it before it takes anything new, so that both agree again. Its requests, when they are
///   repeated, are duplicates.
/// - When an answer is lost, or the store is down, the group waits: no reader, no table and no index
///   sees it, and no other group is begun. It is put again, the same bytes under the same number,
///   until it stands, so that a put which arrives late changes nothing.
/// - When another object has the number, someone else has the partition. Nothing is acknowledged any
///   more. If it is a seal, the next start keeps nothing of the WAL that the objects do not hold, which
///   is the group that waited, and begins a new partition.
/// - When the machine is lost, the objects hold everything acknowledged that the tables do not.
pub(crate) struct Owner {
    objects: Objects,
    next: u64,
    kept: Arc<Kept>,
}

/// A group that is in the WAL and not in the store yet.
pub(crate) struct Unstored {
    pub(crate) first: Offset,
    pub(crate) end: Offset,
    pub(crate) last_received_at: Micros,
    pub(crate) payload: Bytes,
}

/// Why a group is not in the store.
#[derive(Debug)]
pub(crate) enum PutError {
    /// The store did not take it, or not in time. Put the same group again.
    Unavailable(String),
    /// The partition belongs to someone else now. Nothing may be acknowledged any more.
    Lost(String),
}

impl Owner {
    /// Takes up a partition's objects where the last process left them: with
    /// [`Durability::Object`] the WAL's records that the tables do not hold are stored when this
    /// returns; with [`Durability::Local`] there is no owner, and the objects there are, if any, are
    /// ended by one that says so, for the records to come are on this disk alone.
    ///
    /// The partition must not be sealed.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when objects and WAL do not belong together; [`LogError::Store`] when the
    /// store fails, or when the partition is sealed meanwhile.
    pub(crate) async fn begin(
        objects: Objects,
        durability: Durability,
        wal: &WalReader,
        committed: Offset,
    ) -> Result<(Option<Self>, Arc<Kept>), LogError> {
        let kept = Kept::new(objects.clone());
        let numbers: Vec<u64> = objects.list().await?.into_iter().map(|object| object.n).collect();
        let headers = futures::stream::iter(numbers).map(|n| {
            let objects = objects.clone();
            async move { objects.header(n).await }
        });
        let headers: Vec<_> = headers.buffered(READS_MAX).try_collect().await?;
        let mut last = None;
        for header in headers.into_iter().flatten() {
            kept.add(header.n, header.end_offset);
            last = Some(header);
        }
        let next = last.as_ref().map_or(0, |last| last.n + 1);
        let group = last.filter(|last| last.kind == Kind::Group);
        if let Some(group) = group.as_ref().filter(|group| group.end_offset > wal.end()) {
            return Err(LogError::Damaged(format!(
                "partition {}: the store holds its records below offset {} and the WAL ends at {}: it is not \
                 the newest; adopt the partition, then start again",
                objects.partition(),
                group.end_offset,
                wal.end()
            )));
        }
        let mut owner = Self { objects, next, kept: Arc::clone(&kept) };
        match (durability, group) {
            (Durability::Object, group) => {
                let from = group.map_or(committed, |group| group.end_offset.max(committed));
                owner.catch_up(wal, from).await?;
                Ok((Some(owner), kept))
            }
            (Durability::Local, Some(_)) => {
                owner.end(Kind::Local, wal.end()).await?;
                Ok((None, kept))
            }
            (Durability::Local, None) => Ok((None, kept)),
        }
    }

    async fn end(&self, kind: Kind, at: Offset) -> Result<(), LogError> {
        let end = Header::end(kind, self.objects.partition().clone(), self.next, at);
        match self.objects.create(&end, Bytes::new()).await? {
            Created::Stands => {
                self.kept.add(self.next, at);
                Ok(())
            }
            Created::Other(found) => {
                Err(LogError::store("the partition's objects cannot be ended", self.lost_to(&found)))
            }
        }
    }

    /// Stores a group. After [`PutError::Unavailable`] no other group may be put before this one.
    pub(crate) async fn put(&mut self, group: &Unstored) -> Result<(), PutError> {
        let header = Header {
            kind: Kind::Group,
            partition: self.objects.partition().clone(),
            n: self.next,
            first_offset: group.first,
            end_offset: group.end,
            last_received_at: group.last_received_at,
            payload_bytes: group.payload.len() as u64,
            payload_crc: crc32c::crc32c(&group.payload),
        };
        let begun = tokio::time::Instant::now();
        let failed = |reason: String| {
            metrics::counter!("flowstate_log_object_put_errors_total").increment(1);
            PutError::Unavailable(reason)
        };
        let created = match timeout(PUT_MAX, self.objects.create(&header, group.payload.clone())).await {
            Ok(created) => created.map_err(|error| failed(error.to_string()))?,
            Err(_) => {
                return Err(failed(format!("the store did not answer within {} s", PUT_MAX.as_secs())));
            }
        };
        if let Created::Other(found) = created {
            return Err(PutError::Lost(self.lost_to(&found)));
        }
        metrics::counter!("flowstate_log_object_puts_total").increment(1);
        metrics::histogram!("flowstate_log_object_put_seconds").record(begun.elapsed());
        self.kept.add(self.next, group.end);
        self.next += 1;
        Ok(())
    }

    /// Stores what the WAL holds from `from` on, up to its end.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when the WAL has no group that begins there; [`LogError::Store`] when
    /// the store fails or another process has the partition.
    async fn catch_up(&mut self, wal: &WalReader, from: Offset) -> Result<(), LogError> {
        let (mut next, end) = (from, wal.end());
        while next < end {
            let wal = wal.clone();
            let groups = blocking(move || wal.read_from(next, WAL_BYTES)).await?.unwrap_or_default();
            if groups.is_empty() {
                return Err(LogError::Damaged(format!("the WAL does not hold offset {next}")));
            }
            for group in groups {
                let group = Unstored {
                    first: group.first_offset,
                    end: group.end_offset,
                    last_received_at: group.last_received_at,
                    payload: group.payload,
                };
                let failed =
                    |reason: String| LogError::store("the WAL's last records cannot be stored", reason);
                self.put(&group).await.map_err(|error| match error {
                    PutError::Unavailable(reason) | PutError::Lost(reason) => failed(reason),
                })?;
                next = group.end;
            }
        }
        Ok(())
    }

    fn lost_to(&self, found: &[u8]) -> String {
        let partition = self.objects.partition();
        match self.objects.decode(self.next, found) {
            Ok(Header { kind: Kind::Sealed, .. }) => format!(
                "partition {partition} was adopted by another node; restart this one, and it begins a new partition"
            ),
            Ok(_) => format!(
                "another process writes to partition {partition}; make sure that no other node runs on a copy of \
                 this data directory, and restart"
            ),
            Err(error) => error.to_string(),
        }
    }
}

/// The objects that stand in the store, and which of them can go.
pub(crate) struct Kept {
    objects: Objects,
    /// By number, each with the offset behind its last record.
    list: Mutex<VecDeque<(u64, Offset)>>,
}

impl Kept {
    pub(crate) fn new(objects: Objects) -> Arc<Self> {
        Arc::new(Self { objects, list: Mutex::default() })
    }

    /// Notes an object that is in the store; they come by number.
    pub(crate) fn add(&self, n: u64, end: Offset) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push_back((n, end));
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Removes what can go, again and again, until it is stopped.
    pub(crate) async fn run(&self, committed: impl Fn() -> Offset, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            if let Err(error) = self.remove_below(committed()).await {
                tracing::warn!(%error, "objects that the tables hold could not be removed; they are tried again");
            }
        }
    }

    /// Removes the objects whose records all lie below `committed`, which the tables hold. The newest
    /// stays, as it says where the numbers and the offsets go on.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails; the next call tries again.
    pub(crate) async fn remove_below(&self, committed: Offset) -> Result<(), LogError> {
        loop {
            let numbers: Vec<u64> = {
                let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
                let old = list.iter().take(list.len().saturating_sub(1).min(REMOVE_MAX));
                old.take_while(|(_, end)| *end <= committed).map(|(n, _)| *n).collect()
            };
            let Some(&last) = numbers.last() else { break };
            self.objects.remove(&numbers).await?;
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            while list.pop_front_if(|(n, _)| *n <= last).is_some() {}
        }
        metrics::gauge!("flowstate_log_objects").set(self.len() as f64);
        Ok(())
    }
}
