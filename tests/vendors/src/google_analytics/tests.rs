use super::*;

const NOW: i64 = 1_768_478_400_000_000;

fn web() -> Stream {
    Stream::Web("G-ABCDE12345".to_owned())
}

fn body(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({
        "client_id": "123.456",
        "events": [{
            "name": "purchase",
            "timestamp_micros": NOW,
            "params": {
                "transaction_id": "A-1", "value": 1, "currency": "EUR", "engagement_time_msec": 1,
                "items": [{"item_id": "p1", "price": 1.5}],
            },
        }],
    });
    change(&mut body);
    body
}

#[test]
fn what_google_would_drop_in_silence_breaks_a_rule() {
    assert!(rules::check(&body(|_| {}), &web(), NOW).is_ok());
    let event = |change: fn(&mut Value)| body(|body| change(&mut body["events"][0]));
    let param = |name: &str, value: Value| body(|body| body["events"][0]["params"][name] = value);
    let without = |name: &str| {
        body(|body| drop(body["events"][0]["params"].as_object_mut().and_then(|params| params.remove(name))))
    };
    for (body, field) in [
        (body(|body| body["client_id"] = "".into()), "client_id"),
        (body(|body| body["user_id"] = "ada@example.com".into()), "user_id"),
        (body(|body| body["mode"] = 1.into()), "mode"),
        (body(|body| body["events"] = json!([])), "events"),
        (body(|body| body["user_properties"] = json!({"user_id": {"value": 1}})), "user_properties"),
        (event(|event| event["name"] = "session_start".into()), "events.name"),
        (event(|event| event["name"] = "screen_view".into()), "events.name"),
        (event(|event| event["name"] = "Order Completed".into()), "events.name"),
        (event(|event| event["timestamp_micros"] = (NOW - AGE).into()), "events.timestamp_micros"),
        (param("ga_x", 1.into()), "events.params"),
        (param("nested", json!({"a": 1})), "events.params.nested"),
        (param("nothing", Value::Null), "events.params.nothing"),
        (param("long", "x".repeat(101).into()), "events.params.long"),
        (param("value", "1".into()), "events.params.value"),
        (param("currency", "euro".into()), "events.params.currency"),
        (param("items", json!([{"price": 1}])), "events.params.items"),
        (param("transaction_id", "".into()), "events.params.transaction_id"),
        (param("session_id", "x".into()), "events.params.session_id"),
        (param("engagement_time_msec", 0.into()), "events.params.engagement_time_msec"),
        (without("currency"), "events.params.currency"),
        (without("items"), "events.params.items"),
    ] {
        let broken = rules::check(&body, &web(), NOW).expect_err(&body.to_string());
        assert_eq!(broken.message()["fieldPath"], field, "{broken} of {body}");
    }
}

const AGE: i64 = 72 * 3_600 * 1_000_000 + 1;
