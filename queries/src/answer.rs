//! The answer to a query, batch by batch.

use crate::SqlError;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Batches that wait for a slow reader.
const WAITING_BATCHES: usize = 2;

/// The columns and the rows of an answer. The query is cancelled when it is dropped.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    parts: mpsc::Receiver<Part>,
    task: Task,
    clock: Deadline,
    truncated: bool,
    ended: bool,
}

/// What the query's task sends.
pub(crate) enum Part {
    Columns(SchemaRef),
    Rows(RecordBatch),
    End { truncated: bool },
    Error(SqlError),
}

/// How much an answer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLimits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// When a query ends at the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    seconds: u64,
}

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { at: Instant::now() + timeout, seconds: timeout.as_secs() }
    }

    /// The outcome of `work`, or the error that it took too long.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = T>) -> Result<T, SqlError> {
        timeout_at(self.at, work).await.map_err(|_| SqlError::TooLong { seconds: self.seconds })
    }
}

#[derive(Debug)]
struct Task(tokio::task::AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    /// Runs `work` on `runtime` and waits until its first rows are there, so that most errors come
    /// before the answer has begun.
    pub(crate) async fn start<W>(
        runtime: &tokio::runtime::Handle,
        clock: Deadline,
        work: impl FnOnce(mpsc::Sender<Part>) -> W,
    ) -> Result<Self, SqlError>
    where
        W: Future<Output = Result<(), SqlError>> + Send + 'static,
    {
        let (sender, mut parts) = mpsc::channel(WAITING_BATCHES);
        let errors = sender.clone();
        let work = work(sender);
        let task = runtime.spawn(async move {
            let outcome = clock.limit(work).await;
            if let Err(error) | Ok(Err(error)) = outcome {
                // When nobody reads any more, or reads too slowly, nobody is left to tell.
                let _ = clock.limit(errors.send(Part::Error(error))).await;
            }
        });
        let task = Task(task.abort_handle());
        match clock.limit(parts.recv()).await? {
            Some(Part::Columns(schema)) => {
                Ok(Self { schema, parts, task, clock, truncated: false, ended: false })
            }
            Some(Part::Error(error)) => Err(error),
            _ => Err(ended_early()),
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows; `None` behind the last.
    ///
    /// # Errors
    /// As [`crate::Engine::query`]; nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, SqlError>> {
        if self.ended {
            return None;
        }
        let part = self.clock.limit(self.parts.recv()).await;
        let error = match part {
            Ok(Some(Part::Rows(rows))) => return Some(Ok(rows)),
            Ok(Some(Part::End { truncated })) => {
                (self.ended, self.truncated) = (true, truncated);
                return None;
            }
            Ok(Some(Part::Error(error))) | Err(error) => error,
            Ok(Some(Part::Columns(_)) | None) => ended_early(),
        };
        self.ended = true;
        self.task.0.abort();
        Some(Err(error))
    }

    /// Whether rows were left out because the answer reached a limit. Known behind the last row.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// All rows, and whether any were left out.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn collect(mut self) -> Result<(Vec<RecordBatch>, bool), SqlError> {
        let mut all = Vec::new();
        while let Some(rows) = self.next().await {
            all.push(rows?);
        }
        Ok((all, self.truncated))
    }
}

fn ended_early() -> SqlError {
    SqlError::Failed { message: "it ended without an answer; the server's log says why".into() }
}

/// Sends the columns, then the rows up to the limits, then the end.
pub(crate) async fn send(
    mut rows: SendableRecordBatchStream,
    limits: AnswerLimits,
    parts: mpsc::Sender<Part>,
    explain: impl Fn(DataFusionError) -> SqlError,
) -> Result<(), SqlError> {
    let schema = rows.schema();
    let mut next = rows.next().await.transpose().map_err(&explain)?;
    if parts.send(Part::Columns(schema)).await.is_err() {
        return Ok(());
    }
    let (mut room, mut bytes, mut truncated) = (limits.rows, limits.bytes, false);
    while let Some(batch) = next {
        let fitting = fit(&batch, room, bytes);
        truncated = fitting < batch.num_rows();
        let batch = batch.slice(0, fitting);
        room -= fitting;
        bytes = bytes.saturating_sub(bytes_of(&batch));
        if fitting > 0 && parts.send(Part::Rows(batch)).await.is_err() {
            return Ok(());
        }
        if truncated {
            break;
        }
        next = rows.next().await.transpose().map_err(&explain)?;
    }
    // A reader that is gone does not wait for the end.
    let _ = parts.send(Part::End { truncated }).await;
    Ok(())
}

/// How many of the batch's rows fit; rows are taken to be of equal size.
fn fit(batch: &RecordBatch, room: usize, bytes: usize) -> usize {
    let rows = batch.num_rows().min(room);
    let size = bytes_of(batch).max(1);
    if size <= bytes { rows } else { rows.min(batch.num_rows().saturating_mul(bytes) / size) }
}

fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}
