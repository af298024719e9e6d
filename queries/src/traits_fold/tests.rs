use super::*;
use datafusion::arrow::array::Int64Array;
use proptest::prelude::*;

type Row = (String, i64, i64, String);

fn update(folded: &mut Folded, rows: &[Row]) {
    let text = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let numbers = |numbers: Vec<i64>| Arc::new(Int64Array::from(numbers)) as ArrayRef;
    folded
        .update_batch(&[
            text(rows.iter().map(|row| row.0.as_str()).collect()),
            numbers(rows.iter().map(|row| row.1).collect()),
            numbers(rows.iter().map(|row| row.2).collect()),
            text(rows.iter().map(|row| row.3.as_str()).collect()),
        ])
        .unwrap();
}

fn value(mut folded: Folded) -> String {
    let ScalarValue::Utf8(Some(text)) = folded.evaluate().unwrap() else { panic!("it is text") };
    text
}

fn whole(rows: &[Row]) -> String {
    let mut folded = Folded::default();
    update(&mut folded, rows);
    value(folded)
}

#[test]
fn values_are_kept_as_they_were_sent() {
    let sent = r#"{"b":1.50,"a":{"x":[1, 2]},"big":123456789012345678901234567890,"é\n":"\u00e9","n":null}"#;
    let kept = r#"{"a":{"x":[1, 2]},"b":1.50,"big":123456789012345678901234567890,"é\n":"\u00e9"}"#;
    assert_eq!(whole(&[(sent.into(), 1, 1, "p".into())]), kept);
}

#[test]
fn what_is_no_object_changes_nothing() {
    let rows: Vec<Row> = ["", "[1]", "1", "null", "{\"a\":", "{\"a\":1}x", "\"a\""]
        .map(|text| (text.to_owned(), 1, 1, "p".to_owned()))
        .into();
    assert_eq!(whole(&rows), "{}");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let _ = whole(&[(deep, 1, 1, "p".into())]);
}

#[test]
fn a_profile_keeps_no_more_than_the_most_traits_and_counts_its_memory() {
    let all: Vec<Row> =
        (0..3 * TRAITS_MAX).map(|n| (format!(r#"{{"k{n:05}":{n}}}"#), 1, n as i64, "p".into())).collect();
    let mut backwards = all.clone();
    backwards.reverse();
    assert_eq!(whole(&all), whole(&backwards));
    let kept: BTreeMap<String, i64> = serde_json::from_str(&whole(&all)).unwrap();
    assert_eq!(kept.len(), TRAITS_MAX);
    let (mut folded, empty) = (Folded::default(), Folded::default().size());
    update(&mut folded, &all);
    let bytes: usize = folded.traits.iter().map(|(key, value)| key.len() + value.bytes()).sum();
    assert_eq!(folded.bytes, bytes);
    assert!(folded.size() > empty + bytes);
}

fn any_row() -> impl Strategy<Value = Row> {
    let value = prop_oneof![Just("null".to_owned()), "[0-9]", Just("\"\"".to_owned())];
    let object = proptest::collection::btree_map("[ab]", value, 0..3).prop_map(|map| {
        format!("{{{}}}", map.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","))
    });
    (object, 0..3_i64, "[pq]").prop_map(|(object, timestamp, partition)| (object, timestamp, 0, partition))
}

proptest! {
    /// Any order, any split into states: the same bytes.
    #[test]
    fn the_order_and_the_grouping_of_rows_make_no_difference(
        rows in proptest::collection::vec(any_row(), 0..12),
        keys in proptest::collection::vec(any::<u64>(), 12),
        split in 0..12_usize,
    ) {
        // Within a partition `received_at` strictly increases.
        let rows: Vec<Row> = rows.into_iter().enumerate().map(|(n, row)| (row.0, row.1, n as i64 / 2, format!("{}{}", row.3, n % 2))).collect();
        let mut mixed: Vec<_> = rows.iter().cloned().zip(keys).collect();
        mixed.sort_by_key(|(_, key)| *key);
        let mixed: Vec<Row> = mixed.into_iter().map(|(row, _)| row).collect();
        let (first, second) = mixed.split_at(split.min(mixed.len()));
        let mut merged = Folded::default();
        for part in [first, second] {
            let mut folded = Folded::default();
            update(&mut folded, part);
            let ScalarValue::Utf8(state) = &folded.state().unwrap()[0] else { panic!("it is text") };
            merged.merge_batch(&[Arc::new(StringArray::from(vec![state.clone()]))]).unwrap();
        }
        prop_assert_eq!(value(merged), whole(&rows));
    }
}
