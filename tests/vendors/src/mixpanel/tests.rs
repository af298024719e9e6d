//! The fake refuses what Mixpanel refuses or loses.

use super::*;

const NOW: i64 = 1_768_478_400_000_000;
const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn project(identity: Identity) -> Project {
    Project {
        token: TOKEN.to_owned(),
        id: "1".to_owned(),
        service_account: ("user".to_owned(), "secret".to_owned()),
        identity,
        group_keys: vec!["company_id".to_owned()],
    }
}

/// An event that keeps the rules, with these properties in place of its own; `null` takes one away.
fn event(name: &str, changes: Value) -> Value {
    let mut properties = json!({
        "time": NOW / 1000, "distinct_id": "u-1", "$user_id": "u-1", "$insert_id": "m-1", "ip": "0",
    });
    for (key, value) in changes.as_object().expect("an object") {
        properties[key] = value.clone();
    }
    properties.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    json!({"event": name, "properties": properties})
}

fn field_at_fault(identity: Identity, record: Value) -> Value {
    let failed = Events::default().take(&[record], &project(identity), NOW, &mut People::default());
    failed.first().map_or(Value::Null, |failed| failed["field"].clone())
}

#[test]
fn an_event_is_refused_for_the_field_that_breaks_a_rule() {
    let many: serde_json::Map<String, Value> =
        (0..250).map(|index| (format!("p{index}"), 1.into())).collect();
    for (name, changes, field) in [
        ("Clicked", json!({}), Value::Null),
        ("", json!({}), "event".into()),
        ("$merge", json!({"token": TOKEN}), "event".into()),
        ("Clicked", json!({"time": null}), "properties.time".into()),
        ("Clicked", json!({"time": 31_535_999_999_i64}), "properties.time".into()),
        ("Clicked", json!({"time": NOW / 1000 + 3_600_001}), "properties.time".into()),
        ("Clicked", json!({"$insert_id": "with space"}), "properties.$insert_id".into()),
        ("Clicked", json!({"$insert_id": "x".repeat(37)}), "properties.$insert_id".into()),
        ("Clicked", json!({"$insert_id": "Null"}), "properties.$insert_id".into()),
        ("Clicked", json!({"distinct_id": "$device:a-1"}), "properties.distinct_id".into()),
        ("Clicked", json!({"distinct_id": "N/A", "$user_id": "N/A"}), "properties.distinct_id".into()),
        ("Clicked", json!({"$user_id": null}), "properties.$user_id".into()),
        ("Clicked", json!({"ip": null}), "properties.ip".into()),
        ("Clicked", json!({"$ignore": true}), "properties".into()),
        ("Clicked", json!({"a": [[[[1]]]]}), "properties".into()),
        ("Clicked", json!({"a": vec![1; 255]}), "properties".into()),
        ("Clicked", json!({"a": ["x".repeat(9_000)]}), "properties".into()),
        ("Clicked", Value::Object(many), "properties".into()),
        ("Clicked", json!({"a": "x".repeat(1 << 20)}), "event".into()),
    ] {
        assert_eq!(
            field_at_fault(Identity::Simplified, event(name, changes.clone())),
            field,
            "{name} {changes}"
        );
    }
}

#[test]
fn the_original_model_joins_only_what_mixpanel_joins() {
    let uuid = "6f1c2b9e-0d3a-4b62-9a57-3f4f4f3a1c11";
    let ids = |anonymous: &str, token: Value| json!({"$user_id": null, "$identified_id": "u-1", "$anon_id": anonymous, "token": token});
    for (name, changes, field) in [
        ("$identify", ids(uuid, TOKEN.into()), Value::Null),
        ("$identify", ids(uuid, Value::Null), "properties.token".into()),
        ("$identify", ids("a-1", TOKEN.into()), "properties.$anon_id".into()),
        ("$create_alias", json!({"$user_id": null, "token": TOKEN, "alias": "u-2"}), Value::Null),
        ("$create_alias", json!({"$user_id": null, "token": TOKEN}), "properties.alias".into()),
        ("Clicked", json!({}), "properties.$user_id".into()),
    ] {
        assert_eq!(
            field_at_fault(Identity::Original, event(name, changes.clone())),
            field,
            "{name} {changes}"
        );
    }
}

#[test]
fn one_wrong_profile_spoils_its_request() {
    let good = json!({"$token": TOKEN, "$distinct_id": "u-1", "$ip": "0", "$set": {"plan": "pro"}});
    for (key, value, error) in [
        ("$token", json!("another"), "record 1: token"),
        ("$distinct_id", json!("null"), "record 1: `$distinct_id`"),
        ("$ip", Value::Null, "record 1: without `$ip`"),
        ("$set", json!({}), "record 1: `$set` is empty"),
        ("$union", json!({"a": [1]}), "record 1: it has 2 updates"),
    ] {
        let mut wrong = good.clone();
        wrong[key] = value;
        let mut profiles = Profiles::default();
        let taken = profiles.take(&[good.clone(), wrong], &project(Identity::Simplified));
        assert!(taken.as_ref().is_err_and(|told| told.starts_with(error)), "{key}: {taken:?}");
        assert!(profiles.all().is_empty());
    }
    let group = json!({"$token": TOKEN, "$group_key": "team", "$group_id": "g-1", "$set": {"a": 1}});
    let taken = Groups::default().take(&[group], &project(Identity::Simplified));
    assert_eq!(taken, Err("record 0: the project has no group key \"team\"".to_owned()));
}

#[test]
fn repeats_are_one_event_within_a_day() {
    let mut events = Events::default();
    let times = [NOW / 1000, NOW / 1000 + 1, NOW / 1000 - 86_400_000];
    for time in times {
        let failed = events.take(
            &[event("Clicked", json!({"time": time}))],
            &project(Identity::Simplified),
            NOW,
            &mut People::default(),
        );
        assert_eq!(failed, [Value::Null; 0]);
    }
    let kept: Vec<_> = events.all().iter().map(|event| event["properties"]["time"].clone()).collect();
    assert_eq!(kept, [times[1], times[2]], "of those of a day the latest is left");
    assert_eq!(events.repeats()["m-1"], 2);
}

#[test]
fn requests_are_held_against_the_packs() {
    let pack = |limit: &str| {
        json!({"body": [
            {"params": [{"name": "", "json_type": "array", limit: 1}]},
            {"scope": "[]", "params": [{"name": "event", "json_type": "string", "requirement": "required"}],
             "rules": [{"kind": "forbid_value_pattern", "pattern": "^no$", "params": ["event"], "message": "not no"}]},
        ]})
    };
    let packs = RulePacks::of(vec![("/import", pack("max_items"))]).expect("all kinds are known");
    assert_eq!(packs.check("/import", &[json!({"event": "yes"})]), Ok(()));
    for (records, error) in [
        (vec![json!({"event": "yes"}), json!({"event": "yes"})], "`max_items`"),
        (vec![json!({})], "`event` is missing"),
        (vec![json!({"event": 1})], "`json_type`"),
        (vec![json!({"event": "no"})], "not no"),
    ] {
        let told = packs.check("/import", &records).expect_err(error);
        assert!(told.contains(error), "{told}");
    }
    assert!(RulePacks::of(vec![("/import", pack("max_days"))]).is_err(), "an unknown kind is passed over");
}
