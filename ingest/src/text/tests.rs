use super::*;
use pipeline::json::string;
use proptest::prelude::*;
use serde_json::value::RawValue;

#[test]
fn nul_and_lone_surrogates_are_replaced_and_nothing_else() {
    for (raw, clean) in [
        (r#""a\u0000b""#, r#""a\uFFFDb""#),
        (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
        (r#""\ud83d""#, r#""\uFFFD""#),
        (r#""\ud83dx""#, r#""\uFFFDx""#),
        (r#""\ude00\ud83d""#, r#""\uFFFD\uFFFD""#),
        (r#""\ud83d\ud83d\ude00""#, r#""\uFFFD\ud83d\ude00""#),
        (r#""\\u0000""#, r#""\\u0000""#),
        (r#""\\\u0000""#, r#""\\\uFFFD""#),
        (r#""\u00e9\n\u0041""#, r#""\u00e9\n\u0041""#),
    ] {
        assert_eq!(Text::new(raw).clean(), clean, "{raw}");
    }
}

#[test]
fn a_part_knows_whether_it_was_changed_and_what_it_was() {
    let text = Text::new(r#"[{"a":"\u0000"},{"b":1}]"#);
    let items: Vec<&RawValue> = serde_json::from_str(text.clean()).unwrap();
    assert!(text.replaced_in(items[0].get()));
    assert!(!text.replaced_in(items[1].get()));
    assert_eq!(text.raw_of(items[0].get()), r#"{"a":"\u0000"}"#);
    assert_eq!(text.raw_of(items[1].get()), r#"{"b":1}"#);
}

#[test]
fn depth_is_counted_outside_of_strings() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!is_deeper_than(64, &nested(64)));
    assert!(is_deeper_than(64, &nested(65)));
    assert!(!is_deeper_than(2, r#"["[[[[[[[\"[[[[[["]"#));
    assert!(!is_deeper_than(2, &format!("[{}[]]", "[],".repeat(100))));
    assert!(is_deeper_than(2, r#"{"a":{"\\":{}}}"#));
}

#[test]
fn text_is_cut_between_characters() {
    assert_eq!(cut("aé", 2), "a");
    assert_eq!(cut("aé", 3), "aé");
    assert_eq!(cut("aé", 9), "aé");
}

proptest! {
    #[test]
    fn any_string_with_escapes_becomes_readable_and_only_then_flagged(units in prop::collection::vec(any::<u16>(), 0..12)) {
        let json: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let json = format!("\"{json}\"");
        let text = Text::new(&json);
        let expected = String::from_utf16_lossy(&units).replace('\0', "\u{fffd}");
        prop_assert_eq!(string(text.clean()).map(Cow::into_owned), Some(expected));
        let faulty = units.contains(&0) || String::from_utf16(&units).is_err();
        prop_assert_eq!(text.replaced_in(text.clean()), faulty);
    }

    #[test]
    fn any_text_keeps_its_length_and_is_written_as_it_reads(raw in "\\PC*", controls in "[\\\\\"u0d8\n\0]{0,12}") {
        for raw in [raw, controls] {
            prop_assert_eq!(Text::new(&raw).clean().len(), raw.len());
            let mut json = String::new();
            put_string(&mut json, &raw);
            prop_assert_eq!(string(&json), Some(Cow::Borrowed(raw.as_str())));
        }
    }
}
