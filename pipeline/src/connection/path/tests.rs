use super::*;
use proptest::prelude::*;
use serde_json::json;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[test]
fn paths_lead_to_values_as_in_javascript() {
    let event = json!({
        "properties": {"order": {"id": 7}, "products": [{"price": 1}, {"price": 2}], "": {"a.b": true}},
        "traits": {"postal code": "10115", "it's": 1, "größe": "M", "$set": 0, "\"\\": 9},
    });
    for (text, expected) in [
        ("properties.order.id", json!(7)),
        ("properties['order'][\"id\"]", json!(7)),
        ("properties.products[1].price", json!(2)),
        ("properties['']['a.b']", json!(true)),
        ("traits['postal code']", json!("10115")),
        (r"traits['it\'s']", json!(1)),
        ("traits[\"it's\"]", json!(1)),
        ("traits.größe", json!("M")),
        ("traits.$set", json!(0)),
        (r#"traits["\"\\"]"#, json!(9)),
    ] {
        assert_eq!(path(text).get(&event), Some(&expected), "{text}");
    }
    for missing in ["properties.order.id.more", "properties.products[2]", "properties[0]", "context.ip"] {
        assert_eq!(path(missing).get(&event), None, "{missing}");
    }
}

#[test]
fn a_wrong_path_is_refused_at_the_character_that_is_wrong() {
    for (text, at) in [
        ("", 0),
        ("1a", 0),
        (".a", 0),
        ("['a']", 0),
        ("a..b", 2),
        ("a.", 2),
        ("a b", 1),
        ("ä b", 1),
        ("a-b", 1),
        ("a[", 2),
        ("a[x]", 2),
        ("a[-1]", 2),
        ("a[0", 3),
        ("a['b", 4),
        ("a['b'", 5),
        (r"a['b\", 5),
        ("a[1000]", 2),
        ("a[99999999999999999999999]", 2),
    ] {
        let error = Path::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
    }
    assert!(Path::parse(&"a.".repeat(40)).is_err(), "there is a limit to the steps");
}

#[test]
fn setting_makes_the_way_and_never_breaks_what_is_there() {
    let mut event = json!({"properties": {"a": 1, "list": [1]}, "traits": null});
    assert!(path("properties.b.c").set(&mut event, json!(2)));
    assert!(path("properties.list[2].d").set(&mut event, json!(3)));
    assert!(path("traits.name").set(&mut event, json!("Ines")));
    assert!(path("properties.a").set(&mut event, json!({"x": 1})));
    let expected = json!({
        "properties": {"a": {"x": 1}, "b": {"c": 2}, "list": [1, null, {"d": 3}]},
        "traits": {"name": "Ines"},
    });
    assert_eq!(event, expected);
    for blocked in ["properties.b.c.d", "properties.list.x", "properties[0]", "properties.b.c[0].new"] {
        assert!(!path(blocked).set(&mut event, json!(0)), "{blocked}");
    }
    assert_eq!(event, expected, "a refused change changes nothing");
}

#[test]
fn removing_gives_what_was_there() {
    let mut event = json!({"properties": {"a": 1, "list": [1, 2, 3]}});
    assert_eq!(path("properties.a").remove(&mut event), Some(json!(1)));
    assert_eq!(path("properties.a").remove(&mut event), None);
    assert_eq!(path("properties.list[0]").remove(&mut event), Some(json!(1)));
    assert_eq!(path("properties.list[2]").remove(&mut event), None);
    assert_eq!(event, json!({"properties": {"list": [2, 3]}}));
    assert_eq!(path("properties").remove(&mut event), Some(json!({"list": [2, 3]})));
    assert_eq!(event, json!({}));
}

proptest! {
    #[test]
    fn a_path_reads_as_it_was_written(steps in prop::collection::vec(
        prop_oneof!["[a-z$_é'\\\\ .\"]{0,4}".prop_map(Step::Name), (0..INDEX_MAX).prop_map(Step::Index)], 0..6,
    )) {
        let written = Path([vec![Step::Name("properties".into())], steps].concat());
        prop_assert_eq!(Path::parse(&written.to_string()).unwrap(), written);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,20}|[a.\\[\\]'\"\\\\0-9]{0,12}") {
        if let Err(error) = Path::parse(&text) {
            prop_assert!(error.at <= text.chars().count());
        }
    }
}
