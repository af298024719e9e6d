use super::*;
use pipeline::event::parse_timestamp;
use serde_json::{Value, json};

/// Checks one item as part of a batch and hands its event on, or what was broken.
fn checked<T>(item: &Value, then: impl FnOnce(Event<'_>) -> T) -> Result<T, Broken> {
    let text = item.to_string();
    with_envelope(&text, Shared::new(None, None, None, None), then)
}

fn with_envelope<T>(text: &str, shared: Shared<'_>, then: impl FnOnce(Event<'_>) -> T) -> Result<T, Broken> {
    let item = Item::parse(text).unwrap();
    let message_id = MessageId::read(item.message_id, || "made".to_owned())?;
    check(None, message_id, item, &shared).map(then)
}

/// A good call of each kind.
fn good(kind: &str) -> Value {
    let mut item = json!({ "type": kind, "messageId": "m", "userId": "u" });
    match kind {
        "track" => item["event"] = json!("Signed Up"),
        "group" => item["groupId"] = json!("g"),
        "alias" => item["previousId"] = json!("a"),
        _ => {}
    }
    item
}

#[test]
fn every_kind_of_call_is_taken() {
    for kind in Kind::ALL {
        assert_eq!(checked(&good(kind.as_str()), |event| event.kind), Ok(kind));
    }
}

#[test]
fn a_broken_rule_has_its_code_its_field_and_a_message() {
    let consent = |consent: Value| json!({ "consent": consent });
    let preferences = "context.consent.categoryPreferences";
    let updated = "Segment Consent Preference Updated";
    for (kind, field, value, code, named) in [
        ("track", "type", json!(null), "bad_request", "type"),
        ("track", "type", json!("click"), "bad_request", "type"),
        ("track", "type", json!(1), "bad_request", "type"),
        ("track", "type", json!("Track"), "bad_request", "type"),
        ("track", "userId", json!(""), "no_user_anon_id", "userId"),
        ("alias", "userId", json!(null), "no_user_anon_id", "userId"),
        ("group", "userId", json!(null), "no_user_anon_id", "userId"),
        ("track", "userId", json!({}), "id_not_string", "userId"),
        ("track", "userId", json!(1.5), "id_not_string", "userId"),
        ("track", "userId", json!(true), "id_not_string", "userId"),
        ("track", "anonymousId", json!([]), "id_not_string", "anonymousId"),
        ("group", "groupId", json!({}), "id_not_string", "groupId"),
        ("alias", "previousId", json!(false), "id_not_string", "previousId"),
        ("group", "groupId", json!(""), "id_required", "groupId"),
        ("group", "groupId", json!(null), "id_required", "groupId"),
        ("alias", "previousId", json!(""), "id_required", "previousId"),
        ("track", "messageId", json!({}), "bad_request", "messageId"),
        ("track", "messageId", json!(1.5), "bad_request", "messageId"),
        ("track", "event", json!(null), "event_not_defined", "event"),
        ("track", "event", json!(""), "event_not_defined", "event"),
        ("track", "event", json!(7), "event_not_string", "event"),
        ("track", "properties", json!([]), "properties_not_object", "properties"),
        ("page", "properties", json!("x"), "properties_not_object", "properties"),
        ("identify", "traits", json!("x"), "traits_not_object", "traits"),
        ("group", "traits", json!(1), "traits_not_object", "traits"),
        ("page", "name", json!(1), "name_not_string", "name"),
        ("screen", "name", json!({}), "name_not_string", "name"),
        ("page", "category", json!([]), "category_not_string", "category"),
        ("track", "context", json!([]), "bad_request", "context"),
        ("track", "context", json!("x"), "bad_request", "context"),
        ("track", "integrations", json!(true), "bad_request", "integrations"),
        ("track", "context", consent(json!(1)), "bad_request", "context.consent"),
        (
            "track",
            "context",
            consent(json!({ "version": 1 })),
            "consent_categorypreferences_should_exist",
            preferences,
        ),
        ("track", "event", json!(updated), "consent_categorypreferences_should_exist", preferences),
        (
            "track",
            "context",
            consent(json!({ "categoryPreferences": [] })),
            "consent_categorypreferences_fields_should_be_object",
            preferences,
        ),
        (
            "track",
            "context",
            consent(json!({ "categoryPreferences": { "Ads": "yes" } })),
            "consent_categorypreferences_fields_should_be_bool",
            "context.consent.categoryPreferences.Ads",
        ),
        (
            "track",
            "context",
            consent(json!({ "categoryPreferences": {}, "version": "2" })),
            "consent_version_should_be_number",
            "context.consent.version",
        ),
        (
            "track",
            "context",
            json!({ "device": { "advertisingId": 7 } }),
            "device_advertisingid_should_be_string",
            "context.device.advertisingId",
        ),
    ] {
        let mut item = good(kind);
        item[field] = value;
        let broken = checked(&item, |_| ()).expect_err(code);
        assert_eq!((broken.code, broken.field.as_deref()), (code, Some(named)), "{item}");
        let name = named.rsplit('.').next().unwrap();
        assert!(broken.message.contains(name) && broken.message.len() > 10, "{}", broken.message);
    }
}

#[test]
fn what_only_looks_wrong_is_taken() {
    for (kind, field, value) in [
        ("page", "name", json!("")),
        ("page", "name", json!(null)),
        ("track", "name", json!(7)),
        ("page", "event", json!(7)),
        ("track", "properties", json!(null)),
        ("track", "context", json!(null)),
        ("track", "context", json!({ "consent": {} })),
        ("track", "context", json!({ "consent": null })),
        ("track", "context", json!({ "consent": { "categoryPreferences": { "Ads": false }, "version": 2 } })),
        ("track", "context", json!({ "device": { "advertisingId": null } })),
        ("track", "context", json!({ "device": "x" })),
        ("track", "timestamp", json!("yesterday")),
        ("identify", "userId", json!(7)),
    ] {
        let mut item = good(kind);
        item[field] = value;
        assert_eq!(checked(&item, |_| ()), Ok(()), "{item}");
    }
}

#[test]
fn ids_are_text_and_whole_numbers_count_as_theirs() {
    let item = json!({ "type": "identify", "userId": 123, "anonymousId": "", "messageId": 77 });
    let text = item.to_string().replace("77", "123456789012345678901234567890");
    let ids = with_envelope(&text, Shared::new(None, None, None, None), |event| {
        (event.user_id.map(Cow::into_owned), event.anonymous_id.is_none(), event.message_id.into_owned())
    });
    assert_eq!(ids, Ok((Some("123".into()), true, "123456789012345678901234567890".into())));
}

#[test]
fn message_ids_are_made_fit_for_the_log() {
    let read = |json: Option<&str>| {
        let id = MessageId::read(json, || "made".to_owned()).unwrap();
        (id.id.into_owned(), id.original.map(Cow::into_owned), id.flags)
    };
    assert_eq!(read(Some("\" m \\n\"")), ("m".into(), None, Flags::default()));
    for missing in [None, Some("\"\""), Some("\" \\t\"")] {
        assert_eq!(read(missing), ("made".into(), None, Flags::MADE_MESSAGE_ID), "{missing:?}");
    }
    let hundred = "é".repeat(100);
    assert_eq!(read(Some(&format!("\"{hundred}\""))), (hundred, None, Flags::default()));
    let long = "x".repeat(101);
    let (hash, original, flags) = read(Some(&format!("\" {long}\"")));
    assert_eq!(hash, LONG_HASH);
    assert_eq!((original.as_deref(), flags), (Some(&*long), Flags::HASHED_MESSAGE_ID));
}

const LONG_HASH: &str = "c675a2e604b0cd1229c036e3ce0c87422980a245e295bbc605a507a2299752db";

#[test]
fn times_are_the_clients_and_one_that_cannot_be_read_is_kept_as_it_is() {
    let (a, b) = ("2026-01-15T11:00:00Z", "2026-01-15T10:00:00Z");
    let time = |text: &str| parse_timestamp(text);
    let bad = Flags::INVALID_TIMESTAMP;
    let none = Flags::default();
    for (fields, envelope, original, sent_at, flags, extra) in [
        (json!({}), None, None, None, none, None),
        (json!({ "timestamp": a }), None, time(a), None, none, None),
        (json!({ "originalTimestamp": a }), None, time(a), None, none, None),
        (
            json!({ "timestamp": a, "originalTimestamp": "2026-01-15T12:00:00+01:00" }),
            None,
            time(a),
            None,
            none,
            None,
        ),
        (
            json!({ "timestamp": a, "originalTimestamp": b }),
            None,
            time(a),
            None,
            none,
            Some(json!({ "originalTimestamp": b })),
        ),
        (json!({ "timestamp": "x" }), None, None, None, bad, Some(json!({ "timestamp": "x" }))),
        (json!({ "timestamp": 5 }), None, None, None, bad, Some(json!({ "timestamp": 5 }))),
        (
            json!({ "timestamp": "x", "originalTimestamp": a }),
            None,
            time(a),
            None,
            bad,
            Some(json!({ "timestamp": "x" })),
        ),
        (json!({ "sentAt": a }), Some(b), None, time(a), none, None),
        (json!({}), Some(b), None, time(b), none, None),
        (json!({ "sentAt": "x" }), Some(b), None, time(b), bad, Some(json!({ "sentAt": "x" }))),
        (json!({}), Some("y"), None, None, bad, Some(json!({ "sentAt": "y" }))),
        (json!({ "sentAt": "x" }), Some("y"), None, None, bad, Some(json!({ "sentAt": "x" }))),
    ] {
        let mut item = good("track");
        item.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let envelope = envelope.map(|text| format!("\"{text}\""));
        let shared = Shared::new(None, None, envelope.as_deref(), None);
        let found = with_envelope(&item.to_string(), shared, |event| {
            let extra = event.extra.map(|extra| serde_json::from_str::<Value>(&extra).unwrap());
            (event.original_timestamp, event.sent_at, event.flags, extra)
        });
        assert_eq!(found, Ok((original, sent_at, flags, extra)), "{item} {envelope:?}");
    }
}

#[test]
fn all_that_has_no_column_is_kept_in_extra_and_the_key_is_not() {
    let text = r#"{"type":"track","event":"e","userId":"u","messageId":"m","writeKey":"secret",
        "receivedAt":"2026-01-15T11:00:00Z","version":2,"channel":"web","projectId":"p","a":1,"a":[2,  3],
        "na\"me":null,"name":"n","big":123456789012345678901234567890,"event":"last"}"#;
    let found = with_envelope(text, Shared::new(None, None, None, None), |event| {
        (event.event.unwrap().into_owned(), event.extra.unwrap().into_owned())
    });
    let extra = r#"{"receivedAt":"2026-01-15T11:00:00Z","version":2,"channel":"web","projectId":"p","a":[2,  3],"na\"me":null,"big":123456789012345678901234567890,"name":"n"}"#;
    assert_eq!(found, Ok(("last".into(), extra.into())));
}

#[test]
fn the_path_names_the_kind_and_another_type_is_kept_in_extra() {
    for (said, extra) in
        [(r#""track""#, None), (r#""page""#, Some(r#"{"type":"page"}"#)), ("5", Some(r#"{"type":5}"#))]
    {
        let text = format!(r#"{{"type":{said},"event":"e","userId":"u"}}"#);
        let item = Item::parse(&text).unwrap();
        let id = MessageId::read(None, String::new).unwrap();
        let shared = Shared::new(None, None, None, None);
        let event = check(Some(Kind::Track), id, item, &shared).unwrap();
        assert_eq!((event.kind, event.extra.as_deref()), (Kind::Track, extra));
    }
}

#[test]
fn nesting_is_allowed_to_a_depth_and_the_field_is_named() {
    let nested = |field: &str, levels: usize| {
        let mut item = good("track").to_string();
        let value = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        crate::object::put_entry(&mut item, field, &value);
        with_envelope(&item, Shared::new(None, None, None, None), |_| ())
    };
    for field in ["properties", "traits", "context", "integrations", "other"] {
        assert_eq!(nested(field, DEPTH_MAX - 1), Ok(()), "{field}");
        for levels in [DEPTH_MAX, 5_000] {
            let broken = nested(field, levels).unwrap_err();
            assert_eq!((broken.code, broken.field.as_deref()), ("bad_request", Some(field)));
        }
    }
}
