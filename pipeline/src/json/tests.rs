use super::*;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

/// Whether the whole text is one value.
fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_some() && scanner.peek().is_none()
}

fn expected(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[test]
fn what_is_json_and_what_is_not() {
    for text in [
        "",
        " ",
        "1",
        "-0",
        "01",
        "-",
        "1.",
        "1.0e",
        "1e5",
        "1E-05",
        "1.5e+3",
        "1e999",
        ".5",
        "+1",
        "0x1",
        "tru",
        "true",
        "nullx",
        "null",
        "\"\"",
        "\"",
        "\"\\\"",
        "\"\\u12\"",
        "\"\\u12fG\"",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"a\u{1}b\"",
        "\"a\tb\"",
        "\u{1}",
        "[",
        "]",
        "[]",
        "[,]",
        "[1,]",
        "[1 2]",
        "[1\n,\t2]",
        "{}",
        "{,}",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1]",
        "[1}",
        "{\"a\":[{\"b\":{}}]}",
        "{\"a\":1}x",
        "\u{feff}1",
        "[\"\u{e4}\u{1f600}\"]",
        "{\"\u{1f600}\\n\":1}",
    ] {
        assert_eq!(is_json(text), expected(text), "{text:?}");
    }
}

#[test]
fn no_depth_is_too_much() {
    for depth in [63, 64, 65, 127, 128, 129, 100_000] {
        let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
        assert!(is_json(&format!("{open}1{close}")), "{depth}");
        assert!(!is_json(&format!("{open}1{}", &close[1..])), "{depth}");
        assert!(!is_json(&format!("{open}1]{}", &close[1..])), "{depth}");
    }
}

#[test]
fn an_object_is_gone_through_in_its_order() {
    let text = r#" { "a" : [1, {"x":"}"}] , "\u0062\n" : "c" , "a" : null } , 1"#;
    let (mut scanner, mut entries) = (Scanner::new(text), Vec::new());
    let read = scanner.object(|scanner, key| {
        entries.push((key.into_owned(), scanner.value()?));
        Some(())
    });
    assert_eq!(read, Some(()));
    let expected = [("a", r#"[1, {"x":"}"}]"#), ("b\n", r#""c""#), ("a", "null")];
    assert_eq!(entries, expected.map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(scanner.expect(b','), Some(()));
}

#[test]
fn a_string_is_what_it_stands_for() {
    assert_eq!(Scanner::new(r#" "plain" "#).string(), Some(Cow::Borrowed("plain")));
    assert_eq!(Scanner::new(r#""\u00e4\/""#).string(), Some(Cow::Borrowed("\u{e4}/")));
    assert_eq!(Scanner::new(r#""\ud800""#).string(), None);
    assert_eq!((string("1"), string(r#""a\tb""#)), (None, Some(Cow::Borrowed("a\tb"))));
}

/// Any value, to some depth.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((".{0,8}", inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn any_text_is_judged_as_by_serde_json(text in r#"[\[\]{}",:0-9eE+.\-a-ftrunl\\ \n\u{1}\u{e4}]{0,24}"#) {
        prop_assert_eq!(is_json(&text), expected(&text), "{}", text);
    }
}

proptest! {
    #[test]
    fn json_is_json_however_it_is_written(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut scanner = Scanner::new(&text);
        prop_assert_eq!(scanner.value(), Some(text.as_str()));
        // Read back, for serde_json does not read every number to the last digit.
        if let Value::Object(object) = serde_json::from_str(&text).unwrap() {
            let mut entries = serde_json::Map::new();
            let read = Scanner::new(&text).object(|scanner, key| {
                entries.insert(key.into_owned(), serde_json::from_str(scanner.value()?).ok()?);
                Some(())
            });
            prop_assert!(read.is_some());
            prop_assert_eq!(entries, object);
        }
    }

    #[test]
    fn json_that_was_damaged_is_judged_as_by_serde_json(value in value(), at in any::<prop::sample::Index>(), byte in 0..128_u8) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) {
            prop_assert_eq!(is_json(&text), expected(&text), "{}", text);
        }
    }
}
