//! A walk over all rows of a partition, in offset order across its tables.

use super::FAULTS_MAX;
use super::removed::Removed;
use crate::Micros;
use crate::log::stored::Rows;
use crate::log::table::{DataFile, TableKind, TableSnapshot};
use crate::log::{LogError, Offset, PartitionId};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The rows of one table and partition in the order of their files, a batch at a time.
pub(super) struct Rowwise<'a> {
    table: &'a Arc<TableSnapshot>,
    files: VecDeque<&'a DataFile>,
    open: Option<Rows>,
    batch: Option<(RecordBatch, usize)>,
}

/// What the walk over all rows needs of one.
pub(super) struct Row {
    pub(super) kind: TableKind,
    pub(super) offset: Offset,
    pub(super) received_at: Micros,
    /// Received, accepted, duplicate, rejected, and named duplicates; receipts only.
    receipt: Option<[i64; 5]>,
}

impl<'a> Rowwise<'a> {
    pub(super) fn new(table: &'a Arc<TableSnapshot>, partition: &PartitionId) -> Self {
        let mut files: Vec<_> = table.files.iter().filter(|file| file.partition == *partition).collect();
        files.sort_by_key(|file| file.offsets);
        Self { table, files: files.into(), open: None, batch: None }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Row>, LogError> {
        loop {
            if let Some((batch, at)) = &mut self.batch {
                if *at < batch.num_rows() {
                    let row = row(self.table.kind, batch, *at);
                    *at += 1;
                    return row.map(Some).ok_or_else(|| {
                        LogError::Damaged(format!("table {} lacks a column", self.table.kind.name()))
                    });
                }
                self.batch = None;
            }
            if let Some(rows) = &mut self.open {
                match rows.next().await? {
                    Some(batch) => self.batch = Some((batch, 0)),
                    None => self.open = None,
                }
                continue;
            }
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            let columns: &[&str] = match self.table.kind {
                TableKind::Receipts => &[
                    "log_offset",
                    "received_at",
                    "received",
                    "accepted",
                    "duplicate",
                    "rejected",
                    "duplicates",
                ],
                _ => &["log_offset", "received_at"],
            };
            self.open = Some(Rows::open(self.table, file, columns, 0).await?);
        }
    }
}

fn row(kind: TableKind, batch: &RecordBatch, at: usize) -> Option<Row> {
    let integer = |name| Some(batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.value(at));
    let received_at =
        batch.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?.value(at);
    let receipt = match kind {
        TableKind::Receipts => {
            let duplicates = batch.column_by_name("duplicates")?.as_list_opt::<i32>()?;
            let named = if duplicates.is_null(at) { 0 } else { duplicates.value_length(at) };
            Some([
                integer("received")?,
                integer("accepted")?,
                integer("duplicate")?,
                integer("rejected")?,
                i64::from(named),
            ])
        }
        _ => None,
    };
    Some(Row { kind, offset: integer("log_offset")? as Offset, received_at, receipt })
}

#[derive(Default)]
pub(super) struct Walk {
    next: Offset,
    /// Rows that there were.
    pub(super) records: u64,
    /// What may be missing.
    pub(super) removed: Removed,
    received_at: Micros,
    pub(super) totals: [i64; 4],
    /// What the last receipt announced and what came since: events and rejected.
    announced: [i64; 2],
    came: [i64; 2],
    /// The offset of the last receipt and those of its records.
    request: Offset,
    of_request: Range<Offset>,
    pub(super) faults: Vec<String>,
}

impl Walk {
    pub(super) fn over(removed: Removed) -> Self {
        Self { removed, ..Self::default() }
    }

    pub(super) fn step(&mut self, row: &Row) {
        self.miss_up_to(row.offset);
        if row.offset < self.next {
            self.fault(format!("offset {} is there twice, in table {}", row.offset, row.kind.name()));
            return;
        }
        if row.received_at <= self.received_at {
            self.fault(format!("offset {} was received no later than the record before it", row.offset));
        }
        self.next = row.offset + 1;
        self.records += 1;
        self.received_at = row.received_at;
        match row.receipt {
            None => self.came[usize::from(row.kind == TableKind::Rejected)] += 1,
            Some([received, accepted, duplicate, rejected, named]) => {
                self.end_of_request();
                (self.request, self.announced, self.came) = (row.offset, [accepted, rejected], [0, 0]);
                let records = u64::try_from(accepted + rejected).unwrap_or(0);
                self.of_request = row.offset + 1..row.offset + 1 + records;
                if received != accepted + duplicate + rejected || duplicate != named {
                    self.fault(format!(
                        "receipt {}: {received} received, {accepted} accepted, {duplicate} duplicate \
                         ({named} named), {rejected} rejected",
                        row.offset
                    ));
                }
                for (total, more) in self.totals.iter_mut().zip([received, accepted, duplicate, rejected]) {
                    *total += more;
                }
            }
        }
    }

    /// Nothing comes any more, and the partition ends at `end`.
    pub(super) fn end(&mut self, end: Offset) {
        self.miss_up_to(end);
        self.end_of_request();
        for fault in self.removed.faults() {
            self.fault(fault);
        }
    }

    fn miss_up_to(&mut self, offset: Offset) {
        if offset <= self.next {
            return;
        }
        for missing in self.removed.miss(self.next..offset) {
            self.fault(format!("offsets {} to {} are missing", missing.start, missing.end - 1));
        }
    }

    /// Whether of this table fewer records came than the receipt announced, and some were removed there.
    fn is_explained(&self, index: usize, kind: TableKind) -> bool {
        self.came[index] < self.announced[index] && self.removed.concerns(kind, &self.of_request)
    }

    fn end_of_request(&mut self) {
        let agrees =
            |index: usize, kind| self.came[index] == self.announced[index] || self.is_explained(index, kind);
        if !(agrees(0, TableKind::Events) && agrees(1, TableKind::Rejected)) {
            let ([accepted, rejected], [events, broken]) = (self.announced, self.came);
            self.fault(format!(
                "receipt {}: {accepted} accepted and {rejected} rejected, but {events} events and {broken} \
                 rejected events follow",
                self.request
            ));
        }
    }

    pub(super) fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}
