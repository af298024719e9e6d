use super::fill::Filler;
use super::*;
use arrow::array::{Array as _, AsArray as _, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

#[test]
fn names_are_those_of_warehouses() {
    for (key, name) in [
        ("price", Some("price")),
        ("orderId", Some("order_id")),
        ("Order Completed", Some("order_completed")),
        ("HTMLPage", Some("html_page")),
        ("utm_source", Some("utm_source")),
        ("SKU", Some("sku")),
        ("v2Beta", Some("v2_beta")),
        (" --Price (EUR)-- ", Some("price_eur")),
        ("цена", None),
        ("", None),
    ] {
        assert_eq!(snake_case(key).as_deref(), name, "{key}");
    }
    assert_eq!(PromotedColumn::new(&"x".repeat(101), PromotedType::Text, false), None);
}

/// A batch with these properties, its column of this type, and what it is good for.
fn filled(kind: PromotedType, properties: &[Option<&str>]) -> (arrow::array::ArrayRef, Facts) {
    let column = PromotedColumn::new("a", kind, false).unwrap();
    let mut filler = Filler::new(Arc::new(Promoted::new(vec![column])));
    let properties: StringArray = properties.iter().collect();
    let values = filler.fill(&properties).unwrap().remove(0);
    (values, filler.facts()["p_a"])
}

fn facts(kind: PromotedType, properties: &[Option<&str>]) -> (bool, bool, u64) {
    let facts = filled(kind, properties).1;
    (facts.exact, facts.cast, facts.mismatches)
}

#[test]
fn values_of_the_type_are_taken_and_others_are_null_and_counted() {
    let rows = [Some(r#"{"a":1.5}"#), None, Some(r#"{"a":"free"}"#), Some(r#"{"b":2}"#), Some(r#"{"a":3}"#)];
    let (values, facts) = filled(PromotedType::Double, &rows);
    let expected = Float64Array::from(vec![Some(1.5), None, None, None, Some(3.0)]);
    assert_eq!(values.as_primitive(), &expected);
    assert_eq!((facts.exact, facts.cast, facts.mismatches), (false, true, 1));

    let (values, _) =
        filled(PromotedType::Bigint, &[Some(r#"{"a":7}"#), Some(r#"{"a":7.5}"#), Some(r#"{"a":true}"#)]);
    assert_eq!(values.as_primitive(), &Int64Array::from(vec![Some(7), None, None]));
    let (values, _) = filled(PromotedType::Boolean, &[Some(r#"{"a":false}"#), Some(r#"{"a":"yes"}"#)]);
    assert_eq!(values.as_boolean(), &BooleanArray::from(vec![Some(false), None]));
    let (values, _) = filled(PromotedType::Text, &[Some(r#"{"a":"\u00e4\""}"#), Some(r#"{"a":[1]}"#)]);
    assert_eq!(values.as_string::<i32>(), &StringArray::from(vec![Some("ä\""), None]));
}

#[test]
fn a_column_is_exact_only_where_its_text_is_that_of_the_json() {
    use PromotedType::{Bigint, Boolean, Double, Text};
    for (kind, value, expected) in [
        (Double, "1", (true, true, 0)),
        (Double, "1.5", (true, true, 0)),
        (Double, "-0.001", (true, true, 0)),
        (Double, "1.0", (false, true, 0)),
        (Double, "1.50", (false, true, 0)),
        (Double, "1e0", (false, true, 0)),
        (Double, "-0", (false, true, 0)),
        (Double, "1e21", (false, true, 0)),
        (Double, "9007199254740993", (false, true, 0)),
        (Double, "0.1000000000000000055511151231257827", (false, true, 0)),
        (Double, "\"1.5\"", (false, false, 1)),
        (Double, "\"free\"", (false, true, 1)),
        (Double, "true", (false, true, 1)),
        (Double, "null", (true, true, 0)),
        (Bigint, "12", (true, true, 0)),
        (Bigint, "12.0", (false, true, 1)),
        (Bigint, "99999999999999999999", (false, true, 1)),
        (Bigint, "\"12\"", (false, false, 1)),
        (Boolean, "true", (true, true, 0)),
        (Boolean, "1", (false, false, 1)),
        (Boolean, "\"yes\"", (false, false, 1)),
        (Text, "\"x\"", (true, true, 0)),
        (Text, "1", (false, false, 1)),
    ] {
        assert_eq!(facts(kind, &[Some(&format!(r#"{{"a":{value}}}"#))]), expected, "{kind:?} {value}");
    }
}

#[test]
fn json_that_cannot_be_read_for_sure_makes_no_promise() {
    assert!(!facts(PromotedType::Double, &[Some(r#"{"x":"\ud800","a":1}"#)]).0);
    assert!(!facts(PromotedType::Text, &[Some(r#"{"a":"\ud800"}"#)]).0);
    assert_eq!(facts(PromotedType::Text, &[Some("[1]"), None]), (true, true, 0));
}

/// Numbers as JSON has them, written in every way.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_filter("JSON", |number| number.is_finite()).prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_is_exact_is_written_as_it_was(number in number()) {
        for kind in [PromotedType::Double, PromotedType::Bigint] {
            let (values, facts) = filled(kind, &[Some(&format!(r#"{{"a":{number}}}"#))]);
            let same = value_text(&values).unwrap() == StringArray::from(vec![Some(number.as_str())]);
            prop_assert_eq!(facts.exact, same, "{:?} {}", kind, number);
            prop_assert!(facts.cast);
        }
    }
}

#[test]
fn facts_of_two_files_hold_for_both() {
    let of = |exact, mismatches| Facts { kind: PromotedType::Double, exact, cast: true, mismatches };
    let mut known = FileFacts::from([("p_a".into(), of(true, 1)), ("p_b".into(), of(true, 0))]);
    merge(&mut known, &FileFacts::from([("p_a".into(), of(false, 2))]));
    assert_eq!(known, FileFacts::from([("p_a".into(), of(false, 3))]));
    let json = serde_json::to_string(&known).unwrap();
    assert_eq!(json, r#"{"p_a":{"type":"double","exact":false,"cast":true,"mismatches":3}}"#);
    assert_eq!(serde_json::from_str::<FileFacts>(&json).unwrap(), known);
}

fn pin(key: &str, kind: Option<PromotedType>) -> ColumnChange {
    ColumnChange::Pin { key: key.into(), kind }
}

#[test]
fn columns_change_only_in_ways_that_old_files_allow() {
    use PromotedType::{Double, Text};
    let none = Promoted::default();
    let one = none.changed(&pin("orderId", Some(Text))).unwrap();
    assert_eq!(one.of_key("orderId").unwrap().name, "p_order_id");
    assert!(matches!(none.changed(&pin("x", None)), Err(ColumnError::NoType(_))));
    assert!(matches!(none.changed(&pin("-", Some(Text))), Err(ColumnError::NoName(_))));
    assert!(matches!(one.changed(&pin("order_id", Some(Text))), Err(ColumnError::Collision { .. })));
    assert!(matches!(one.changed(&pin("orderId", Some(Double))), Err(ColumnError::OtherType { .. })));
    assert!(matches!(one.changed(&ColumnChange::Unpin { key: "x".into() }), Err(ColumnError::Unknown(_))));

    let unpinned = one.changed(&ColumnChange::Unpin { key: "orderId".into() }).unwrap();
    assert!(unpinned.is_empty());
    let keys = vec![("orderId".into(), Text), ("a b".into(), Text), ("a_b".into(), Double)];
    let promoted = unpinned.changed(&ColumnChange::Promote(keys)).unwrap();
    assert_eq!(promoted.columns().iter().map(|column| &*column.key).collect::<Vec<_>>(), ["a b"]);
    assert!(matches!(unpinned.changed(&pin("orderId", Some(Double))), Err(ColumnError::OtherType { .. })));
    let again = unpinned.changed(&pin("orderId", None)).unwrap();
    assert_eq!((again.columns(), again.unpinned().len()), (one.columns(), 0));

    let many = (0..=COLUMNS_MAX).map(|at| (format!("k{at}"), Text)).collect();
    let many = none.changed(&ColumnChange::Promote(many)).unwrap();
    assert_eq!(many.columns().len(), COLUMNS_MAX);
    assert!(matches!(many.changed(&pin("x", Some(Text))), Err(ColumnError::TooMany)));
}

#[test]
fn fresh_rows_get_the_columns_too() {
    let promoted =
        Arc::new(Promoted::new(vec![PromotedColumn::new("a", PromotedType::Bigint, true).unwrap()]));
    let event = crate::event::Event {
        properties: Some(r#"{"a":5}"#.into()),
        ..crate::event::Event::new(crate::event::Kind::Track, "1")
    };
    let stored = crate::log::Stored {
        partition: crate::log::PartitionId("a".into()),
        offset: 1,
        received_at: 1,
        source: "web".into(),
        test: false,
        record: event,
    };
    let batch: RecordBatch = promoted.extend(&crate::log::event_rows(&[stored])[0]).unwrap();
    assert_eq!(batch.schema(), promoted.schema(TableKind::Events));
    let column = batch.column(batch.num_columns() - 2);
    assert_eq!((column.len(), column.as_primitive::<arrow::datatypes::Int64Type>().value(0)), (1, 5));
}
