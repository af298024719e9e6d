//! Records as rows of the `deliveries` table.

use crate::clock::DAY;
use crate::delivery::{Class, Record};
use crate::log::PartitionId;
use crate::log::rows::{BYTES_MAX, ROWS_MAX};
use crate::log::table::{TableKind, number_element};
use arrow::array::{
    ArrayRef, Date32Array, Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// Turns the records of one journal, pushed in order, into batches with the table's schema. A batch
/// holds rows of one day.
pub(super) struct Rows {
    journal: PartitionId,
    columns: Columns,
    date: i32,
    rows: usize,
    bytes: usize,
    /// The bytes of finished batches.
    finished: usize,
    batches: Vec<RecordBatch>,
}

impl Rows {
    pub(super) fn new(journal: PartitionId) -> Self {
        let (columns, batches) = (Columns::default(), Vec::new());
        Self { journal, columns, date: 0, rows: 0, bytes: 0, finished: 0, batches }
    }

    /// About how many bytes all rows take.
    pub(super) fn bytes(&self) -> usize {
        self.finished + self.bytes
    }

    pub(super) fn push(&mut self, sequence: u64, record: &Record) {
        let (date, bytes) = (day(record), bytes(record));
        if self.rows > 0 && (self.rows == ROWS_MAX || self.bytes + bytes > BYTES_MAX || self.date != date) {
            self.cut();
        }
        self.date = date;
        self.rows += 1;
        self.bytes += bytes;
        self.columns.push(&self.journal, sequence, record);
    }

    /// All rows that were pushed.
    pub(super) fn finish(mut self) -> Vec<RecordBatch> {
        if self.rows > 0 {
            self.cut();
        }
        self.batches
    }

    fn cut(&mut self) {
        let mut columns = std::mem::take(&mut self.columns).finish();
        columns.push(Arc::new(Date32Array::from_value(self.date, self.rows)));
        let batch = RecordBatch::try_new(TableKind::Deliveries.schema(), columns)
            .expect("every column is filled once for each row, in the order of the schema");
        self.batches.push(batch);
        self.finished += self.bytes;
        (self.rows, self.bytes) = (0, 0);
    }
}

/// The columns while they are filled, named as in the table.
struct Columns {
    journal: StringBuilder,
    journal_sequence: Int64Builder,
    at: TimestampMicrosecondBuilder,
    destination: StringBuilder,
    replay: StringBuilder,
    log_partition: StringBuilder,
    first_offset: Int64Builder,
    last_offset: Int64Builder,
    offsets: ListBuilder<Int64Builder>,
    events: Int64Builder,
    outcome: StringBuilder,
    trigger: StringBuilder,
    attempt: Int64Builder,
    next_at: TimestampMicrosecondBuilder,
    class: StringBuilder,
    status: Int64Builder,
    vendor_code: StringBuilder,
    reason: StringBuilder,
    latency_us: Int64Builder,
    request: Int64Builder,
    sent: StringBuilder,
    answered: StringBuilder,
    version: Int64Builder,
}

impl Default for Columns {
    fn default() -> Self {
        let time = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
        Self {
            journal: StringBuilder::new(),
            journal_sequence: Int64Builder::new(),
            at: time(),
            destination: StringBuilder::new(),
            replay: StringBuilder::new(),
            log_partition: StringBuilder::new(),
            first_offset: Int64Builder::new(),
            last_offset: Int64Builder::new(),
            offsets: ListBuilder::new(Int64Builder::new()).with_field(number_element()),
            events: Int64Builder::new(),
            outcome: StringBuilder::new(),
            trigger: StringBuilder::new(),
            attempt: Int64Builder::new(),
            next_at: time(),
            class: StringBuilder::new(),
            status: Int64Builder::new(),
            vendor_code: StringBuilder::new(),
            reason: StringBuilder::new(),
            latency_us: Int64Builder::new(),
            request: Int64Builder::new(),
            sent: StringBuilder::new(),
            answered: StringBuilder::new(),
            version: Int64Builder::new(),
        }
    }
}

impl Columns {
    fn push(&mut self, journal: &PartitionId, sequence: u64, record: &Record) {
        let lane = &record.lane;
        self.journal.append_value(&journal.0);
        self.journal_sequence.append_value(int(sequence));
        self.at.append_value(record.at);
        self.destination.append_value(&lane.destination);
        self.replay.append_option(lane.replay.as_deref());
        self.log_partition.append_value(&lane.partition.0);
        self.first_offset.append_option(record.offsets.first().copied().map(int));
        self.last_offset.append_option(record.offsets.last().copied().map(int));
        self.offsets.append_value(record.offsets.iter().map(|offset| Some(int(*offset))));
        self.events.append_value(int(record.offsets.len() as u64));
        self.outcome.append_value(record.outcome.as_str());
        self.trigger.append_value(record.trigger.as_str());
        self.attempt.append_value(record.attempt.into());
        self.next_at.append_option(record.next_at);
        self.class.append_option(record.class.map(Class::as_str));
        self.status.append_option(record.status.map(i64::from));
        self.vendor_code.append_option(record.vendor_code.as_deref());
        self.reason.append_option(record.reason.as_deref());
        self.latency_us.append_option(record.latency_us.map(int));
        self.request.append_option(record.request.map(int));
        self.sent.append_option(record.sent.as_deref());
        self.answered.append_option(record.answered.as_deref());
        self.version.append_value(int(record.version));
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.journal.finish()),
            Arc::new(self.journal_sequence.finish()),
            Arc::new(self.at.finish()),
            Arc::new(self.destination.finish()),
            Arc::new(self.replay.finish()),
            Arc::new(self.log_partition.finish()),
            Arc::new(self.first_offset.finish()),
            Arc::new(self.last_offset.finish()),
            Arc::new(self.offsets.finish()),
            Arc::new(self.events.finish()),
            Arc::new(self.outcome.finish()),
            Arc::new(self.trigger.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.next_at.finish()),
            Arc::new(self.class.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.vendor_code.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.latency_us.finish()),
            Arc::new(self.request.finish()),
            Arc::new(self.sent.finish()),
            Arc::new(self.answered.finish()),
            Arc::new(self.version.finish()),
        ]
    }
}

/// About how many bytes a row takes.
fn bytes(record: &Record) -> usize {
    let texts = [&record.vendor_code, &record.reason, &record.sent, &record.answered];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    texts + 8 * record.offsets.len() + 256
}

/// The day of a record. One outside of the years that Delta can write is put on the nearest day of
/// them: a clock that is wrong must not stop the table.
fn day(record: &Record) -> i32 {
    let days = record.at.div_euclid(DAY).clamp(FIRST_DAY, LAST_DAY);
    i32::try_from(days).expect("the days of four-digit years are few")
}

/// 0001-01-01 and 9999-12-31, as days since 1970-01-01.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// SQL has no unsigned 64-bit numbers; ours never come near the limit.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
