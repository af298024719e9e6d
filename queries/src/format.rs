//! Answers as JSON, CSV, text, Parquet or Arrow, chunk by chunk.
//!
//! An error after the first chunk ends the stream with that error: what was sent is then no whole
//! document, which is how a reader can tell.

mod binary;
mod csv;
mod json;
mod table;
mod value;

use crate::{Answer, SqlError};
use arrow::array::ArrayRef;
use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::stream::{self, Stream};
pub use value::type_name;

/// A chunk ends after the row with which it reaches this size.
const CHUNK_BYTES: usize = 32 << 10;

/// `{"columns":[{"name","type"}],"rows":[{…}],"truncated":false}`.
///
/// Types are named by [`type_name`]. Times are ISO 8601 in UTC with microseconds, integers are
/// numbers, lists arrays, and floating-point numbers that JSON does not know are null. A column
/// whose name occurs before gets a number, as in `id_2`.
pub fn json(answer: Answer) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    chunks(answer, json::Json::default())
}

/// CSV with a header (RFC 4180): lines end with CR LF, NULL is nothing and empty text is `""`.
pub fn csv(answer: Answer) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    chunks(answer, csv::Csv::default())
}

/// Aligned text for terminals; NULL is `∅`, and text beyond `width_max` characters is cut with `…`.
///
/// Columns are as wide as their first rows need. Control characters are shown, not sent.
pub fn table(answer: Answer, width_max: usize) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    chunks(answer, table::Table::new(width_max))
}

/// Parquet, compressed with zstd. The metadata `flowstate.truncated` of the file says whether rows were
/// left out; values of any JSON type are JSON text.
pub fn parquet(answer: Answer) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    binary::pieces::<binary::Parquet>(answer)
}

/// Arrow's stream of record batches, as every Arrow library reads it.
pub fn arrow(answer: Answer) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    binary::pieces::<binary::Arrow>(answer)
}

/// One output format.
trait Writer: Send {
    /// Writes what stands before the rows; `first` are the first of them.
    fn begin(&mut self, columns: &[Column], first: Option<&[ArrayRef]>, out: &mut Vec<u8>);
    /// Writes a row.
    fn row(&mut self, columns: &[Column], values: &[ArrayRef], row: usize, out: &mut Vec<u8>);
    /// Writes what stands behind the rows.
    fn end(&mut self, truncated: bool, out: &mut Vec<u8>);
}

/// A column of an answer, its name unique.
struct Column {
    name: String,
    field: Field,
}

fn columns(schema: &SchemaRef) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for field in schema.fields() {
        let taken = |name: &str| columns.iter().any(|column| column.name == name);
        let mut names = (2..).map(|number| format!("{}_{number}", field.name()));
        let name = if taken(field.name()) { names.find(|name| !taken(name)) } else { None };
        let name = name.unwrap_or_else(|| field.name().clone());
        columns.push(Column { name, field: value::plain_field(field) });
    }
    columns
}

struct Chunks<W> {
    answer: Answer,
    writer: W,
    columns: Vec<Column>,
    /// The batch being written and its next row.
    batch: Option<(Vec<ArrayRef>, usize, usize)>,
    begun: bool,
    ended: bool,
}

fn chunks<W: Writer>(answer: Answer, writer: W) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    let columns = columns(answer.schema());
    let state = Chunks { answer, writer, columns, batch: None, begun: false, ended: false };
    stream::unfold(state, |mut state| async move {
        let chunk = state.chunk().await.transpose()?;
        state.ended |= chunk.is_err();
        Some((chunk, state))
    })
}

impl<W: Writer> Chunks<W> {
    /// Some rows; `None` behind the end. Each chunk is made without waiting, and is small.
    async fn chunk(&mut self) -> Result<Option<Bytes>, SqlError> {
        if self.ended {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        while out.is_empty() && !self.ended {
            if self.batch.is_none() {
                let batch = self.answer.next().await.transpose()?;
                self.batch = batch.map(|batch| (plain(&batch), 0, batch.num_rows()));
            }
            if !self.begun {
                let first = self.batch.as_ref().map(|(values, ..)| values.as_slice());
                self.writer.begin(&self.columns, first, &mut out);
                self.begun = true;
            }
            let Some((values, next, rows)) = &mut self.batch else {
                self.writer.end(self.answer.truncated(), &mut out);
                self.ended = true;
                break;
            };
            while *next < *rows && out.len() < CHUNK_BYTES {
                self.writer.row(&self.columns, values, *next, &mut out);
                *next += 1;
            }
            if next == rows {
                self.batch = None;
            }
        }
        Ok(Some(out.into()))
    }
}

fn plain(batch: &RecordBatch) -> Vec<ArrayRef> {
    batch.columns().iter().map(value::plain).collect()
}

#[cfg(test)]
mod tests;
