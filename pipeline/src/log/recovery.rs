//! Opening the log: what the last process left becomes the state the next one goes on from.

use super::adopt;
use super::appender::Appender;
use super::claims::{self, Claims};
use super::committer::Committer;
use super::dedup::{Dedup, DedupConfig, IdHash};
use super::fresh::FreshRows;
use super::lease::Lease;
use super::maintenance::{Maintenance, TICK};
use super::objects::{Objects, Owner};
use super::published::{LOOKS_MAX, Others, Published, bounds, have_files_across};
use super::retention::{KeepingCell, Notices, Remover};
use super::rows::Rows;
use super::store::Store;
use super::table::{DataFile, Table, TableKind, TableSnapshot, WalCover};
use super::tail::Tail;
use super::wal::fs::{RealFs, WalFs};
use super::wal::{self, Recovered, Wal, WalConfig, WalReader};
use super::{Fresh, Log, LogConfig, LogError, Offset, PartitionId, Snapshot, blocking, priority, stored};
use crate::event::Record;
use crate::{Clock, Micros};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, watch};

/// The directory of the WAL, and that of the deduplication index, in the directory of the log.
const WAL: &str = "wal";
const DEDUP: &str = "dedup";
/// How the names of WAL directories begin whose partition was adopted.
const LEFT: &str = "wal.";

/// How much of the WAL is read at once.
const WAL_BYTES: u64 = 16 << 20;

/// What the id of an event of an adopted partition may take in memory.
const ADOPTED_ID_BYTES: u64 = 256;

pub(super) async fn open(config: LogConfig, clock: Clock) -> Result<Log, LogError> {
    let (wal, recovered) = open_wal(&config).await?;
    let store = Store::open(&config.store).await?;
    open_on(store, (wal, recovered), config, clock).await
}

/// Opens the log on a WAL and a store that are open.
pub(super) async fn open_on(
    store: Store,
    (wal, recovered): (Wal, Recovered),
    config: LogConfig,
    clock: Clock,
) -> Result<Log, LogError> {
    leave(&config.dir, &store, &recovered.partition, &clock).await?;
    let (wal, recovered) = if adopt::is_sealed(&Objects::of(&store, &recovered.partition)).await? {
        begin_anew(&config, wal, &recovered.partition, &store, &clock).await?
    } else {
        (wal, recovered)
    };
    let partition = recovered.partition.clone();

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
        DedupConfig::new(config.dir.join(DEDUP), config.dedup_window, config.dedup_memory_bytes_max);
    let end = recovered.end;
    let mut dedup = blocking(move || Dedup::open(dedup_config, end)).await?;
    let oldest = clock.now() - config.dedup_window.as_micros() as Micros;
    if dedup.covered() == 0 {
        let ids_max = config.dedup_memory_bytes_max as u64 / ADOPTED_ID_BYTES;
        ids_of_adopted(&mut dedup, &store, &snapshots, oldest, ids_max).await?;
    }
    let dedup = rebuild_dedup(dedup, &partition, &snapshots, &reader, end, oldest).await?;

    let objects = Objects::of(&store, &partition);
    let (owner, kept) = Owner::begin(objects, config.durability, &reader, committed).await?;
    let promotion = config.promotion;

    let tail = Arc::new(Tail::new(committed, recovered.end, 2 * config.commit_bytes));
    let published = Published::new(partition.clone(), tables.clone());
    published.refresh().await?;
    let (end, last_received_at) = (Arc::clone(&tail), recovered.last_received_at);
    let appender = Appender::start(wal, owner, dedup, end, clock.clone(), last_received_at)
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
    let lease = Lease::new(&store, "log", &partition.0, clock.clone());
    let keeping = KeepingCell::default();
    let maintenance = Maintenance {
        tick: TICK,
        lease,
        stopped: stopped.clone(),
        published: Some(Arc::clone(&published)),
        promotion,
        keeping: Arc::clone(&keeping),
        remover: Remover::new(tables.clone(), clock.clone()),
        notices: Some(Notices::new(&store, partition.clone(), clock.clone())),
        tables,
    };
    let watched = Arc::clone(&published);
    let committed = move || watched.pin().1[TableKind::Receipts.index()];
    let background = vec![
        background("log-committer", &published, move || committer.run(received))?,
        background("log-maintenance", &published, move || async move {
            tokio::join!(maintenance.run(), kept.run(committed, stopped));
        })?,
    ];
    Ok(Log {
        partition,
        appender,
        tail,
        wal: reader,
        published,
        keeping,
        store,
        clock,
        commands,
        background: Mutex::new(background),
        stop,
        claims: tokio::sync::Mutex::new(Claims::default()),
    })
}

pub(super) async fn open_wal(config: &LogConfig) -> Result<(Wal, Recovered), LogError> {
    let wal_config = WalConfig {
        dir: config.dir.join(WAL),
        segment_bytes: config.segment_bytes,
        bytes_max: config.wal_bytes_max,
    };
    let opened = blocking(move || Wal::open(RealFs, wal_config)).await?;
    if let Some(torn) = &opened.1.torn {
        tracing::warn!(
            ?torn,
            "an unfinished write at the end of the WAL was cut; it had not been acknowledged"
        );
    }
    Ok(opened)
}

/// Leaves a partition that was adopted, and begins a new one in a new WAL directory.
///
/// All that was acknowledged is in the objects or the tables, so nothing of the old directory is
/// kept. The adoption is finished first, if nobody has. Deliveries of the old partition are this node's as
/// before, unless another has claimed them: its own cursors know best.
async fn begin_anew(
    config: &LogConfig,
    old: Wal,
    partition: &PartitionId,
    store: &Store,
    clock: &Clock,
) -> Result<(Wal, Recovered), LogError> {
    adopt::finish(store, partition, clock.clone()).await?;
    adopt::commit_rest(store, partition, &old.reader(), clock).await?;
    let (dir, dedup) = (config.dir.join(WAL), config.dir.join(DEDUP));
    let left = config.dir.join(format!("{LEFT}{partition}"));
    let (parent, leaving) = (config.dir.clone(), left.clone());
    let failed = |error| LogError::store("the WAL of an adopted partition cannot be left", error);
    blocking(move || {
        let fs = RealFs;
        // The index is of the old partition's offsets. Without it, it is made anew.
        remove_dir(&dedup).map_err(failed)?;
        fs.rename(&dir, &leaving).and_then(|()| fs.fsync_dir(&parent)).map_err(failed)
    })
    .await?;
    let opened = open_wal(config).await?;
    // The old directory's lock was held until the new one's was taken.
    drop(old);
    leave(&config.dir, store, &opened.1.partition, clock).await?;
    tracing::warn!(old = %partition, new = %opened.1.partition, "the partition was adopted; a new one begins");
    Ok(opened)
}

/// Claims the partitions that were left, in this start or in one that was broken off, and removes their WAL
/// directories.
async fn leave(dir: &Path, store: &Store, node: &PartitionId, clock: &Clock) -> Result<(), LogError> {
    let failed = |error| LogError::store("the WAL of an adopted partition cannot be removed", error);
    let listed = dir.to_owned();
    let names = blocking(move || RealFs.list(&listed).map_err(failed)).await?;
    for name in names {
        let Some(partition) = name.strip_prefix(LEFT) else { continue };
        claims::claim_on(store, &PartitionId(partition.into()), node, clock).await?;
        let left = dir.join(&name);
        blocking(move || remove_dir(&left).map_err(failed)).await?;
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A log that nobody writes to: the committed rows, and those of the WAL when its directory is on
/// this machine and no process holds it.
///
/// # Errors
/// [`LogError::Damaged`] when something durable is missing; [`LogError::Store`] when disk or store
/// fail.
pub async fn read_only(config: &LogConfig) -> Result<Snapshot, LogError> {
    let dir = config.dir.join(WAL);
    let held = blocking(move || wal::read_only(RealFs, &dir)).await?;
    let (partition, end, wal) = match held {
        Some(held) => (held.partition, held.end, Some(held.reader)),
        None => (PartitionId("".into()), 0, None),
    };
    let store = Store::open_read_only(&config.store)?;
    let mut looks = 1;
    let (snapshots, whole) = loop {
        let snapshots = snapshots_of(&store, config).await?;
        // They were read first, so all tables hold what they do.
        let whole = snapshots[TableKind::Receipts.index()].committed.clone();
        if looks == LOOKS_MAX || !have_files_across(&snapshots, &partition, &whole) {
            break (snapshots, whole);
        }
        looks += 1;
    };
    let bounds = bounds(&snapshots, &partition);
    let snapshots = Others::new(snapshots.clone(), whole).beside(snapshots, &partition);
    let fresh: Arc<dyn Fresh> = Arc::new(FreshRows { partition, bounds, end, groups: None, wal, _pin: None });
    Ok(Snapshot::new(snapshots, &fresh))
}

/// The tables, in the order of [`TableKind::ALL`].
async fn snapshots_of(store: &Store, config: &LogConfig) -> Result<Vec<Arc<TableSnapshot>>, LogError> {
    let mut snapshots = Vec::new();
    // Receipts first: they are committed last, so what they hold the others hold by then.
    for kind in TableKind::ALL.into_iter().rev() {
        let missing = || {
            let what = format!("table `{}` cannot be read", kind.name());
            LogError::store(what, format!("there is none below `{}`", config.store.url))
        };
        snapshots.push(Arc::new(Table::read(store, kind).await?.ok_or_else(missing)?));
    }
    snapshots.reverse();
    Ok(snapshots)
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

/// Gives an index that is new the ids of partitions that were adopted, the newest `ids_max`: clients
/// of the node that was lost repeat what it had not answered, and it may have been kept.
///
/// They stand at offset 0, which no event of this partition has.
async fn ids_of_adopted(
    dedup: &mut Dedup,
    store: &Store,
    snapshots: &[Arc<TableSnapshot>],
    oldest: Micros,
    ids_max: u64,
) -> Result<(), LogError> {
    let adopted = adopt::sealed(store).await?;
    let events = &snapshots[TableKind::Events.index()];
    let mut files: Vec<_> = files_since(events, oldest).filter(|f| adopted.contains(&f.partition)).collect();
    files.sort_by_key(|file| std::cmp::Reverse((file.received_date, file.offsets.0)));
    let mut ids = 0;
    for file in files {
        ids += file.rows;
        if ids > ids_max {
            tracing::warn!(
                ids_max,
                "not all ids of adopted partitions fit into memory; the newest are known"
            );
            break;
        }
        let mut insert = |source: &str, id: &str, _: Offset, received_at: Micros| {
            dedup.insert(IdHash::of(source, id), source, id, 0, received_at);
            Ok(())
        };
        stored::ids(events, file, 0, &mut insert).await?;
    }
    Ok(())
}

fn files_since(events: &TableSnapshot, oldest: Micros) -> impl Iterator<Item = &DataFile> {
    let recent = move |file: &&DataFile| i64::from(file.received_date + 1) * crate::clock::DAY >= oldest;
    events.files.iter().filter(recent)
}

/// Offers the index every id it has not kept itself: first from the tables, then from the WAL.
async fn rebuild_dedup(
    mut dedup: Dedup,
    partition: &PartitionId,
    snapshots: &[Arc<TableSnapshot>],
    wal: &WalReader,
    end: Offset,
    oldest: Micros,
) -> Result<Dedup, LogError> {
    let covered = dedup.covered();
    let events = &snapshots[TableKind::Events.index()];
    let own = |file: &&DataFile| file.partition == *partition && file.offsets.1 >= covered;
    let mut files: Vec<_> = files_since(events, oldest).filter(own).collect();
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
            priority::lower();
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
