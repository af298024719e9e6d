//! The columns of each table while they are filled, in the order of the table's schema.

mod text;

use super::context::{self, CONTEXT_COLUMNS, Value};
use super::{Frame, Row};
use crate::Micros;
use crate::event::{Event, Rejected};
use crate::log::table::{CONTEXT, Type, element};
use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder,
};
use std::sync::Arc;
use text::TextColumn;

/// Columns that can be finished and filled anew.
pub(super) trait Columns: Default {
    fn finish(&mut self) -> Vec<ArrayRef>;
}

#[derive(Default)]
pub(super) struct PositionColumns {
    partition: StringBuilder,
    offset: Int64Builder,
    received_at: TimeColumn,
    source: StringBuilder,
    test: BooleanBuilder,
}

impl PositionColumns {
    pub(super) fn push(&mut self, row: &Row<'_>) {
        self.partition.append_value(row.partition);
        self.offset.append_value(int(row.offset));
        self.received_at.0.append_value(row.received_at);
        self.source.append_value(row.source);
        self.test.append_value(row.test);
    }
}

impl Columns for PositionColumns {
    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.received_at.0.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.test.finish()),
        ]
    }
}

pub(super) struct EventColumns {
    kind: TextColumn,
    /// `event` to `category`.
    texts: [TextColumn; 9],
    /// `timestamp`, `original_timestamp`, `sent_at`.
    times: [TimeColumn; 3],
    context: Vec<ContextColumn>,
    /// `properties` to `flags`.
    json: [TextColumn; 6],
}

enum ContextColumn {
    Text(TextColumn),
    Int(Int64Builder),
}

impl Default for EventColumns {
    fn default() -> Self {
        let context = CONTEXT.iter().flat_map(|section| section.columns).map(|(_, _, kind)| match kind {
            Type::Int => ContextColumn::Int(Int64Builder::new()),
            _ => ContextColumn::Text(TextColumn::default()),
        });
        Self {
            kind: TextColumn::default(),
            texts: Default::default(),
            times: Default::default(),
            context: context.collect(),
            json: Default::default(),
        }
    }
}

impl EventColumns {
    /// About how many bytes of text an event takes.
    pub(super) fn bytes(event: &Event<'_>) -> usize {
        let texts = [&event.properties, &event.traits, &event.context, &event.integrations, &event.extra];
        texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
            + event.context.as_ref().map_or(0, |context| context.len())
            + 1_024
    }

    pub(super) fn push(&mut self, event: &Event<'_>, received_at: Micros) {
        self.kind.append_value(event.kind.as_str());
        let texts = [
            &event.event,
            &Some(std::borrow::Cow::Borrowed(&*event.message_id)),
            &event.original_message_id,
            &event.anonymous_id,
            &event.user_id,
            &event.group_id,
            &event.previous_id,
            &event.name,
            &event.category,
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.append_option(text.as_deref());
        }
        let (timestamp, flags) = event.timestamp(received_at);
        for (column, time) in
            self.times.iter_mut().zip([Some(timestamp), event.original_timestamp, event.sent_at])
        {
            column.0.append_option(time);
        }
        self.push_context(event.context.as_deref());
        let flags = event.flags.union(flags).to_words();
        let json = [
            event.properties.as_deref(),
            event.traits.as_deref(),
            event.context.as_deref(),
            event.integrations.as_deref(),
            event.extra.as_deref(),
            flags.as_deref(),
        ];
        for (column, text) in self.json.iter_mut().zip(json) {
            column.append_option(text);
        }
    }

    fn push_context(&mut self, context: Option<&str>) {
        let values: [Option<Value<'_>>; CONTEXT_COLUMNS] = context::promoted(context);
        for (column, value) in self.context.iter_mut().zip(&values) {
            match (column, value) {
                (ContextColumn::Text(column), Some(Value::Text(text))) => column.append_value(text),
                (ContextColumn::Text(column), Some(Value::Number(text))) => column.append_value(text),
                (ContextColumn::Text(column), None) => column.append_null(),
                (ContextColumn::Int(column), value) => {
                    column.append_option(value.as_ref().and_then(Value::as_int));
                }
            }
        }
    }
}

impl Columns for EventColumns {
    fn finish(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![self.kind.finish()];
        columns.extend(self.texts.iter_mut().map(TextColumn::finish));
        columns.extend(self.times.iter_mut().map(|column| Arc::new(column.0.finish()) as ArrayRef));
        columns.extend(self.context.iter_mut().map(|column| match column {
            ContextColumn::Text(column) => column.finish(),
            ContextColumn::Int(column) => Arc::new(column.finish()),
        }));
        columns.extend(self.json.iter_mut().map(TextColumn::finish));
        columns
    }
}

#[derive(Default)]
pub(super) struct RejectedColumns {
    /// `code` to `body`.
    texts: [TextColumn; 5],
    body_bytes: Int64Builder,
}

impl RejectedColumns {
    pub(super) fn push(&mut self, item: &Rejected<'_>) {
        let texts = [
            Some(&*item.code),
            item.field.as_deref(),
            Some(&*item.message),
            item.message_id.as_deref(),
            item.body.as_deref(),
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.append_option(text);
        }
        self.body_bytes.append_value(int(item.body_bytes));
    }
}

impl Columns for RejectedColumns {
    fn finish(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = self.texts.iter_mut().map(TextColumn::finish).collect();
        columns.push(Arc::new(self.body_bytes.finish()));
        columns
    }
}

pub(super) struct ReceiptColumns {
    /// `received`, `accepted`, `duplicate`, `rejected`.
    counts: [Int64Builder; 4],
    duplicates: ListBuilder<StringBuilder>,
}

impl Default for ReceiptColumns {
    fn default() -> Self {
        let duplicates = ListBuilder::new(StringBuilder::new()).with_field(element());
        Self { counts: Default::default(), duplicates }
    }
}

impl ReceiptColumns {
    pub(super) fn push(&mut self, frame: &Frame<'_>, accepted: u64, rejected: u64) {
        let counts = [frame.received, accepted, frame.duplicates.len() as u64, rejected];
        for (column, count) in self.counts.iter_mut().zip(counts) {
            column.append_value(int(count));
        }
        for id in &frame.duplicates {
            self.duplicates.values().append_value(id);
        }
        self.duplicates.append(true);
    }
}

impl Columns for ReceiptColumns {
    fn finish(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> =
            self.counts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        columns.push(Arc::new(self.duplicates.finish()));
        columns
    }
}

struct TimeColumn(TimestampMicrosecondBuilder);

impl Default for TimeColumn {
    fn default() -> Self {
        Self(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
    }
}

/// SQL has no unsigned 64-bit numbers; ours never come near the limit.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
