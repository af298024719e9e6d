//! Frames as rows of the tables.
//!
//! This runs for every event, so it parses `context` once and copies each text once.

mod columns;
mod context;

use super::frame::Frame;
use super::table::TableKind;
use super::{Offset, PartitionId, Stored};
use crate::clock::DAY;
use crate::event::{CodecError, Event, Record};
use arrow::array::{ArrayRef, Date32Array};
use arrow::record_batch::RecordBatch;
use columns::{Columns, EventColumns, PositionColumns, ReceiptColumns, RejectedColumns};
use std::sync::Arc;

/// A batch is cut when it has this many rows.
pub(crate) const ROWS_MAX: usize = 8_192;

/// A batch is cut when its texts take this many bytes; Arrow's offsets end at 2 GiB.
pub(crate) const BYTES_MAX: usize = 32 << 20;

/// Turns the frames of one partition into record batches, one list for each table.
///
/// Frames are pushed in offset order. A batch holds rows of one `received_date`, at most
/// [`ROWS_MAX`] of them, and has the table's schema.
pub(crate) struct Rows {
    partition: PartitionId,
    after: [Option<Offset>; 3],
    events: Table<EventColumns>,
    rejected: Table<RejectedColumns>,
    receipts: Table<ReceiptColumns>,
}

/// Rows by table; each list is in offset order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches([Vec<RecordBatch>; 3]);

impl Batches {
    /// The rows of one table.
    pub(crate) fn get(&self, kind: TableKind) -> &[RecordBatch] {
        &self.0[kind.index()]
    }
}

impl Rows {
    /// Rows of `partition`, without those at or below the offset given for their table, in the
    /// order of [`TableKind::ALL`]: what the table has already.
    pub(crate) fn after(partition: PartitionId, after: [Option<Offset>; 3]) -> Self {
        let [events, rejected, receipts] = TableKind::ALL;
        Self {
            partition,
            after,
            events: Table::new(events),
            rejected: Table::new(rejected),
            receipts: Table::new(receipts),
        }
    }

    /// Adds the rows of a frame.
    ///
    /// # Errors
    /// When a record cannot be decoded; rows before it were added.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) -> Result<(), CodecError> {
        let (mut accepted, mut rejected) = (0, 0);
        let [after_events, after_rejected, after_receipts] = self.after;
        let row = Row {
            partition: &self.partition.0,
            offset: frame.offset,
            received_at: frame.received_at,
            source: frame.source,
            test: frame.test,
        };
        for record in frame.records() {
            let (offset, received_at, record) = record?;
            let row = Row { offset, received_at, ..row };
            match record {
                Record::Event(event) => {
                    accepted += 1;
                    if after_events.is_none_or(|after| offset > after) {
                        self.events.add(&row, EventColumns::bytes(&event), |columns| {
                            columns.push(&event, received_at);
                        });
                    }
                }
                Record::Rejected(item) => {
                    rejected += 1;
                    if after_rejected.is_none_or(|after| offset > after) {
                        let bytes = item.body.as_ref().map_or(0, |body| body.len());
                        self.rejected.add(&row, bytes, |columns| columns.push(&item));
                    }
                }
            }
        }
        if after_receipts.is_none_or(|after| frame.offset > after) {
            let bytes = frame.duplicates.iter().map(|id| id.len()).sum();
            self.receipts.add(&row, bytes, |columns| columns.push(frame, accepted, rejected));
        }
        Ok(())
    }

    /// All rows that were pushed.
    pub(crate) fn finish(self) -> Batches {
        Batches([self.events.finish(), self.rejected.finish(), self.receipts.finish()])
    }
}

/// Events as rows of the `events` table, in their order: what conditions are evaluated on.
pub fn event_rows(events: &[Stored<Event<'_>>]) -> Vec<RecordBatch> {
    let mut table = Table::new(TableKind::Events);
    for event in events {
        let row = Row {
            partition: &event.partition.0,
            offset: event.offset,
            received_at: event.received_at,
            source: &event.source,
            test: event.test,
        };
        table.add(&row, EventColumns::bytes(&event.record), |columns: &mut EventColumns| {
            columns.push(&event.record, event.received_at);
        });
    }
    table.finish()
}

/// Where a record stands, as its columns say it.
#[derive(Clone, Copy)]
struct Row<'a> {
    partition: &'a str,
    offset: Offset,
    received_at: crate::Micros,
    source: &'a str,
    test: bool,
}

/// The rows of one table: finished batches and the one being filled.
struct Table<C> {
    kind: TableKind,
    position: PositionColumns,
    columns: C,
    date: i32,
    rows: usize,
    bytes: usize,
    batches: Vec<RecordBatch>,
}

impl<C: Columns> Table<C> {
    fn new(kind: TableKind) -> Self {
        let (position, columns) = (PositionColumns::default(), C::default());
        Self { kind, position, columns, date: 0, rows: 0, bytes: 0, batches: Vec::new() }
    }

    fn add(&mut self, row: &Row<'_>, bytes: usize, fill: impl FnOnce(&mut C)) {
        let date = received_date(row.received_at);
        if self.rows > 0 && (self.rows == ROWS_MAX || self.bytes + bytes > BYTES_MAX || self.date != date) {
            self.cut();
        }
        self.date = date;
        self.rows += 1;
        self.bytes += bytes;
        self.position.push(row);
        fill(&mut self.columns);
    }

    fn cut(&mut self) {
        let mut columns = self.position.finish();
        columns.extend(self.columns.finish());
        columns.push(Arc::new(Date32Array::from_value(self.date, self.rows)) as ArrayRef);
        let batch = RecordBatch::try_new(self.kind.schema(), columns)
            .expect("every column is filled once for each row, in the order of the schema");
        self.batches.push(batch);
        (self.rows, self.bytes) = (0, 0);
    }

    fn finish(mut self) -> Vec<RecordBatch> {
        if self.rows > 0 {
            self.cut();
        }
        self.batches
    }
}

/// The day, in UTC, as days since 1970-01-01.
pub(crate) fn received_date(received_at: crate::Micros) -> i32 {
    i32::try_from(received_at.div_euclid(DAY)).expect("microseconds in an i64 span 214 million days")
}

#[cfg(test)]
mod tests;
