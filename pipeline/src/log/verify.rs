//! Proves the log: reads all of it and says exactly what is damaged.

mod removed;
mod walk;

use super::objects::Objects;
use super::store::Store;
use super::table::{Table, TableKind, TableSnapshot};
use super::wal::{self, fs::RealFs};
use super::{LogConfig, LogError, Offset, PartitionId, blocking, groups_of_wal};
use crate::Micros;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use removed::Removed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use walk::{Row, Rowwise, Walk};

/// No more than this many faults are told for each check.
const FAULTS_MAX: usize = 20;

const WAL_BYTES: u64 = 16 << 20;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The checks in the order they were made.
    pub checks: Vec<Check>,
}

/// One thing that was checked.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// How much of it there was.
    pub detail: String,
    /// What is wrong: where it lies and what should be there. At most the first 20.
    pub faults: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.faults.is_empty())
    }

    fn add(&mut self, name: &str, detail: String, mut faults: Vec<String>) {
        faults.truncate(FAULTS_MAX);
        self.checks.push(Check { name: name.into(), detail, faults });
    }
}

/// Checks the WAL's groups and frames, every file that the tables name, that offsets are dense and
/// received in order, and that every receipt agrees with its outcomes. Rows that retention removed may
/// be missing: just as many as are listed, and just where.
///
/// Reads only. A server that runs on the directory keeps its WAL to itself; then only the tables
/// are checked and the report says so.
///
/// # Errors
/// [`LogError::Store`] when disk or store cannot be read at all. Damage is no error, it is told.
pub async fn verify(config: &LogConfig) -> Result<Report, LogError> {
    let mut report = Report::default();
    let wal = check_wal(config, &mut report).await?;
    let store = Store::open_read_only(&config.store)?;
    let mut tables = Vec::new();
    // Receipts first: they are committed last, so what they hold the others hold by then.
    for kind in TableKind::ALL.into_iter().rev() {
        match Table::read(&store, kind).await {
            Ok(Some(table)) => tables.push(Arc::new(table)),
            Ok(None) => {
                report.add(&format!("table {}", kind.name()), String::new(), vec!["it does not exist".into()])
            }
            Err(LogError::Damaged(fault)) => {
                report.add(&format!("table {}", kind.name()), String::new(), vec![fault])
            }
            Err(error) => return Err(error),
        }
    }
    if tables.len() < TableKind::ALL.len() {
        return Ok(report);
    }
    tables.reverse();
    for table in &tables {
        check_files(table, &store, &mut report).await?;
    }
    let of_files = tables.iter().flat_map(|table| table.files.iter().map(|file| &file.partition));
    let partitions: BTreeSet<&PartitionId> =
        tables.iter().flat_map(|table| table.committed.keys()).chain(of_files).collect();
    for partition in partitions {
        check_partition(&tables, partition, &mut report).await?;
    }
    check_objects(&tables, &store, &mut report).await?;
    if let Some((partition, first, end)) = wal {
        let bounds = super::published::bounds(&tables, &partition);
        let fault = super::recovery::check_joined(&partition, first, end, bounds).err();
        let detail = format!(
            "offsets {first} to {end} in the WAL, tables up to {}",
            bounds[TableKind::Receipts.index()]
        );
        report.add("WAL joins the tables", detail, fault.iter().map(ToString::to_string).collect());
    }
    Ok(report)
}

/// The partition, the first offset and the end of the WAL, when it can be read.
async fn check_wal(
    config: &LogConfig,
    report: &mut Report,
) -> Result<Option<(PartitionId, Offset, Offset)>, LogError> {
    let dir = config.dir.join("wal");
    let held = match blocking(move || wal::read_only(RealFs, &dir)).await {
        Ok(Some(held)) => held,
        Ok(None) => {
            report.add("WAL", "not checked: there is none, or a server holds it".into(), Vec::new());
            return Ok(None);
        }
        Err(LogError::Damaged(fault)) => {
            let dir = config.dir.join("wal");
            let found = blocking(move || wal::inspect(RealFs, &dir)).await;
            let damage = found.ok().flatten().map(|found| found.damage).unwrap_or_default();
            let faults = damage.iter().map(ToString::to_string).collect::<Vec<_>>();
            report.add("WAL", String::new(), if faults.is_empty() { vec![fault] } else { faults });
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let (partition, first, end) = (held.partition.clone(), held.first_offset, held.end);
    let (frames, faults) = blocking(move || Ok(check_frames(&held))).await?;
    report.add("WAL", format!("{frames} requests at offsets {first} to {end}"), faults);
    Ok(Some((partition, first, end)))
}

fn check_frames(held: &wal::Held) -> (u64, Vec<String>) {
    let (mut frames, mut next, mut received_at) = (0, held.first_offset, Micros::MIN);
    let mut faults = Vec::new();
    while next < held.end && faults.len() < FAULTS_MAX {
        let groups = match groups_of_wal(&held.reader, next, WAL_BYTES) {
            Ok(groups) => groups.unwrap_or_default(),
            Err(error) => {
                faults.push(error.to_string());
                break;
            }
        };
        for frame in groups.iter().flat_map(|group| group.frames()) {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    faults.push(error.to_string());
                    continue;
                }
            };
            frames += 1;
            if frame.offset != next {
                faults.push(format!("offset {next} is missing: the next request begins at {}", frame.offset));
            }
            if frame.received_at <= received_at {
                faults.push(format!("offset {}: received no later than the record before it", frame.offset));
            }
            let outcomes = frame.records + frame.duplicates.len() as u64;
            if frame.received != outcomes {
                faults.push(format!(
                    "offset {}: {} items received, {outcomes} accounted for",
                    frame.offset, frame.received
                ));
            }
            if let Some(error) = frame.records().find_map(Result::err) {
                faults.push(format!("offset {}: {error}", frame.offset));
            }
            next = frame.end();
            received_at = frame.received_at + frame.records as Micros;
        }
        match groups.last() {
            Some(last) => next = last.end,
            None => {
                faults.push(format!("offset {next} is missing from the WAL"));
                break;
            }
        }
    }
    (frames, faults)
}

/// Every file that the table names is there, byte for byte.
async fn check_files(table: &TableSnapshot, store: &Store, report: &mut Report) -> Result<(), LogError> {
    let (mut faults, mut missing) = (Vec::new(), Vec::new());
    for file in table.files.iter() {
        let location = Path::from(file.path.as_str());
        let found = match table.store.get(&location).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) if found.len() as u64 != file.bytes => {
                faults.push(format!("`{}` has {} bytes instead of {}", file.path, found.len(), file.bytes));
            }
            Ok(found) if file.crc32c().is_some_and(|crc32c| crc32c != crc32c::crc32c(&found)) => {
                faults.push(format!("`{}` has changed: its checksum does not match", file.path));
            }
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => missing.push(file.path.as_str()),
            Err(error) => return Err(LogError::store(format!("`{}` cannot be read", file.path), error)),
        }
    }
    if !missing.is_empty() {
        // A server may have compacted them meanwhile, and taken them away when they had aged.
        let now = Table::read(store, table.kind).await?;
        let active = |path: &str| now.iter().any(|now| now.files.iter().any(|file| file.path == path));
        faults.extend(missing.iter().filter(|path| active(path)).map(|path| format!("`{path}` is missing")));
    }
    let (files, rows) = (table.files.len(), table.files.iter().map(|file| file.rows).sum::<u64>());
    report.add(
        &format!("table {}", table.kind.name()),
        format!("version {}, {files} files, {rows} rows", table.version),
        faults,
    );
    Ok(())
}

/// The objects of each partition can be read, byte for byte, and go on where the tables end.
async fn check_objects(
    tables: &[Arc<TableSnapshot>],
    store: &Store,
    report: &mut Report,
) -> Result<(), LogError> {
    for partition in Objects::partitions(store).await? {
        let objects = Objects::of(store, &partition);
        let committed = super::published::bounds(tables, &partition)[TableKind::Receipts.index()];
        let (mut next, mut sealed, mut faults, mut count) = (committed, false, Vec::new(), 0_u64);
        for object in objects.list().await? {
            let (header, _) = match objects.read(object.n).await {
                Ok(Some(found)) => found,
                // A server may have removed it meanwhile: the tables hold its records.
                Ok(None) => continue,
                Err(LogError::Damaged(fault)) => {
                    faults.push(fault);
                    continue;
                }
                Err(error) => return Err(error),
            };
            count += 1;
            if header.first_offset > next {
                faults.push(format!("offsets {next} to {} are missing", header.first_offset - 1));
            }
            next = next.max(header.end_offset);
            sealed = header.kind.is_end();
        }
        let detail = match (sealed, next > committed) {
            (true, false) => format!("adopted, all of it in the tables up to offset {next}"),
            (true, true) => format!("sealed at offset {next}, tables up to {committed}: adopt it again"),
            (false, _) => format!("{count}, up to offset {next}; tables up to {committed}"),
        };
        report.add(&format!("objects of {partition}"), detail, faults);
    }
    Ok(())
}

/// Walks over all rows of a partition in offset order: none is missing but those that were removed and
/// are listed, none is there twice, each was received after the one before, and each receipt agrees with
/// the rows that follow it.
async fn check_partition(
    tables: &[Arc<TableSnapshot>],
    partition: &PartitionId,
    report: &mut Report,
) -> Result<(), LogError> {
    let mut streams: Vec<_> = tables.iter().map(|table| Rowwise::new(table, partition)).collect();
    let mut heads = BTreeMap::new();
    // Rows behind the last receipt are of a commit that was broken off between two tables. The WAL
    // holds them, and the next start completes it.
    let end = super::published::bounds(tables, partition)[TableKind::Receipts.index()];
    let mut walk = Walk::over(Removed::new(tables, partition));
    let mut unreadable = Vec::new();
    for (index, stream) in streams.iter_mut().enumerate() {
        advance(stream, index, &mut heads, &mut unreadable).await;
    }
    while let Some(((_, index), row)) = heads.pop_first() {
        if row.offset >= end {
            break;
        }
        walk.step(&row);
        advance(&mut streams[index], index, &mut heads, &mut unreadable).await;
    }
    walk.end(end);
    unreadable.append(&mut walk.faults);
    let detail = format!(
        "{} records: {} received = {} accepted + {} duplicate + {} rejected{}",
        walk.records,
        walk.totals[0],
        walk.totals[1],
        walk.totals[2],
        walk.totals[3],
        walk.removed.detail()
    );
    report.add(&format!("partition {partition}"), detail, unreadable);
    Ok(())
}

async fn advance(
    stream: &mut Rowwise<'_>,
    index: usize,
    heads: &mut BTreeMap<(Offset, usize), Row>,
    unreadable: &mut Vec<String>,
) {
    match stream.next().await {
        Ok(Some(row)) => {
            heads.insert((row.offset, index), row);
        }
        Ok(None) => {}
        Err(error) => unreadable.push(error.to_string()),
    }
}
