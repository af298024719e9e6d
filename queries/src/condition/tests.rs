use super::*;
use pipeline::event::Kind;
use pipeline::log::PartitionId;

fn conditions() -> Conditions {
    Conditions::new().unwrap()
}

fn event(kind: Kind, name: &str, properties: &str) -> Stored<Event<'static>> {
    Stored {
        partition: PartitionId("0123456789abcdef".into()),
        offset: 7,
        received_at: 1_790_000_000_000_000,
        source: "web".into(),
        test: false,
        record: Event {
            event: (kind == Kind::Track).then(|| name.to_owned().into()),
            user_id: Some("u1".into()),
            properties: Some(properties.to_owned().into()),
            context: Some(r#"{"page":{"url":"https://shop.example/"}}"#.into()),
            ..Event::new(kind, "m1")
        },
    }
}

#[test]
fn a_condition_holds_for_the_events_that_meet_it() {
    let events = [
        event(Kind::Track, "Order Completed", r#"{"total":27.5,"currency":"EUR"}"#),
        event(Kind::Track, "Order Completed", r#"{"total":"free","currency":"USD"}"#),
        event(Kind::Page, "", "{}"),
    ];
    for (text, expected) in [
        ("event = 'Order Completed'", [true, true, false]),
        ("event <> 'Order Completed'", [false, false, false]), // NULL does not meet it
        ("type = 'page' OR properties->>'currency' = 'EUR'", [true, false, true]),
        ("(properties->>'total')::double > 20", [true, false, false]),
        ("(properties->>'total')::double > 20 IS NOT TRUE", [false, true, true]),
        ("user_id IN ('u1', 'u2') AND NOT test AND source LIKE 'w%'", [true, true, true]),
        ("context_page_url = 'https://shop.example/'", [true, true, true]),
        ("received_at > '2026-01-01T00:00:00Z'", [true, true, true]),
        ("true", [true, true, true]),
        ("NULL", [false, false, false]),
        ("NULL AND event IS NULL", [false, false, false]),
    ] {
        let condition = conditions().compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(condition.holds(&events).unwrap(), expected, "{text}");
        assert!(condition.holds(&[]).unwrap().is_empty(), "{text}");
    }
}

#[test]
fn a_condition_agrees_with_a_query_over_days_and_many_rows() {
    let mut events: Vec<_> =
        (0..10_000).map(|n| event(Kind::Track, "E", &format!(r#"{{"n":{n}}}"#))).collect();
    for (day, event) in events.iter_mut().enumerate() {
        event.received_at += (day as i64 / 100) * pipeline::clock::DAY;
    }
    let condition = conditions().compile("(properties->>'n')::int % 3 = 0").unwrap();
    let expected: Vec<bool> = (0..10_000).map(|n| n % 3 == 0).collect();
    assert_eq!(condition.holds(&events).unwrap(), expected);
}

#[test]
fn a_condition_that_fails_on_an_event_says_so() {
    let condition = conditions().compile("1 / length(event) > 0").unwrap();
    assert!(condition.holds(&[event(Kind::Track, "", "{}")]).unwrap_err().contains("division by zero"));
}

#[test]
fn what_is_no_condition_is_refused_and_the_place_is_shown() {
    for (text, part, at) in [
        ("", "empty", None),
        ("event = ", "expected", None),
        ("type = 'page' AND evnt = 'a'", "evnt", Some(18)),
        ("type = 'page'\n  AND evnt = 'a'", "evnt", Some(20)),
        ("event", "true or false", None),
        ("count(*) > 3", "aggregate", None),
        ("row_number() over () > 3", "window", None),
        ("user_id IN (SELECT user_id FROM events)", "", None),
        ("random() > 0.5", "another answer", None),
        ("user_id = $1", "placeholder", None),
        ("true; DROP TABLE events", "", None),
        ("SELECT 1", "", None),
    ] {
        let error = conditions().compile(text).err().unwrap_or_else(|| panic!("{text} was taken"));
        assert!(error.message.to_lowercase().contains(part), "{text}: {error:?}");
        if at.is_some() {
            assert_eq!(error.at, at, "{text}: {error:?}");
        }
    }
    let long = format!("event = '{}'", "x".repeat(CONDITION_BYTES_MAX));
    assert!(conditions().compile(&long).err().unwrap().message.contains("at most"));
}
