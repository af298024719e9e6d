use super::*;
use crate::testing::{BROWSER, SERVER, records, request, tools};
use pipeline::event::{Event, Flags, Record};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn batch_of(items: &str) -> String {
    format!(r#"{{"batch":[{items}]}}"#)
}

fn run(tools: &Tools, call: Call, key: &str, body: impl AsRef<[u8]>) -> Result<Prepared, Fault> {
    prepare(tools, &request(tools, call, key), body.as_ref())
}

fn events(prepared: &Prepared) -> Vec<Event<'_>> {
    records(prepared)
        .into_iter()
        .filter_map(|record| match record {
            Record::Event(event) => Some(event),
            Record::Rejected(_) => None,
        })
        .collect()
}

fn rejected(prepared: &Prepared) -> Vec<Rejected<'_>> {
    records(prepared)
        .into_iter()
        .filter_map(|record| match record {
            Record::Event(_) => None,
            Record::Rejected(rejected) => Some(rejected),
        })
        .collect()
}

const GOOD: &str =
    r#"{"type":"track","event":"e","userId":"u","messageId":"m","properties":{"n":1.50, "é":"\u00e9"}}"#;

#[actix_web::test]
async fn an_event_is_kept_as_the_client_wrote_it() {
    let tools = tools(Config::default()).await;
    for (call, body) in [(Call::One(Some(Kind::Track)), GOOD.to_owned()), (Call::Batch, batch_of(GOOD))] {
        let prepared = run(&tools, call, SERVER, format!("\u{feff} {body}\n")).unwrap();
        let mut expected = Event::new(Kind::Track, "m");
        expected.user_id = Some("u".into());
        expected.event = Some("e".into());
        expected.properties = Some(r#"{"n":1.50, "é":"\u00e9"}"#.into());
        assert_eq!(events(&prepared), [expected]);
        assert_eq!(&*prepared.source, "server");
    }
}

#[actix_web::test]
async fn an_envelope_gives_its_items_what_they_lack() {
    let tools = tools(Config::default()).await;
    let body = format!(
        r#"{{"context":{{"a":1,"b":1}},"integrations":{{"All":false}},"sentAt":"2026-01-15T12:00:00Z",
            "batch":[{GOOD},{{"type":"identify","userId":"u","context":{{"b":2}},"integrations":{{"X":true}}}}]}}"#
    );
    let prepared = run(&tools, Call::Batch, SERVER, &body).unwrap();
    let events = events(&prepared);
    assert_eq!(events[0].context.as_deref(), Some(r#"{"a":1,"b":1}"#));
    assert_eq!(events[1].context.as_deref(), Some(r#"{"b":2,"a":1}"#));
    assert_eq!(events[1].integrations.as_deref(), Some(r#"{"X":true,"All":false}"#));
    assert!(events.iter().all(|event| event.sent_at == Some(crate::testing::NOW)));
    assert!(events[1].flags.contains(Flags::MADE_MESSAGE_ID));
    let id = uuid::Uuid::parse_str(&events[1].message_id).unwrap();
    let made = id.get_timestamp().unwrap().to_unix();
    assert_eq!((id.get_version_num(), made.0 as i64), (7, crate::testing::NOW / 1_000_000));
}

#[actix_web::test]
async fn the_address_is_filled_in_for_public_keys_only() {
    let tools = tools(Config::default()).await;
    let context = |key: &str| {
        let prepared = run(&tools, Call::Batch, key, batch_of(GOOD)).unwrap();
        events(&prepared)[0].context.clone().map(Cow::into_owned)
    };
    assert_eq!(context(BROWSER).as_deref(), Some(r#"{"ip":"198.51.100.7"}"#));
    assert_eq!(context(SERVER), None);
}

#[actix_web::test]
async fn one_bad_item_spoils_no_other() {
    let tools = tools(Config::default()).await;
    let deep = format!(r#"{{"type":"track","x":{}{}}}"#, "[".repeat(9_000), "]".repeat(9_000));
    let huge = format!(r#"{{"messageId":"huge","properties":{{"x":"{}"}}}}"#, "é".repeat(17_000));
    let bad = ["7", "null", "[]", "\"x\"", r#"{"type":"track","messageId":"b"}"#, &deep, &huge];
    let items: Vec<&str> = bad.iter().flat_map(|bad| [*bad, GOOD]).collect();
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(&items.join(" , "))).unwrap();
    assert_eq!(events(&prepared).len(), bad.len());
    let rejected = rejected(&prepared);
    let codes: Vec<&str> = rejected.iter().map(|rejected| &*rejected.code).collect();
    let b = "bad_request";
    assert_eq!(codes, [b, b, b, b, "no_user_anon_id", b, "event_too_large"]);
    for (rejected, bad) in rejected.iter().zip(bad) {
        assert_eq!(rejected.body.as_deref(), Some(bad));
        assert_eq!(rejected.body_bytes, bad.len() as u64);
    }
    let ids: Vec<_> = rejected.iter().map(|rejected| rejected.message_id.as_deref()).collect();
    assert_eq!(ids, [None, None, None, None, Some("b"), None, Some("huge")]);
}

#[actix_web::test]
async fn a_body_that_is_nothing_fails_as_a_whole() {
    let tools = tools(Config::default()).await;
    for (body, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("no json", "invalid_json"),
        (r#"{"batch":[{},]}"#, "invalid_json"),
        (r#"{"batch":[]} x"#, "invalid_json"),
        ("{\"batch\":[\"\0\"]}", "invalid_json"),
        ("{}", "empty_batch"),
        (r#"{"batch":[]}"#, "empty_batch"),
        (r#"{"batch":null}"#, "empty_batch"),
        (r#"{"batch":{}}"#, "bad_request"),
        (r#"{"batch":"x"}"#, "bad_request"),
        ("[]", "bad_request"),
        ("7", "bad_request"),
    ] {
        let fault = run(&tools, Call::Batch, SERVER, body).unwrap_err();
        assert_eq!((fault.status.as_u16(), fault.code), (400, code), "{body:?}");
    }
    for body in ["", "{", "x", "{}}", "{\"a\":\"\0\"}"] {
        let fault = run(&tools, Call::One(None), SERVER, body).unwrap_err();
        assert_eq!(fault.code, "invalid_json", "{body:?}");
    }
    let fault = run(&tools, Call::Batch, SERVER, b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(fault.code, "invalid_json");
    assert!(fault.message.contains("position 6"), "{}", fault.message);
}

#[actix_web::test]
async fn a_single_event_that_is_no_object_is_rejected_and_kept() {
    let tools = tools(Config::default()).await;
    for body in ["[1]", "7", "\"x\"", "null"] {
        let prepared = run(&tools, Call::One(Some(Kind::Page)), SERVER, body).unwrap();
        assert_eq!(rejected(&prepared)[0].body.as_deref(), Some(body));
    }
}

#[actix_web::test]
async fn a_key_in_the_body_names_the_source_and_is_kept_nowhere() {
    let tools = tools(Config::default()).await;
    let one = |fields: &str| format!(r#"{{"writeKey":"{SERVER}","userId":"u","x":"\u0000"{fields}}}"#);
    let bodies = [
        (Call::One(Some(Kind::Track)), one(r#","event":"e""#)),
        (Call::One(Some(Kind::Track)), one("")),
        (Call::One(Some(Kind::Track)), format!(r#"{{"\u0077riteKey":"{SERVER}","writeKey":"{SERVER}"}}"#)),
        (Call::Batch, format!(r#"{{"writeKey":"{SERVER}","batch":[{},{GOOD},7]}}"#, one(""))),
    ];
    for (call, body) in bodies {
        let prepared = run(&tools, call, "none", &body).unwrap();
        assert_eq!(&*prepared.source, "server");
        let kept = format!("{:?}", records(&prepared));
        assert!(!kept.contains(SERVER), "{kept}");
    }
    for (key, code) in [("x", "unknown_source"), ("", "unknown_source"), ("disabled-key", "source_disabled")]
    {
        let body = format!(r#"{{"writeKey":"{key}","batch":[{GOOD}]}}"#);
        assert_eq!(run(&tools, Call::Batch, "none", &body).unwrap_err().code, code);
    }
    let in_an_item = format!(r#"{{"batch":[{{"writeKey":"{SERVER}"}}]}}"#);
    assert_eq!(run(&tools, Call::Batch, "none", in_an_item).unwrap_err().code, "unknown_source");
}

#[actix_web::test]
async fn nul_and_lone_surrogates_are_replaced_and_only_their_event_is_flagged() {
    let tools = tools(Config::default()).await;
    let bad = r#"{"type":"track","event":"a\u0000b","userId":"u\ud800","properties":{"\ude00":"\u0000"}}"#;
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(&format!("{GOOD},{bad},{GOOD}"))).unwrap();
    let events = events(&prepared);
    let flagged: Vec<bool> =
        events.iter().map(|event| event.flags.contains(Flags::REPLACED_CHARACTERS)).collect();
    assert_eq!(flagged, [false, true, false]);
    assert_eq!(events[1].event.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(events[1].user_id.as_deref(), Some("u\u{fffd}"));
    assert_eq!(events[1].properties.as_deref(), Some(r#"{"\uFFFD":"\uFFFD"}"#));
    let shared = format!(r#"{{"context":{{"a":"\u0000"}},"batch":[{GOOD}]}}"#);
    let prepared = run(&tools, Call::Batch, SERVER, shared).unwrap();
    assert!(super::tests::events(&prepared)[0].flags.contains(Flags::REPLACED_CHARACTERS));
    let rejected_as_it_came = r#"{"type":"track","event":"\u0000"}"#;
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(rejected_as_it_came)).unwrap();
    assert_eq!(rejected(&prepared)[0].body.as_deref(), Some(rejected_as_it_came));
}

#[actix_web::test]
async fn events_behind_the_limit_are_rejected_one_by_one_and_a_flood_as_a_whole() {
    let tools = tools(Config { batch_events_max: 3, ..Config::default() }).await;
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(&[GOOD; 5].join(","))).unwrap();
    assert_eq!(events(&prepared).len(), 3);
    assert!(rejected(&prepared).iter().all(|rejected| rejected.code == "batch_too_long"));
    assert_eq!(rejected(&prepared).len(), 2);
    assert_eq!(run(&tools, Call::Batch, SERVER, batch_of(&["1"; 30].join(","))).unwrap().batch.len(), 30);
    let fault = run(&tools, Call::Batch, SERVER, batch_of(&["1"; 31].join(","))).unwrap_err();
    assert_eq!(fault.code, "request_too_large");
}

#[actix_web::test]
async fn a_small_request_cannot_grow_to_a_large_one() {
    let tools = tools(Config::default()).await;
    let context = "x".repeat(100_000);
    let body = format!(r#"{{"context":{{"x":"{context}"}},"batch":[{}]}}"#, [GOOD; 200].join(","));
    assert_eq!(run(&tools, Call::Batch, SERVER, body).unwrap_err().code, "request_too_large");
}

#[actix_web::test]
async fn rejected_bodies_are_cut_and_bounded_by_a_quota() {
    let config = Config { rejected_bytes_per_hour: 3 << 20, ..Config::default() };
    let tools = tools(config).await;
    let large = format!(r#"{{"x":"a{}"}}"#, "é".repeat(700_000));
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(&large)).unwrap();
    let kept = rejected(&prepared);
    let body = kept[0].body.as_deref().unwrap();
    assert!(
        large.starts_with(body) && body.len() == (1 << 20) - usize::from(!large.is_char_boundary(1 << 20))
    );
    assert_eq!(kept[0].body_bytes, large.len() as u64);
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(&[large.as_str(); 2].join(","))).unwrap();
    let kept = rejected(&prepared);
    assert!(kept.iter().all(|kept| kept.body_bytes == large.len() as u64));
    let bodies: Vec<bool> = kept.iter().map(|kept| kept.body.is_some()).collect();
    assert_eq!(bodies, [true, true]);
    let prepared = run(&tools, Call::Batch, SERVER, batch_of(&large)).unwrap();
    assert_eq!(rejected(&prepared)[0].body, None);
}

#[actix_web::test]
async fn every_fixture_is_accepted() {
    let tools = tools(Config::default()).await;
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/events/calls.jsonl"));
    for line in text.expect("the fixtures are part of the repository").lines() {
        let prepared = run(&tools, Call::Batch, SERVER, batch_of(line)).unwrap();
        assert_eq!(rejected(&prepared), [], "{line}");
        assert_loses_nothing(line, &events(&prepared)[0]);
    }
}

/// Every field of `item` stands in the event, changed only where the contract says so.
fn assert_loses_nothing(item: &str, event: &Event<'_>) {
    let item: Value = serde_json::from_str(item).unwrap();
    let extra: Value = serde_json::from_str(event.extra.as_deref().unwrap_or("{}")).unwrap();
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().map_or(Value::Null, Value::from);
    let parsed = |json: &Option<Cow<'_, str>>| {
        json.as_deref().map_or(Value::Null, |json| serde_json::from_str(json).unwrap())
    };
    for (key, value) in item.as_object().unwrap() {
        let kept = match key.as_str() {
            "type" => event.kind.as_str().into(),
            "messageId" => Value::from(&*event.message_id),
            "userId" => text(&event.user_id),
            "anonymousId" => text(&event.anonymous_id),
            "groupId" => text(&event.group_id),
            "previousId" => text(&event.previous_id),
            "event" if event.kind == Kind::Track => text(&event.event),
            "name" if matches!(event.kind, Kind::Page | Kind::Screen) => text(&event.name),
            "category" if matches!(event.kind, Kind::Page | Kind::Screen) => text(&event.category),
            "properties" => parsed(&event.properties),
            "traits" => parsed(&event.traits),
            "context" => parsed(&event.context),
            "integrations" => parsed(&event.integrations),
            "timestamp" | "originalTimestamp" | "sentAt" => continue,
            _ => extra[key].clone(),
        };
        let as_text = value.as_i64().map_or(Value::Null, |number| number.to_string().into());
        let is_empty = value == "" && kept.is_null();
        assert!(kept == *value || kept == as_text || is_empty, "{key} of {item} became {kept}");
    }
}

/// The events of Segment's public documents, when the folder with them is named.
#[actix_web::test]
#[expect(clippy::disallowed_methods, reason = "names what is not part of the repository")]
async fn every_event_of_the_public_documents_is_accepted() {
    let Ok(folder) = std::env::var("FLOWSTATE_SPECS") else {
        let test = "every_event_of_the_public_documents_is_accepted: FLOWSTATE_SPECS is not set";
        eprintln!("skipped: {test}");
        if let Ok(path) = std::env::var("FLOWSTATE_TEST_SKIPPED") {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, format!("{test}\n").as_bytes()).unwrap();
        }
        return;
    };
    let tools = tools(Config::default()).await;
    let text = std::fs::read_to_string(format!("{folder}/segment/spec_events.jsonl")).unwrap();
    let mut count = 0;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let prepared = run(&tools, Call::Batch, SERVER, batch_of(&line["event"].to_string())).unwrap();
        assert_eq!(rejected(&prepared), [], "{}", line["id"]);
        count += 1;
    }
    assert_eq!(count, 131);
}

fn tools_once() -> &'static Tools {
    static TOOLS: std::sync::OnceLock<Tools> = std::sync::OnceLock::new();
    TOOLS.get_or_init(|| {
        actix_web::rt::System::new().block_on(tools(Config { event_bytes_max: 1 << 10, ..Config::default() }))
    })
}

/// A request with everything in it, for mutation.
fn whole() -> Vec<u8> {
    let consent = json!({ "consent": { "categoryPreferences": { "Ads": true } } });
    json!({
        "context": { "library": { "name": "x" }, "page": null },
        "integrations": { "All": true },
        "sentAt": "2026-01-15T12:00:00Z",
        "batch": [
            { "type": "track", "event": "a\u{0}b", "userId": 7, "timestamp": "x", "context": consent },
            { "type": "group", "groupId": "g", "anonymousId": "é", "messageId": "m".repeat(120) },
            { "type": "page", "name": "n", "userId": "u", "properties": { "a": [[{}]], "b": 1e99 } },
        ],
    })
    .to_string()
    .into_bytes()
}

#[actix_web::test]
async fn a_number_beyond_every_double_stays_as_it_was_written() {
    let tools = tools(Config::default()).await;
    let properties = r#"{"x":1e+399,"y":-123456789012345678901234567890.5}"#;
    let body = batch_of(&format!(r#"{{"type":"track","event":"e","userId":"u","properties":{properties}}}"#));
    let prepared = run(&tools, Call::Batch, SERVER, body).unwrap();
    assert_eq!(events(&prepared)[0].properties.as_deref(), Some(properties));
}

/// Whatever comes, it is answered, and each item of it is accounted for.
fn survives(body: &[u8]) -> Result<(), TestCaseError> {
    let tools = tools_once();
    for call in [Call::Batch, Call::One(None), Call::One(Some(Kind::Track))] {
        match run(tools, call, BROWSER, body) {
            Err(fault) => prop_assert!(fault.status.is_client_error()),
            Ok(prepared) => {
                for event in events(&prepared) {
                    let jsons = [&event.properties, &event.traits, &event.context, &event.extra];
                    for json in jsons.into_iter().flatten() {
                        // A number may be larger than any `f64`: it stays as it was written.
                        let is_json = serde_json::from_str::<&RawValue>(json).is_ok();
                        prop_assert!(is_json && json.starts_with('{'), "{}", json);
                        prop_assert!(!json.contains('\0'));
                    }
                    let length = event.message_id.chars().count();
                    prop_assert!((1..=100).contains(&length));
                }
                prop_assert_eq!(records(&prepared).len(), prepared.batch.len());
                let counts = prepared.outcomes.counts(&[]);
                prop_assert_eq!(counts.accepted + counts.rejected, prepared.batch.len());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&body)?;
    }

    #[test]
    fn anything_like_json_is_answered(body in "[\\[\\]{}\",:0-9eE.\\\\u dD8-9nultrefabch\\x00-\\x1f]{0,60}") {
        survives(body.as_bytes())?;
        survives(format!("{{\"batch\":[{body}]}}").as_bytes())?;
        survives(format!("{{\"type\":\"track\",\"event\":\"{body}\"}}").as_bytes())?;
    }

    #[test]
    fn a_changed_request_is_answered(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
    ) {
        let mut body = whole();
        for (at, byte, how) in changes {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => drop(body.remove(at)),
                _ => body.splice(at..at, br#"\u0000"#.iter().copied()).for_each(drop),
            }
        }
        survives(&body)?;
    }
}
