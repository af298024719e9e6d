//! Every example event of Segment's specification, broken by every rule that can be broken.

use crate::crashes::check_accounts;
use crate::harness::{Server, Start, WRITE_KEY, skip};
use crate::http::{Connection, Request};
use crate::spec_events::spec_events;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What an event must become: accepted, or rejected with this code and this field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Accepted,
    Rejected(&'static str, Option<&'static str>),
}
use Outcome::{Accepted, Rejected};

/// One way to break an event, and what comes of it.
struct Variant {
    rule: String,
    event: Value,
    outcome: Outcome,
}

#[test]
fn every_broken_event_of_the_specification_is_rejected_by_its_rule_and_kept() {
    let test = "every_broken_event_of_the_specification_is_rejected_by_its_rule_and_kept";
    let Some(events) = spec_events() else { return skip(test, "it needs FLOWSTATE_SPECS") };
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    let mut connection = server.connect();
    let mut all = Vec::new();
    for event in &events {
        let variants = variants(event);
        send_as_batch(&mut connection, &variants);
        all.extend(variants);
    }
    assert!(all.len() > 131 * 40, "{} variants", all.len());
    check_rows(&server, &all);
    check_accounts(&server);

    // Alone, they are answered with the same code: one event of each kind, by every rule.
    let mut kinds: HashMap<&str, &Value> = HashMap::new();
    for event in &events {
        kinds.entry(event["type"].as_str().unwrap()).or_insert(event);
    }
    assert_eq!(kinds.len(), 6);
    for event in kinds.values() {
        for variant in variants(event) {
            send_alone(&mut connection, event["type"].as_str().unwrap(), &variant);
        }
    }
    check_accounts(&server);
    assert!(!server.said().contains("panicked"), "{}", server.said());
}

/// All ways to break this event, each with a message id of its own where it can have one.
fn variants(event: &Value) -> Vec<Variant> {
    let kind = event["type"].as_str().unwrap();
    let mut made = Vec::new();
    let mut make = |rule: String, outcome: Outcome, change: &dyn Fn(&mut Map<String, Value>)| {
        let mut event = event.clone();
        event["messageId"] = format!("{rule}|{}", event["messageId"].as_str().unwrap()).into();
        change(event.as_object_mut().unwrap());
        made.push(Variant { rule, event, outcome });
    };

    missing_and_mistyped(kind, &mut make);
    let consent_code = |name: &str| format!("consent {name}");
    for (name, consent, code, field) in [
        ("empty", json!({ "categoryPreferences": null }), CONSENT_MISSING, CONSENT),
        ("text", json!("yes"), "bad_request", "context.consent"),
        ("list", json!({ "categoryPreferences": [true] }), CONSENT_OBJECT, CONSENT),
        ("word", json!({ "categoryPreferences": { "ads": "no" } }), CONSENT_BOOL, CONSENT_ADS),
        (
            "version",
            json!({ "categoryPreferences": { "ads": true }, "version": "1" }),
            "consent_version_should_be_number",
            "context.consent.version",
        ),
    ] {
        make(consent_code(name), Rejected(code, Some(field)), &|event| {
            event["context"]["consent"] = consent.clone();
        });
    }
    make(
        "device".into(),
        Rejected("device_advertisingid_should_be_string", Some("context.device.advertisingId")),
        &|event| event["context"]["device"] = json!({ "advertisingId": 7 }),
    );

    // Oversized.
    make("large".into(), Rejected("event_too_large", None), &|event| {
        event.insert("more".into(), "x".repeat(40_000).into());
    });
    for field in ["properties", "traits", "context", "unknown"] {
        let deep = (0..80).fold(json!(1), |inner, _| json!({ "a": inner }));
        let rule = format!("deep {field}");
        make(rule, Rejected("bad_request", Some(field)), &|event| {
            event.insert(field.into(), deep.clone());
        });
    }

    // Hostile, and yet events: what a text or a key holds breaks nothing.
    let hostile =
        ["'; DROP TABLE events; --", "\u{202e}<script>alert(1)</script>", "{{7*7}} %s%n ${jndi:ldap://x}"];
    for (number, text) in hostile.into_iter().enumerate() {
        make(format!("hostile {number}"), Accepted, &|event| {
            event.insert("properties".into(), json!({ text: text, "__proto__": { "admin": true } }));
            event.insert("userId".into(), text.into());
            event.insert(text.into(), text.into());
        });
    }
    make("NUL".into(), Accepted, &|event| {
        event.insert("properties".into(), json!({ "a\u{0}b": "c\u{0}d" }));
    });
    make("many keys".into(), Accepted, &|event| {
        let keys = (0..1_500).map(|number| (format!("k{number}"), json!(number)));
        event.insert("properties".into(), Value::Object(keys.collect()));
    });
    make("odd times".into(), Accepted, &|event| {
        event.insert("timestamp".into(), "yesterday".into());
        event.insert("sentAt".into(), json!({ "at": -1 }));
    });
    make("long id".into(), Accepted, &|event| {
        let id = event["messageId"].as_str().unwrap().repeat(10);
        event.insert("messageId".into(), id.into());
    });
    made
}

const CONSENT: &str = "context.consent.categoryPreferences";
const CONSENT_ADS: &str = "context.consent.categoryPreferences.ads";
const CONSENT_MISSING: &str = "consent_categorypreferences_should_exist";
const CONSENT_OBJECT: &str = "consent_categorypreferences_fields_should_be_object";
const CONSENT_BOOL: &str = "consent_categorypreferences_fields_should_be_bool";

fn missing_and_mistyped(
    kind: &str,
    make: &mut impl FnMut(String, Outcome, &dyn Fn(&mut Map<String, Value>)),
) {
    let wrong =
        [("true", json!(true)), ("fraction", json!(1.5)), ("list", json!(["a"])), ("object", json!({}))];
    let ids = ["userId", "anonymousId", "groupId", "previousId"];
    for (what, value) in &wrong {
        for id in ids {
            make(format!("{id} {what}"), Rejected("id_not_string", Some(id)), &|event| {
                event.insert(id.into(), value.clone());
            });
        }
        make(format!("messageId {what}"), Rejected("bad_request", Some("messageId")), &|event| {
            event.insert("messageId".into(), value.clone());
        });
    }
    for (field, code) in [
        ("properties", "properties_not_object"),
        ("traits", "traits_not_object"),
        ("context", "bad_request"),
        ("integrations", "bad_request"),
    ] {
        for (what, value) in [("text", json!("x")), ("number", json!(7)), ("list", json!([{}]))] {
            make(format!("{field} {what}"), Rejected(code, Some(field)), &|event| {
                event.insert(field.into(), value.clone());
            });
        }
    }
    for (what, value) in [("empty", json!("")), ("null", Value::Null)] {
        make(format!("nobody {what}"), Rejected("no_user_anon_id", Some("userId")), &|event| {
            event.insert("userId".into(), value.clone());
            event.insert("anonymousId".into(), value.clone());
        });
        let required: &[(&'static str, &'static str)] = match kind {
            "track" => &[("event", "event_not_defined")],
            "group" => &[("groupId", "id_required")],
            _ => &[],
        };
        for &(field, code) in required {
            make(format!("{field} {what}"), Rejected(code, Some(field)), &|event| {
                event.insert(field.into(), value.clone());
            });
        }
        if kind == "alias" {
            make(format!("userId {what}"), Rejected("id_required", Some("userId")), &|event| {
                event.insert("anonymousId".into(), "a".into());
                event.insert("userId".into(), value.clone());
            });
            make(format!("previousId {what}"), Rejected("id_required", Some("previousId")), &|event| {
                event.insert("userId".into(), "u".into());
                event.remove("anonymousId");
                event.insert("previousId".into(), value.clone());
            });
        }
    }
    let names: &[(&'static str, &'static str)] = match kind {
        "track" => &[("event", "event_not_string")],
        "page" | "screen" => &[("name", "name_not_string"), ("category", "category_not_string")],
        _ => &[],
    };
    for &(field, code) in names {
        for (what, value) in &wrong {
            make(format!("{field} {what}"), Rejected(code, Some(field)), &|event| {
                event.insert(field.into(), value.clone());
            });
        }
    }
}

/// Broken ones that only an item of a batch can be: a path names the kind of a single event.
fn of_a_batch(variants: &[Variant]) -> Vec<Variant> {
    let event = &variants[0].event;
    let with = |rule: &str, kind: Value| {
        let mut event = event.clone();
        event["messageId"] = format!("{rule}|{}", event["messageId"]).into();
        event["type"] = kind;
        Variant { rule: rule.to_owned(), event, outcome: Rejected("bad_request", Some("type")) }
    };
    let items = [json!(7), json!("text"), json!([]), Value::Null].map(|event| Variant {
        rule: "no object".into(),
        event,
        outcome: Rejected("bad_request", None),
    });
    let kinds = [
        with("type unknown", "purchase".into()),
        with("type number", json!(7)),
        with("type null", Value::Null),
    ];
    items.into_iter().chain(kinds).collect()
}

fn send_as_batch(connection: &mut Connection, variants: &[Variant]) {
    let more = of_a_batch(variants);
    let variants: Vec<&Variant> = variants.iter().chain(&more).collect();
    let batch: Vec<&Value> = variants.iter().map(|variant| &variant.event).collect();
    let request = Request::post("/v1/batch?verbose=1").write_key(WRITE_KEY).json(&json!({ "batch": batch }));
    let reply = connection.send(&request).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), variants.len());
    for (variant, result) in variants.iter().zip(results) {
        let found = match result["status"].as_str().unwrap() {
            "rejected" => result["code"].as_str(),
            "accepted" => None,
            other => panic!("{}: {other}", variant.rule),
        };
        let expected = match variant.outcome {
            Rejected(code, _) => Some(code),
            Accepted => None,
        };
        assert_eq!(found, expected, "{}: {result}\n{}", variant.rule, variant.event);
    }
}

fn send_alone(connection: &mut Connection, kind: &str, variant: &Variant) {
    let mut event = variant.event.clone();
    if let Some(id) = event["messageId"].as_str() {
        event["messageId"] = format!("alone|{id}").into();
    }
    let request = Request::post(&format!("/v1/{kind}")).write_key(WRITE_KEY).json(&event);
    let reply = connection.send(&request).unwrap();
    match variant.outcome {
        Accepted => assert_eq!(reply.status, 200, "{}: {}", variant.rule, reply.text()),
        Rejected(code, field) => {
            let answer = reply.json();
            assert_eq!(
                (reply.status, answer["code"].as_str()),
                (400, Some(code)),
                "{}: {answer}",
                variant.rule
            );
            let field = field.map(|field| field.rsplit('.').next().unwrap()).unwrap_or("bytes");
            assert!(answer["message"].as_str().unwrap().contains(field), "{}: {answer}", variant.rule);
        }
    }
}

/// Each rejected one is kept with its code, its field and its whole body; each accepted one is stored.
fn check_rows(server: &Server, all: &[Variant]) {
    let is_rejected = |variant: &&Variant| variant.outcome != Accepted;
    let rejected: Vec<&Variant> = all.iter().filter(is_rejected).collect();
    let rows = server.sql("SELECT code, field, body FROM rejected WHERE body LIKE '{%'");
    let mut kept: HashMap<(String, String, String), usize> = HashMap::new();
    for row in &rows {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        *kept.entry((text("code"), text("field"), text("body"))).or_default() += 1;
    }
    for variant in &rejected {
        let Rejected(code, field) = variant.outcome else { continue };
        let key = (code.to_owned(), field.unwrap_or_default().to_owned(), variant.event.to_string());
        let left =
            kept.get_mut(&key).unwrap_or_else(|| panic!("`{}` was not kept so: {key:?}", variant.rule));
        assert_ne!(*left, 0, "`{}` is not kept as often as it was sent", variant.rule);
        *left -= 1;
    }
    // Seven more of each event were broken as only an item of a batch can be; four are no objects.
    assert_eq!(server.number("SELECT count(*) FROM rejected"), (rejected.len() + 131 * 7) as i64);
    assert_eq!(server.number("SELECT count(*) FROM events"), (all.len() - rejected.len()) as i64);
}
