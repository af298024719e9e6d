mod model;

use super::*;
use pipeline::event::Kind;
use pipeline::log::PartitionId;
use serde_json::json;
use std::borrow::Cow;

const TRAITS: &str = r#"{ "plan": "pro",  "address": {"postal code":"10115", "city" : "Berlin"}}"#;
const PROPERTIES: &str = r#"{"order":{"id":42,"total":1.50,"big":12345678901234567890123},"email":"A@b.c","list":[1,2, 3],"none":null}"#;

fn event() -> Stored<Event<'static>> {
    let mut event = Event::new(Kind::Track, "m1");
    event.user_id = Some(Cow::Borrowed("u1"));
    event.event = Some(Cow::Borrowed("Order Completed"));
    event.traits = Some(Cow::Borrowed(TRAITS));
    event.properties = Some(Cow::Borrowed(PROPERTIES));
    Stored {
        partition: PartitionId("p".into()),
        offset: 7,
        received_at: 1_700_000_000_000_000,
        source: "site".into(),
        test: false,
        record: event,
    }
}

fn mapped(rules: serde_json::Value) -> Event<'static> {
    let rules: Vec<Rule> = serde_json::from_value(rules).expect("rules");
    Mapping::compile(&rules).expect("they compile").apply(event()).record
}

fn text<'e>(event: &'e Event<'static>, field: &str) -> Option<&'e str> {
    let text = match field {
        "properties" => &event.properties,
        "traits" => &event.traits,
        "context" => &event.context,
        "user_id" => &event.user_id,
        "group_id" => &event.group_id,
        "name" => &event.name,
        "event" => &event.event,
        other => panic!("{other}"),
    };
    text.as_deref()
}

#[test]
fn each_rule_does_what_it_says_and_nothing_else() {
    for (rule, field, expected) in [
        (
            json!({"rename": {"from": "properties.order.id", "to": "properties.order_id"}}),
            "properties",
            r#"{"order":{"total":1.50,"big":12345678901234567890123},"email":"A@b.c","list":[1,2, 3],"none":null,"order_id":42}"#,
        ),
        (
            json!({"rename": {"from": "properties.list[1]", "to": "properties.list[0]"}}),
            "properties",
            r#"{"order":{"id":42,"total":1.50,"big":12345678901234567890123},"email":"A@b.c","list":[2,3],"none":null}"#,
        ),
        (
            json!({"rename": {"from": "properties.order", "to": "properties.order.old"}}),
            "properties",
            r#"{"order":{"old":{"id":42,"total":1.50,"big":12345678901234567890123}},"email":"A@b.c","list":[1,2, 3],"none":null}"#,
        ),
        (
            json!({"rename": {"from": "properties.order.id", "to": "properties.order"}}),
            "properties",
            r#"{"order":42,"email":"A@b.c","list":[1,2, 3],"none":null}"#,
        ),
        (
            json!({"rename": {"from": "traits.address", "to": "context.address"}}),
            "traits",
            r#"{"plan":"pro"}"#,
        ),
        (
            json!({"rename": {"from": "traits.address", "to": "context.address"}}),
            "context",
            r#"{"address":{"postal code":"10115", "city" : "Berlin"}}"#,
        ),
        (
            json!({"drop": {"path": "traits.address['postal code']"}}),
            "traits",
            r#"{"plan":"pro","address":{"city":"Berlin"}}"#,
        ),
        (
            json!({"set": {"path": "properties.none.a[0].b", "value": {"x": [true, null]}}}),
            "properties",
            r#"{"order":{"id":42,"total":1.50,"big":12345678901234567890123},"email":"A@b.c","list":[1,2, 3],"none":{"a":[{"b":{"x":[true,null]}}]}}"#,
        ),
        (
            json!({"set": {"path": "properties.list[3]", "value": "ü\n"}}),
            "properties",
            r#"{"order":{"id":42,"total":1.50,"big":12345678901234567890123},"email":"A@b.c","list":[1,2,3,"ü\n"],"none":null}"#,
        ),
        (json!({"set": {"path": "context", "value": {"a": 1}}}), "context", r#"{"a":1}"#),
        (
            json!({"copy": {"from": ["user_id"], "to": "context['the \"user\"']"}}),
            "context",
            r#"{"the \"user\"":"u1"}"#,
        ),
        (json!({"copy": {"from": ["message_id"], "to": "context.id"}}), "context", r#"{"id":"m1"}"#),
        (json!({"copy": {"from": ["type"], "to": "context.t"}}), "context", r#"{"t":"track"}"#),
        (
            json!({"copy": {"from": ["received_at"], "to": "context.at"}}),
            "context",
            r#"{"at":"2023-11-14T22:13:20.000000Z"}"#,
        ),
        (
            json!({"copy": {"from": ["traits"], "to": "context.traits"}}),
            "context",
            &format!(r#"{{"traits":{TRAITS}}}"#),
        ),
        (
            json!({"copy": {"from": ["properties.gone", "properties.none", "properties.email", "user_id"], "to": "name"}}),
            "name",
            "A@b.c",
        ),
        (json!({"copy": {"from": ["properties.order.id"], "to": "group_id"}}), "group_id", "42"),
        (json!({"copy": {"from": ["properties.order.total"], "to": "group_id"}}), "group_id", "1.50"),
        (json!({"set": {"path": "event", "value": "Bought"}}), "event", "Bought"),
        (json!({"rename": {"from": "properties.email", "to": "user_id"}}), "user_id", "A@b.c"),
    ] {
        let after = mapped(json!([rule]));
        assert_eq!(text(&after, field), Some(expected), "{rule}");
        for other in ["properties", "traits", "context", "user_id", "group_id", "name", "event"] {
            if other != field && !rule.to_string().contains(other) {
                assert_eq!(text(&after, other), text(&event().record, other), "{rule}: `{other}`");
            }
        }
    }
}

#[test]
fn a_rule_that_does_not_fit_changes_nothing() {
    for rule in [
        json!({"rename": {"from": "properties.gone", "to": "properties.order"}}),
        json!({"rename": {"from": "properties.order", "to": "user_id"}}),
        json!({"rename": {"from": "properties.none", "to": "user_id"}}),
        json!({"rename": {"from": "properties.order.id", "to": "properties.email.id"}}),
        json!({"rename": {"from": "properties.order", "to": "properties.order.list[1]"}}),
        json!({"rename": {"from": "properties.order", "to": "properties.order"}}),
        json!({"rename": {"from": "properties.email", "to": "traits"}}),
        json!({"rename": {"from": "group_id", "to": "user_id"}}),
        json!({"rename": {"from": "user_id", "to": "user_id"}}),
        json!({"rename": {"from": "context", "to": "traits"}}),
        json!({"drop": {"path": "properties.gone.too"}}),
        json!({"drop": {"path": "properties.list[3]"}}),
        json!({"drop": {"path": "properties.email.x"}}),
        json!({"drop": {"path": "context.page"}}),
        json!({"drop": {"path": "group_id"}}),
        json!({"set": {"path": "properties.email.x", "value": 1}}),
        json!({"set": {"path": "properties.list.x", "value": 1}}),
        json!({"set": {"path": "properties.list[4]", "value": 1}}),
        json!({"set": {"path": "context.list[1]", "value": 1}}),
        json!({"copy": {"from": ["properties.none", "context.x"], "to": "properties.order"}}),
        json!({"copy": {"from": ["properties.list"], "to": "name"}}),
    ] {
        let same = json!({"rename": {"from": "properties.order", "to": "properties.order"}}) == rule;
        let after = mapped(json!([rule]));
        if same {
            let parsed =
                |text: Option<&str>| serde_json::from_str::<Value>(text.expect("text")).expect("JSON");
            assert_eq!(parsed(text(&after, "properties")), parsed(Some(PROPERTIES)));
        } else {
            assert_eq!(after, event().record, "{rule}");
        }
    }
}

#[test]
fn an_empty_text_is_no_id() {
    let rules = json!([
        {"set": {"path": "properties.blank", "value": ""}},
        {"copy": {"from": ["properties.blank"], "to": "user_id"}},
        {"copy": {"from": ["properties.blank"], "to": "event"}},
    ]);
    let after = mapped(rules);
    assert_eq!(text(&after, "user_id"), Some("u1"));
    assert_eq!(text(&after, "event"), Some(""));
}

#[test]
fn rules_are_applied_one_after_the_other() {
    let after = mapped(json!([
        {"set": {"path": "properties.a", "value": 1}},
        {"rename": {"from": "properties.a", "to": "traits.b"}},
        {"copy": {"from": ["traits.b"], "to": "group_id"}},
        {"drop": {"path": "traits"}},
        {"drop": {"path": "user_id"}},
    ]));
    assert_eq!(text(&after, "group_id"), Some("1"));
    assert_eq!(text(&after, "traits"), None);
    assert_eq!(text(&after, "user_id"), None);
    assert_eq!(after.message_id, "m1");
}

#[test]
fn the_last_of_several_members_with_one_name_counts_and_goes() {
    let mut twice = event();
    twice.record.properties = Some(Cow::Borrowed(r#"{"a":1,"b":2,"a":3}"#));
    let apply =
        |rule: Rule| Mapping::compile(&[rule]).expect("it compiles").apply(twice.clone()).record.properties;
    let renamed = apply(Rule::Rename { from: "properties.a".into(), to: "properties.c".into() });
    assert_eq!(renamed.as_deref(), Some(r#"{"b":2,"c":3}"#));
    let dropped = apply(Rule::Drop { path: "properties.a".into() });
    assert_eq!(dropped.as_deref(), Some(r#"{"b":2}"#));
}

#[test]
fn a_wrong_rule_is_refused_with_its_place() {
    let set = |path: &str, value| Rule::Set { path: path.into(), value };
    let copy = |from: &[&str], to: &str| Rule::Copy {
        from: from.iter().map(|path| (*path).to_owned()).collect(),
        to: to.into(),
    };
    let good = Rule::Drop { path: "traits.x".into() };
    for (rule, field, at, words) in [
        (Rule::Drop { path: "traits.a b".into() }, "path", 8, "cannot stand here"),
        (Rule::Drop { path: "message_id".into() }, "path", 0, "`message_id` can be copied, but not changed"),
        (Rule::Rename { from: "type".into(), to: "traits.x".into() }, "from", 0, "not changed"),
        (Rule::Rename { from: "traits.x".into(), to: "received_at".into() }, "to", 0, "not changed"),
        (copy(&["traits.x", "trait.x"], "name"), "from[1]", 0, "`trait` is no field"),
        (copy(&[], "name"), "from", 0, "at least one"),
        (copy(&["name"], "nam"), "to", 0, "`nam` is no field"),
        (set("user_id", json!("")), "value", 0, "not empty"),
        (set("user_id", json!(null)), "value", 0, "text"),
        (set("event", json!({})), "value", 0, "text"),
        (set("traits", json!("x")), "value", 0, "an object"),
        (set("traits", json!([])), "value", 0, "an object"),
    ] {
        let error = Mapping::compile(&[good.clone(), rule]).expect_err(words);
        assert_eq!((error.rule, error.field.as_str(), error.at), (1, field, at), "{error}");
        assert!(error.message.contains(words), "{error}");
        assert!(error.to_string().starts_with(&format!("`mapping[1].{field}`: ")), "{error}");
    }
}

#[test]
fn no_rules_are_no_work() {
    let mapping = Mapping::compile(&[]).expect("nothing is wrong");
    assert!(mapping.is_empty());
    assert_eq!(mapping.apply(event()), event());
}
