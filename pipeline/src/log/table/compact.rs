//! Compaction: many small files become one, with every row in its place.
//!
//! The library's own can repeat every row when two run at once, and forgets transactions.

mod choose;
mod copy;

use super::append::blocking;
use super::commit::{Proposal, remove};
use super::encode::{Effort, Encoded, Encoder};
use super::promoted::{FileFacts, Promoted};
use super::replay::{self, State};
use super::{DataFile, Location, Table, TableKind};
use crate::Micros;
use crate::clock::{DAY, HOUR};
use crate::log::{LogError, Offset, PartitionId};
use bytes::Bytes;
use copy::Copier;
use deltalake_core::kernel::Action;
use deltalake_core::protocol::DeltaOperation;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashMap;
use std::sync::Arc;

/// A day counts as over this long after its end: its last rows have then been committed.
const GRACE: Micros = HOUR;

/// When files are compacted.
///
/// Within a day that still gets rows, a file is rewritten only together with at least as many bytes
/// of others, so that a row is rewritten a few times at most. A day that is over is compacted
/// wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// So many adjacent files of about one size become one.
    pub files_min: usize,
    /// No compaction reads more bytes than this; a file of half the size is left alone.
    pub bytes_max: u64,
    /// The row groups of a file with at least so many rows are copied as they are; smaller files are
    /// decoded, and become larger row groups.
    pub copied_rows_min: u64,
}

impl Default for CompactionPolicy {
    /// 16 files, 128 MB: under full load a row is rewritten once or twice before its day is over, and a day
    /// that still gets rows has about a hundred files at most.
    fn default() -> Self {
        Self { files_min: 16, bytes_max: 128_000_000, copied_rows_min: 16_384 }
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// How many files became one.
    pub files_in: usize,
    /// Their rows.
    pub rows: u64,
    /// The size of the new file.
    pub bytes: u64,
}

impl Table {
    /// Makes one file of a run of adjacent ones of one partition and day; `None` when there is
    /// nothing to do, or when another process was first. Call it until it says `None`.
    ///
    /// Rows keep their order; none is lost or repeated. The old files stay in the store until
    /// [`Table::clean`] takes them away, so running queries are not disturbed.
    ///
    /// With `whole`, only files that end below the partition's offset there are taken: what the other tables
    /// of a log hold, too. Otherwise a node could find a request's events in a file that it has to show for
    /// those before them, while the request's receipt is not committed yet.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when a file does not hold what its statistics say; [`LogError::Store`]
    /// when the store fails. The table is then as it was.
    pub async fn compact_once(
        &self,
        policy: CompactionPolicy,
        whole: Option<&HashMap<PartitionId, Offset>>,
    ) -> Result<Option<Compacted>, LogError> {
        let _one = self.maintenance.lock().await;
        let now = self.clock.now();
        let today = i32::try_from((now - GRACE).div_euclid(DAY)).unwrap_or(i32::MIN);
        let snapshot = self.snapshot();
        let is_whole = |file: &&DataFile| {
            whole.is_none_or(|whole| whole.get(&file.partition).is_some_and(|last| file.offsets.1 <= *last))
        };
        let files: Vec<DataFile> = snapshot.files.iter().filter(is_whole).cloned().collect();
        let Some(run) = choose::choose(&files, policy, today) else { return Ok(None) };
        self.rewrite(&files[run], &snapshot.promoted, policy, now).await
    }

    /// Rewrites one file of a day that is over and lacks promoted columns, or has some that are none
    /// any more; `None` when there is none. Call it now and then: it costs as much as a compaction.
    ///
    /// # Errors
    /// As [`Table::compact_once`].
    pub async fn backfill_once(&self, policy: CompactionPolicy) -> Result<Option<Compacted>, LogError> {
        let _one = self.maintenance.lock().await;
        let now = self.clock.now();
        let today = i32::try_from((now - GRACE).div_euclid(DAY)).unwrap_or(i32::MIN);
        let snapshot = self.snapshot();
        let lacks = |file: &&DataFile| {
            file.received_date < today
                && file.bytes <= policy.bytes_max
                && !snapshot.promoted.are_held(&file.promoted)
        };
        // The newest first: they are asked for most.
        let Some(file) = snapshot.files.iter().filter(lacks).max_by_key(|file| file.received_date) else {
            return Ok(None);
        };
        self.rewrite(std::slice::from_ref(file), &snapshot.promoted, policy, now).await
    }

    /// Replaces adjacent files by one, in one commit.
    async fn rewrite(
        &self,
        inputs: &[DataFile],
        promoted: &Arc<Promoted>,
        policy: CompactionPolicy,
        now: Micros,
    ) -> Result<Option<Compacted>, LogError> {
        let Some(output) = self.location.merge(inputs, promoted, policy.copied_rows_min).await? else {
            return Ok(None);
        };
        let compacted =
            Compacted { files_in: inputs.len(), rows: output.rows, bytes: output.bytes.len() as u64 };
        let (partition, date) = (&inputs[0].partition, inputs[0].received_date);
        let add = self.location.put(partition, date, output, false, now).await?;
        let path = Path::from(add.path.as_str());

        let mut actions: Vec<Action> =
            inputs.iter().map(|file| Action::Remove(remove(self.kind(), file, false, now))).collect();
        actions.push(Action::Add(add));
        let proposal = Proposal {
            operation: DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(policy.bytes_max).unwrap_or(i64::MAX),
            },
            actions,
            transaction: None,
        };
        let mut state = self.state.lock().await;
        if self.commit(&mut state, proposal, |state| are_active(state, inputs)).await? {
            return Ok(Some(compacted));
        }
        drop(state);
        tracing::info!(table = self.kind().name(), %path, "another writer was first; a compaction is dropped");
        if let Err(error) = self.location.objects.delete(&path).await {
            tracing::warn!(%path, %error, "a file that is no longer needed stays until the next cleaning");
        }
        Ok(None)
    }
}

impl Location {
    /// The rows of adjacent files as one file, checked against what their statistics say.
    ///
    /// Large files are copied unread, but for those whose promoted columns are not the table's.
    async fn merge(
        &self,
        inputs: &[DataFile],
        promoted: &Arc<Promoted>,
        copied_rows_min: u64,
    ) -> Result<Option<Encoded>, LogError> {
        let kind = self.kind;
        let bytes = usize::try_from(inputs.iter().map(|file| file.bytes).sum::<u64>()).unwrap_or(0);
        let mut output = Copier::new(kind, promoted, bytes).map_err(|error| failed(kind, error))?;
        let is_whole = |file: &DataFile| promoted.are_held(&file.promoted);
        let is_encoded = |file: &DataFile| file.rows < copied_rows_min || !is_whole(file);
        for files in inputs.chunk_by(|a, b| is_encoded(a) && is_encoded(b)) {
            let (piece, facts) = match files {
                [file] if is_whole(file) => (self.read(file).await?, FileFacts::clone(&file.promoted)),
                files => self.encode(files, promoted).await?,
            };
            let what = &files[0].path;
            let damaged = |error| LogError::Damaged(format!("`{}/{what}`: {error}", kind.name()));
            output =
                blocking(move || Ok(output.push(&piece, &facts).map(|()| output))).await?.map_err(damaged)?;
        }
        let finished = blocking(move || output.finish().map_err(|error| failed(kind, error))).await?;
        let Some(output) = finished else { return Ok(None) };
        let rows: u64 = inputs.iter().map(|file| file.rows).sum();
        let offsets = (inputs[0].offsets.0, inputs[inputs.len() - 1].offsets.1);
        if (output.rows, output.offsets) != (rows, offsets) {
            let (first, last) = (&inputs[0].path, &inputs[inputs.len() - 1].path);
            return Err(LogError::Damaged(format!(
                "the files `{first}` to `{last}` of `{}` hold {} rows with offsets {:?}; \
                 their statistics say {rows} rows with offsets {offsets:?}",
                kind.name(),
                output.rows,
                output.offsets,
            )));
        }
        Ok(Some(output))
    }

    /// The rows of small files, encoded anew as one file.
    async fn encode(
        &self,
        files: &[DataFile],
        promoted: &Arc<Promoted>,
    ) -> Result<(Bytes, FileFacts), LogError> {
        let (kind, promoted) = (self.kind, Arc::clone(promoted));
        let mut encoder = blocking(move || Encoder::new(kind, &promoted, Effort::Compact)).await?;
        for file in files {
            let (bytes, path) = (self.read(file).await?, file.path.clone());
            encoder = blocking(move || {
                add(&bytes, &mut encoder)
                    .map_err(|error| LogError::Damaged(format!("`{}/{path}`: {error}", kind.name())))?;
                Ok(encoder)
            })
            .await?;
        }
        let encoded = blocking(move || encoder.finish()).await?;
        let encoded = encoded.map(|encoded| (encoded.bytes.into(), encoded.facts));
        encoded.ok_or_else(|| failed(kind, "its files have no rows"))
    }

    /// The bytes of a file, as they were when it was written.
    async fn read(&self, file: &DataFile) -> Result<Bytes, LogError> {
        let path = Path::from(file.path.as_str());
        let read = async { self.objects.get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => replay::damage(self, &path, "it is missing"),
            error => LogError::store(format!("file `{}/{path}` cannot be read", self.kind.name()), error),
        })?;
        if file.crc32c().is_some_and(|crc32c| crc32c != crc32c::crc32c(&bytes)) {
            return Err(replay::damage(self, &path, "its checksum is another than its name tells"));
        }
        Ok(bytes)
    }
}

fn failed(kind: TableKind, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LogError {
    LogError::store(format!("files of `{}` cannot be compacted", kind.name()), error)
}

fn add(bytes: &Bytes, encoder: &mut Encoder) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?.with_batch_size(8_192).build()?;
    for batch in reader {
        encoder.push(&batch?)?;
    }
    Ok(())
}

fn are_active(state: &State, inputs: &[DataFile]) -> bool {
    let Some(first) = inputs.first() else { return false };
    let at = state
        .files
        .partition_point(|file| (&file.partition, file.offsets.0) < (&first.partition, first.offsets.0));
    let active = state.files[at..].iter().map(|file| &file.path);
    active.take(inputs.len()).eq(inputs.iter().map(|file| &file.path))
}
