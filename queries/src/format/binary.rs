//! Answers for programs: Parquet, and Arrow's stream.

use super::{Column, columns, plain, value};
use crate::{Answer, SqlError};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use futures::stream::{self, Stream};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows are written out in groups of this many.
const GROUP_ROWS: usize = 64 << 10;

/// A writer of whole batches.
pub(super) trait BatchWriter: Send + Sized {
    fn begin(schema: &SchemaRef, out: Written) -> Result<Self, SqlError>;
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), SqlError>;
    fn end(self, truncated: bool) -> Result<(), SqlError>;
}

/// What was written and not sent yet.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parquet; the metadata `flowstate.truncated` says whether rows were left out.
pub(super) struct Parquet(ArrowWriter<Written>);

impl BatchWriter for Parquet {
    fn begin(schema: &SchemaRef, out: Written) -> Result<Self, SqlError> {
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        Ok(Self(ArrowWriter::try_new(out, Arc::clone(schema), Some(properties)).map_err(failed)?))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        self.0.write(batch).map_err(failed)
    }

    fn end(mut self, truncated: bool) -> Result<(), SqlError> {
        let mark = KeyValue::new("flowstate.truncated".to_owned(), truncated.to_string());
        self.0.append_key_value_metadata(mark);
        self.0.close().map_err(failed).map(drop)
    }
}

/// Arrow's stream of record batches (IPC). It has no place to say that rows were left out.
pub(super) struct Arrow(StreamWriter<Written>);

impl BatchWriter for Arrow {
    fn begin(schema: &SchemaRef, out: Written) -> Result<Self, SqlError> {
        Ok(Self(StreamWriter::try_new(out, schema).map_err(failed)?))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        self.0.write(batch).map_err(failed)
    }

    fn end(mut self, _: bool) -> Result<(), SqlError> {
        self.0.finish().map_err(failed)
    }
}

struct State<W> {
    answer: Answer,
    columns: Vec<Column>,
    schema: SchemaRef,
    out: Written,
    writer: Option<W>,
    ended: bool,
}

/// The pieces of an answer, as `W` writes them.
pub(super) fn pieces<W: BatchWriter>(answer: Answer) -> impl Stream<Item = Result<Bytes, SqlError>> + Send {
    let columns = columns(answer.schema());
    let fields: Vec<Field> =
        columns.iter().map(|column| as_written(column).with_name(&column.name)).collect();
    let schema = Arc::new(Schema::new(fields));
    let state = State::<W> { answer, columns, schema, out: Written::default(), writer: None, ended: false };
    stream::unfold(state, |mut state| async move {
        let piece = state.piece().await.transpose()?;
        state.ended |= piece.is_err();
        Some((piece, state))
    })
}

impl<W: BatchWriter> State<W> {
    async fn piece(&mut self) -> Result<Option<Bytes>, SqlError> {
        while !self.ended {
            let batch = self.answer.next().await.transpose()?;
            let mut writer = match self.writer.take() {
                Some(writer) => writer,
                None => W::begin(&self.schema, self.out.clone())?,
            };
            match batch {
                Some(batch) => {
                    writer.batch(&self.written(&batch)?)?;
                    self.writer = Some(writer);
                }
                None => {
                    self.ended = true;
                    writer.end(self.answer.truncated())?;
                }
            }
            let written = self.out.take();
            if !written.is_empty() {
                return Ok(Some(written.into()));
            }
        }
        Ok(None)
    }

    /// A batch with the columns that are written.
    fn written(&self, batch: &RecordBatch) -> Result<RecordBatch, SqlError> {
        let values = plain(batch).into_iter().zip(&self.columns);
        let values =
            values.map(|(values, column)| if is_text(column) { as_json(column, &values) } else { values });
        RecordBatch::try_new(Arc::clone(&self.schema), values.collect()).map_err(failed::<ArrowError>)
    }
}

/// Values of any JSON type have no common type in these formats, so they are text.
fn is_text(column: &Column) -> bool {
    matches!(column.field.data_type(), DataType::Union(_, _))
}

fn as_written(column: &Column) -> Field {
    let field = column.field.clone();
    // Whatever the query's plan knew of it, rows may be without a value.
    let field = field.with_nullable(true);
    if is_text(column) { field.with_data_type(DataType::Utf8) } else { field }
}

fn as_json(column: &Column, values: &ArrayRef) -> ArrayRef {
    let text = |row| {
        let mut out = Vec::new();
        value::write_json(&column.field, values.as_ref(), row, &mut out);
        String::from_utf8(out).ok().filter(|text| text != "null")
    };
    Arc::new((0..values.len()).map(text).collect::<StringArray>())
}

fn failed<E: std::fmt::Display>(error: E) -> SqlError {
    SqlError::Failed { message: format!("the rows cannot be written in this format: {error}") }
}
