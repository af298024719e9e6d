use super::*;
use crate::event::{Event, Flags, Kind, Rejected};
use crate::log::frame::{self, Batch, Origin};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};

const RECEIVED: i64 = 1_768_478_400_000_000;

fn rows(
    batch: &Batch,
    duplicates: &[u32],
    offset: u64,
    received_at: i64,
    after: [Option<u64>; 3],
) -> Batches {
    let mut bytes = Vec::new();
    frame::encode(batch, duplicates, offset, received_at, &mut bytes);
    let mut rows = Rows::after(PartitionId("00000000000000aa".into()), after);
    rows.push(&Frame::decode(&mut bytes.as_slice()).unwrap()).unwrap();
    rows.finish()
}

fn batch() -> Batch {
    let mut batch = Batch::new(Origin { source: "web".into(), test: true }, 4);
    let mut event = Event::new(Kind::Group, "m-1");
    for (field, text) in [
        (&mut event.original_message_id, "original"),
        (&mut event.anonymous_id, "anonymous"),
        (&mut event.user_id, "user"),
        (&mut event.group_id, "group"),
        (&mut event.previous_id, "previous"),
        (&mut event.event, "event"),
        (&mut event.name, "name"),
        (&mut event.category, "category"),
        (&mut event.properties, r#"{"p":1}"#),
        (&mut event.traits, r#"{"t":1}"#),
        (&mut event.integrations, r#"{"i":1}"#),
        (&mut event.extra, r#"{"e":1}"#),
    ] {
        *field = Some(text.into());
    }
    event.context = Some(full_context().into());
    event.original_timestamp = Some(RECEIVED - 10);
    event.sent_at = Some(RECEIVED - 5);
    event.flags = Flags::MADE_MESSAGE_ID;
    batch.push_event(&event);
    batch.push_event(&Event::new(Kind::Track, "m-2"));
    batch.push_rejected(&Rejected {
        code: "bad".into(),
        field: Some("context.ip".into()),
        message: "it is wrong".into(),
        message_id: Some("m-3".into()),
        body: Some("{}".into()),
        body_bytes: 2,
    });
    batch.push_event(&Event::new(Kind::Track, "m-4"));
    batch
}

/// A context in which every promoted column has its own name as value, and each number its index.
fn full_context() -> String {
    use crate::log::table::{CONTEXT, Type};
    let mut object = serde_json::Map::new();
    for section in &CONTEXT {
        for (index, (key, column, kind)) in section.columns.iter().enumerate() {
            let value = if *kind == Type::Int { index.into() } else { (*column).into() };
            if section.name.is_empty() {
                object.insert((*key).into(), value);
            } else {
                let inner = object.entry(section.name).or_insert_with(|| serde_json::json!({}));
                inner[key] = value;
            }
        }
    }
    serde_json::Value::Object(object).to_string()
}

#[test]
fn every_field_arrives() {
    let batches = rows(&batch(), &[3], 10, RECEIVED, [None; 3]);
    let [events] = batches.get(TableKind::Events) else { panic!("one batch") };
    let text = |column: &str| {
        let column = events.column_by_name(column).unwrap().as_string::<i32>();
        column.is_valid(0).then(|| column.value(0).to_owned())
    };
    let time =
        |name: &str| events.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().value(0);
    let int = |name: &str, row| events.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(row);
    for (column, expected) in [
        ("log_partition", "00000000000000aa"),
        ("source", "web"),
        ("type", "group"),
        ("event", "event"),
        ("message_id", "m-1"),
        ("original_message_id", "original"),
        ("anonymous_id", "anonymous"),
        ("user_id", "user"),
        ("group_id", "group"),
        ("previous_id", "previous"),
        ("name", "name"),
        ("category", "category"),
        ("properties", r#"{"p":1}"#),
        ("traits", r#"{"t":1}"#),
        ("integrations", r#"{"i":1}"#),
        ("extra", r#"{"e":1}"#),
        ("context", &full_context()),
        ("flags", "made_message_id"),
    ] {
        assert_eq!(text(column).as_deref(), Some(expected), "{column}");
    }
    for field in events.schema().fields() {
        match field.name().as_str() {
            "context_screen_width" => assert_eq!(int(field.name(), 0), 0),
            "context_screen_height" => assert_eq!(int(field.name(), 0), 1),
            name if name.starts_with("context_") => assert_eq!(text(name).as_deref(), Some(name)),
            _ => {}
        }
        assert!(events.column_by_name(field.name()).unwrap().is_valid(0), "{}", field.name());
        let nulls = events.column_by_name(field.name()).unwrap().is_null(1);
        assert_eq!(nulls, field.is_nullable(), "{}", field.name());
    }
    assert_eq!((int("log_offset", 0), int("log_offset", 1)), (11, 12));
    assert_eq!(time("received_at"), RECEIVED + 1);
    assert_eq!(time("timestamp"), RECEIVED + 1 - 5);
    assert_eq!((time("original_timestamp"), time("sent_at")), (RECEIVED - 10, RECEIVED - 5));
    assert!(events.column_by_name("test").unwrap().as_boolean().value(0));
    let date = events.column_by_name("received_date").unwrap().as_primitive::<Date32Type>().value(0);
    assert_eq!(i64::from(date), RECEIVED / DAY);
}

#[test]
fn a_rejected_event_and_a_receipt_arrive_whole() {
    let batches = rows(&batch(), &[3], 10, RECEIVED, [None; 3]);
    let [rejected] = batches.get(TableKind::Rejected) else { panic!("one batch") };
    for (column, expected) in [
        ("code", "bad"),
        ("field", "context.ip"),
        ("message", "it is wrong"),
        ("message_id", "m-3"),
        ("body", "{}"),
    ] {
        assert_eq!(rejected.column_by_name(column).unwrap().as_string::<i32>().value(0), expected);
    }
    let int = |batch: &RecordBatch, name: &str| {
        batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0)
    };
    assert_eq!((int(rejected, "body_bytes"), int(rejected, "log_offset")), (2, 13));
    let [receipts] = batches.get(TableKind::Receipts) else { panic!("one batch") };
    let counts =
        ["log_offset", "received", "accepted", "duplicate", "rejected"].map(|name| int(receipts, name));
    assert_eq!(counts, [10, 4, 2, 1, 1]);
    let ids = receipts.column_by_name("duplicates").unwrap().as_list::<i32>().value(0);
    assert_eq!(ids.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("m-4")]);
}

#[test]
fn rows_a_table_has_already_are_left_out() {
    let batches = rows(&batch(), &[], 10, RECEIVED, [Some(11), Some(13), None]);
    let rows = TableKind::ALL.map(|kind| batches.get(kind).iter().map(RecordBatch::num_rows).sum::<usize>());
    assert_eq!(rows, [2, 0, 1]);
}

#[test]
fn a_batch_ends_at_midnight_and_at_its_limit() {
    let midnight = RECEIVED / DAY * DAY + DAY;
    let batches = rows(&batch(), &[], 0, midnight - 3, [None; 3]);
    let rows_of =
        |batches: &Batches, kind| batches.get(kind).iter().map(RecordBatch::num_rows).collect::<Vec<_>>();
    assert_eq!(rows_of(&batches, TableKind::Events), [2, 1]);
    let mut many = Batch::new(Origin { source: "web".into(), test: false }, 20_000);
    for number in 0..20_000 {
        many.push_event(&Event::new(Kind::Track, number.to_string()));
    }
    assert_eq!(
        rows_of(&rows(&many, &[], 0, RECEIVED, [None; 3]), TableKind::Events),
        [ROWS_MAX, ROWS_MAX, 3_616]
    );
    let mut large = Batch::new(Origin { source: "web".into(), test: false }, 3);
    for _ in 0..3 {
        let mut event = Event::new(Kind::Track, "m");
        event.properties = Some("x".repeat(BYTES_MAX / 2).into());
        large.push_event(&event);
    }
    assert_eq!(rows_of(&rows(&large, &[], 0, RECEIVED, [None; 3]), TableKind::Events), [1, 1, 1]);
}
