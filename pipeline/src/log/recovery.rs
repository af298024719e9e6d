//! Opening the log: what the last process left becomes the state the next one goes on from.

use super::appender::Appender;
use super::committer::Committer;
use super::dedup::{Dedup, DedupConfig, IdHash};
use super::fresh::FreshRows;
use super::lease::Lease;
use super::maintenance::Maintenance;
use super::published::{Published, bounds};
use super::rows::Rows;
use super::store::Store;
use super::table::{Table, TableKind, TableSnapshot, WalCover};
use super::tail::Tail;
use super::wal::{self, Wal, WalConfig, WalReader, fs::RealFs};
use super::{Fresh, Log, LogConfig, LogError, Offset, PartitionId, Snapshot, blocking, stored};
use crate::event::Record;
use crate::{Clock, Micros};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, watch};

/// How much of the WAL is read at once.
const WAL_BYTES: u64 = 16 << 20;

/// How far below the server's own threads commits and compactions run (`nice`).
const BACKGROUND_NICE: i32 = 10;

pub(super) async fn open(config: LogConfig, clock: Clock) -> Result<Log, LogError> {
    let wal_config = WalConfig {
        dir: config.dir.join("wal"),
        segment_bytes: config.segment_bytes,
        bytes_max: config.wal_bytes_max,
    };
    let (wal, recovered) = blocking(move || Wal::open(RealFs, wal_config)).await?;
    if let Some(torn) = &recovered.torn {
        tracing::warn!(
            ?torn,
            "an unfinished write at the end of the WAL was cut; it had not been acknowledged"
        );
    }
    let partition = recovered.partition.clone();

    let store = Store::open(&config.store).await?;
    let mut tables = Vec::new();
    let cover = WalCover { partition: partition.clone(), first: recovered.first_offset };
    for kind in TableKind::ALL {
        tables.push(Arc::new(Table::open_or_create(&store, kind, clock.clone(), Some(&cover)).await?));
    }
    for table in &tables[..TableKind::Receipts.index()] {
        let bound = tables[TableKind::Receipts.index()].committed(&partition).map_or(0, |last| last + 1);
        refill(table, &partition, &wal.reader(), recovered.first_offset, bound.min(recovered.end)).await?;
    }
    let snapshots: Vec<_> = tables.iter().map(|table| table.snapshot()).collect();
    let bounds = bounds(&snapshots, &partition);
    let committed = bounds[TableKind::Receipts.index()];
    check_joined(&partition, recovered.first_offset, recovered.end, bounds)?;

    let reader = wal.reader();
    let dedup_config =
        DedupConfig::new(config.dir.join("dedup"), config.dedup_window, config.dedup_memory_bytes_max);
    let dedup =
        rebuild_dedup(dedup_config, &partition, &snapshots, &reader, recovered.end, clock.now(), &config)
            .await?;

    let tail = Arc::new(Tail::new(committed, recovered.end, 2 * config.commit_bytes));
    let published = Published::new(partition.clone(), tables.clone());
    let appender = Appender::start(wal, dedup, Arc::clone(&tail), clock.clone(), recovered.last_received_at)
        .map_err(|error| LogError::store("the log's thread could not be started", error))?;
    let appender = Arc::new(appender);

    let (commands, received) = mpsc::channel(16);
    let (stop, stopped) = watch::channel(false);
    let committer = Committer {
        partition: partition.clone(),
        tables: tables.clone(),
        tail: Arc::clone(&tail),
        wal: reader.clone(),
        appender: Arc::clone(&appender),
        published: Arc::clone(&published),
        next: committed,
        released: 0,
        config,
    };
    let lease = Lease::new(&store, "log", &partition.0, clock);
    let maintenance = Maintenance { tables, lease, stopped, published: Some(Arc::clone(&published)) };
    let background = vec![
        background("log-committer", &published, move || committer.run(received))?,
        background("log-maintenance", &published, move || maintenance.run())?,
    ];
    Ok(Log {
        partition,
        appender,
        tail,
        wal: reader,
        published,
        commands,
        background: Mutex::new(background),
        stop,
    })
}

/// A log that nobody writes to: the committed rows, and those of the WAL when its directory is on
/// this machine and no process holds it.
///
/// # Errors
/// [`LogError::Damaged`] when something durable is missing; [`LogError::Store`] when disk or store
/// fail.
pub async fn read_only(config: &LogConfig) -> Result<Snapshot, LogError> {
    let dir = config.dir.join("wal");
    let held = blocking(move || wal::read_only(RealFs, &dir)).await?;
    let store = Store::open_read_only(&config.store)?;
    let mut snapshots = Vec::new();
    // Receipts first: they are committed last, so what they hold the others hold by then.
    for kind in TableKind::ALL.into_iter().rev() {
        let missing = || {
            let what = format!("table `{}` cannot be read", kind.name());
            LogError::store(what, format!("there is none below `{}`", config.store.url))
        };
        snapshots.push(Arc::new(Table::read(&store, kind).await?.ok_or_else(missing)?));
    }
    snapshots.reverse();
    let (partition, end, wal) = match held {
        Some(held) => (held.partition, held.end, Some(held.reader)),
        None => (PartitionId("".into()), 0, None),
    };
    let bounds = bounds(&snapshots, &partition);
    let own = partition.clone();
    let fresh: Arc<dyn Fresh> = Arc::new(FreshRows { partition, bounds, end, groups: None, wal, _pin: None });
    Ok(Snapshot::new(snapshots, &own, &fresh))
}

/// Appends to one table all rows of the WAL below `end` that it does not hold.
///
/// Receipts are committed last, so below their cursor the other tables hold everything: unless a
/// damaged commit was set aside here, in this start or in one that did not get this far.
async fn refill(
    table: &Table,
    partition: &PartitionId,
    wal: &WalReader,
    first: Offset,
    end: Offset,
) -> Result<(), LogError> {
    let kind = table.kind();
    let mut next = table.committed(partition).map_or(first, |last| first.max(last + 1));
    while next < end {
        let wal = wal.clone();
        let groups = blocking(move || super::groups_of_wal(&wal, next, WAL_BYTES)).await?.unwrap_or_default();
        let Some(last) = groups.last() else {
            return Err(LogError::Damaged(format!("the WAL does not hold offset {next}")));
        };
        next = last.end;
        // Nothing of the other tables: no offset lies behind the last one.
        let after = TableKind::ALL
            .map(|other| if other == kind { table.committed(partition) } else { Some(Offset::MAX) });
        let rows = Rows::after(partition.clone(), after);
        let batches = blocking(move || super::committer::build(rows, &groups)).await?;
        table.append(partition, batches.get(kind).to_vec(), next - 1).await?;
    }
    Ok(())
}

/// The WAL must begin no later than where the tables end, and end no earlier.
pub(super) fn check_joined(
    partition: &PartitionId,
    first: Offset,
    end: Offset,
    bounds: [Offset; 3],
) -> Result<(), LogError> {
    let committed = bounds[TableKind::Receipts.index()];
    if first > committed {
        return Err(LogError::Damaged(format!(
            "partition {partition}: the tables end before offset {committed} and the WAL begins at {first}; \
             the records between are missing"
        )));
    }
    let last = bounds.into_iter().max().unwrap_or(committed);
    if end < last {
        return Err(LogError::Damaged(format!(
            "partition {partition}: the tables hold offsets below {last} and the WAL ends at {end}; \
             it is not the WAL that these tables were written from"
        )));
    }
    Ok(())
}

/// Offers the index every id it has not kept itself: first from the tables, then from the WAL.
async fn rebuild_dedup(
    dedup_config: DedupConfig,
    partition: &PartitionId,
    snapshots: &[Arc<TableSnapshot>],
    wal: &WalReader,
    end: Offset,
    now: Micros,
    config: &LogConfig,
) -> Result<Dedup, LogError> {
    let mut dedup = blocking(move || Dedup::open(dedup_config, end)).await?;
    let covered = dedup.covered();
    let oldest = now - config.dedup_window.as_micros() as Micros;
    let events = &snapshots[TableKind::Events.index()];
    let mut files: Vec<_> = events
        .files
        .iter()
        .filter(|file| file.partition == *partition && file.offsets.1 >= covered)
        .filter(|file| i64::from(file.received_date + 1) * crate::clock::DAY >= oldest)
        .collect();
    files.sort_by_key(|file| file.offsets.0);
    for file in files {
        let mut insert = |source: &str, id: &str, offset: Offset, received_at: Micros| {
            dedup.insert(IdHash::of(source, id), source, id, offset, received_at);
            dedup.durable(offset + 1)
        };
        stored::ids(events, file, covered, &mut insert).await?;
        dedup.durable(file.offsets.1 + 1)?;
    }
    let committed = super::published::bounds(snapshots, partition)[TableKind::Events.index()];
    let (wal, start) = (wal.clone(), covered.max(committed));
    blocking(move || {
        ids_of_wal(&wal, start, end, &mut dedup)?;
        Ok(dedup)
    })
    .await
}

fn ids_of_wal(wal: &WalReader, start: Offset, end: Offset, dedup: &mut Dedup) -> Result<(), LogError> {
    let mut next = start;
    while next < end {
        let groups = super::groups_of_wal(wal, next, WAL_BYTES)?.unwrap_or_default();
        for group in &groups {
            for frame in group.frames() {
                let frame = frame?;
                for record in frame.records() {
                    let (offset, received_at, record) =
                        record.map_err(|error| LogError::Damaged(error.to_string()))?;
                    if let (Record::Event(event), true) = (record, offset >= start) {
                        let hash = IdHash::of(frame.source, &event.message_id);
                        dedup.insert(hash, frame.source, &event.message_id, offset, received_at);
                    }
                }
            }
        }
        let Some(last) = groups.last() else {
            return Err(LogError::Damaged(format!("the WAL does not hold offset {next}")));
        };
        next = last.end;
        dedup.durable(next)?;
    }
    Ok(())
}

/// Runs `work` on a thread of its own, on a runtime of its own, at a lower priority.
fn background<F: Future<Output = ()>>(
    name: &'static str,
    published: &Arc<Published>,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<()>, LogError> {
    let fail = |error| LogError::store("a background thread of the log could not be started", error);
    let watch = Watch { name, published: Arc::clone(published) };
    let thread = std::thread::Builder::new().name(name.into());
    thread
        .spawn(move || {
            let watch = watch;
            if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICE) {
                tracing::debug!(%error, "a background thread keeps its priority");
            }
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(work()),
                Err(error) => {
                    tracing::error!(%error, "a background runtime could not be made");
                    watch.published.set_ended(watch.name);
                }
            }
        })
        .map_err(fail)
}

/// Tells when its thread panics.
struct Watch {
    name: &'static str,
    published: Arc<Published>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.published.set_ended(self.name);
        }
    }
}
