//! Opening: what the last process left becomes what this one goes on from.

use super::fs::{Access, Lock, WalFs};
use super::layout::{BLOCK, SegmentHeader};
use super::scan::{self, Scan};
use super::segment::Index;
use super::spares::{self, Spares};
use super::{Recovered, Wal, WalConfig};
use crate::log::{LogError, PartitionId};
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Wal {
    /// Opens the WAL in its directory, or makes it, and cuts off a torn tail.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open; [`LogError::Damaged`] when something
    /// that was durable cannot be read; [`LogError::Store`] when the disk fails or is full, or the
    /// configuration is out of range.
    pub fn open(fs: impl WalFs, config: WalConfig) -> Result<(Self, Recovered), LogError> {
        let fs: Arc<dyn WalFs> = Arc::new(fs);
        let config = config.checked()?;
        let failed = |error| LogError::store(format!("opening the WAL in `{}`", config.dir.display()), error);
        fs.create_dir(&config.dir).map_err(failed)?;
        let lock = fs.try_lock(&config.dir.join("lock"), Access::Write).map_err(failed)?;
        let lock = lock.ok_or_else(|| LogError::InUse(config.dir.clone()))?;
        let mut scan = scan::scan(&*fs, &config.dir, Access::Write)?;
        if let Some(damage) = scan.damage.first() {
            return Err(LogError::Damaged(damage.to_string()));
        }
        let mut spares = Spares::new(Arc::clone(&fs), &config.dir, config.segment_bytes);
        spares.adopt(&scan.spares, &scan.unfinished).map_err(failed)?;
        let partition = found(&*fs, &config, &mut scan, &mut spares).map_err(failed)?;
        let recovered = recovered(partition, &scan);
        let mut wal = Self::begin(scan, spares, config.clone(), lock).map_err(failed)?;
        wal.confirm_durably().map_err(failed)?;
        // Neither what was renamed here nor by a process that was killed may come undone later.
        fs.fsync_dir(&config.dir).map_err(failed)?;
        Ok((wal, recovered))
    }

    fn begin(scan: Scan, spares: Spares, config: WalConfig, lock: Lock) -> io::Result<Self> {
        let last = scan.segments.last().ok_or_else(|| io::Error::other("there is no segment"))?;
        let (active, position) = (Arc::clone(&last.held.segment), last.held.position);
        spares::extend(&active)?;
        if let Some(group) = last.last_group {
            // A failed fsync leaves the group in the page cache, marked as clean: the process
            // before this one may have stopped for that. Written again, it does reach the disk.
            let mut bytes = Vec::new();
            active.read(group, &mut bytes)?;
            active.file.write_at(group, &bytes)?;
        }
        let next = scan.end;
        Ok(Self {
            spares,
            config,
            index: Arc::new(Index::of(scan)),
            active,
            position,
            next,
            buffer: Vec::new(),
            marked: false,
            hidden: None,
            failed: false,
            _lock: lock,
        })
    }
}

impl WalConfig {
    fn checked(mut self) -> Result<Self, LogError> {
        self.segment_bytes = self.segment_bytes.max(4 * BLOCK).next_multiple_of(BLOCK);
        let Self { segment_bytes, bytes_max, .. } = self;
        if bytes_max / 2 < segment_bytes {
            let why = format!("`bytes_max` is {bytes_max}: less than two segments of {segment_bytes} bytes");
            return Err(LogError::store("configuring the WAL", why));
        }
        Ok(self)
    }
}

/// The partition of the directory. In a new one the first segment is made, then the file
/// `partition`, and only then can there be groups.
fn found(
    fs: &dyn WalFs,
    config: &WalConfig,
    scan: &mut Scan,
    spares: &mut Spares,
) -> io::Result<PartitionId> {
    if let Some(partition) = &scan.partition {
        return Ok(partition.clone());
    }
    if scan.segments.is_empty() {
        let header = SegmentHeader {
            partition: PartitionId(format!("{:016x}", fs.random()).into()),
            number: 1,
            salt: fs.random(),
            bytes: config.segment_bytes,
            first_offset: 0,
            first_sequence: 0,
            last_received_at: 0,
        };
        scan.add(spares.make(header)?);
    }
    let partition = scan.segments[0].held.segment.header.partition.clone();
    // The segment may have its name from a process that was killed before it synced it.
    fs.fsync_dir(&config.dir)?;
    write_partition(fs, &config.dir, &partition)?;
    Ok(partition)
}

fn write_partition(fs: &dyn WalFs, dir: &Path, partition: &PartitionId) -> io::Result<()> {
    let path = dir.join("partition.new");
    let file = fs.create(&path)?;
    file.write_at(0, scan::partition_text(partition).as_bytes())?;
    file.fdatasync()?;
    fs.rename(&path, &dir.join(scan::PARTITION))
}

pub(super) fn recovered(partition: PartitionId, scan: &Scan) -> Recovered {
    let first = scan.segments.first();
    Recovered {
        partition,
        first_offset: first.map_or(scan.end.offset, |first| first.held.segment.header.first_offset),
        end: scan.end.offset,
        last_received_at: scan.end.last_received_at,
        torn: scan.torn,
    }
}
