use super::*;
use pipeline::connection::{Reason, State};

/// A secret that must not be seen anywhere.
const CANARY: &str = "canaryCANARYcanaryCANARY0000";

fn segment(name: &str) -> Value {
    json!({
        "vendor": "segment",
        "name": name,
        "settings": {"region": "eu"},
        "credentials": {"write_key": CANARY},
        "routing": {"kinds": ["track"], "condition": "true", "rate_cap": 10},
    })
}

pub(super) fn patch(path: &str, body: impl ToString) -> TestRequest {
    post(path, body).method(Method::PATCH)
}

pub(super) fn delete(path: &str, body: impl ToString) -> TestRequest {
    post(path, body).method(Method::DELETE)
}

/// Adds a connection and gives its path.
macro_rules! added {
    ($app:expr, $name:expr) => {
        async {
            let (status, body) = answer!($app, post("/api/v1/connections", segment($name))).await;
            assert_eq!(status, 201, "{body}");
            format!("/api/v1/connections/{}", body["id"].as_str().unwrap())
        }
    };
}

/// The fields of a schema of the document, and of an answer.
fn assert_described(answer: &Value, schema: &str) {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let described = &document["components"]["schemas"][schema]["properties"];
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(answer), names(described), "{schema}");
}

#[actix_web::test]
async fn a_connection_is_added_and_shown_without_its_credentials() {
    let room = room().await;
    let app = app!(room);
    let (status, mut made) = answer!(&app, post("/api/v1/connections", segment("web"))).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["generated"], json!({}));
    made.as_object_mut().unwrap().remove("generated");
    assert_described(&made, "Connection");
    assert_eq!(
        made["credentials"]["write_key"],
        json!({"prefix": "cana", "last_four": "0000", "created_at": "2026-01-15T12:00:00.000000Z"})
    );
    assert_eq!(
        (&made["state"], &made["version"], &made["start"]),
        (&json!("draft"), &json!(1), &Value::Null)
    );
    assert!(made["reason"]["remedy"].as_str().unwrap().contains("Enable"));
    assert_eq!(made["routing"]["rate_cap"], json!(10.0));
    assert_described(&made["delivery"], "DeliveryStatus");
    assert_eq!(made["delivery"]["waits_for"]["what"], "breaker");
    assert_eq!(room.deliveries.taken(), ["changed"]);

    let path = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    assert_eq!(answer!(&app, get(&path)).await, (200, made.clone()));
    let (_, listed) = answer!(&app, get("/api/v1/connections")).await;
    assert_eq!(listed, json!({"connections": [made]}));
    assert!(!listed.to_string().contains("CANARY"));
    let (status, taken) = answer!(&app, post("/api/v1/connections", segment("web"))).await;
    assert_eq!((status, &taken["code"]), (409, &json!("exists")));
    assert!(!taken.to_string().contains("CANARY"));
}

#[actix_web::test]
async fn a_secret_that_the_server_made_is_shown_once() {
    let room = room().await;
    let app = app!(room);
    let body =
        json!({"vendor": "webhook", "name": "hook", "settings": {"url": "https://hooks.example.com/a"}});
    let (status, made) = answer!(&app, post("/api/v1/connections", body)).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["generated"]["signing_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let (_, listed) = answer!(&app, get("/api/v1/connections")).await;
    assert!(!listed.to_string().contains(secret) && listed["connections"][0].get("generated").is_none());
    let path = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    let (_, again) = answer!(&app, patch(&path, json!({"credentials": {"signing_secret": null}}))).await;
    assert!(again["generated"]["signing_secret"].is_string());
    assert_ne!(again["generated"]["signing_secret"], made["generated"]["signing_secret"]);
}

#[actix_web::test]
async fn a_change_replaces_what_is_given_and_nothing_else() {
    let room = room().await;
    let app = app!(room);
    let path = added!(&app, "web").await;
    let (_, before) = answer!(&app, get(&path)).await;
    let (status, changed) = answer!(&app, patch(&path, json!({"settings": {"region": "us"}}))).await;
    assert_eq!(
        (status, &changed["settings"], &changed["version"]),
        (200, &json!({"region": "us"}), &json!(2))
    );
    assert_eq!((&changed["credentials"], &changed["routing"]), (&before["credentials"], &before["routing"]));

    let edit = json!({"name": "site", "routing": {"order": "none"}, "credentials": {"write_key": "a-short-key"},
        "hosts": {"api.segment.io": "http://127.0.0.1:8900"}});
    let (_, changed) = answer!(&app, patch(&path, edit)).await;
    assert_eq!((&changed["name"], &changed["routing"]["order"]), (&json!("site"), &json!("none")));
    assert_eq!(changed["routing"]["kinds"], json!([]), "a routing is replaced as a whole");
    assert_eq!(changed["credentials"]["write_key"]["prefix"], Value::Null, "too short to show any");
    assert_eq!(changed["credentials"]["write_key"]["last_four"], Value::Null);
    assert_eq!(changed["hosts"], json!({"api.segment.io": "http://127.0.0.1:8900"}));
    let (_, changed) = answer!(&app, patch(&path, json!({"hosts": {}}))).await;
    assert_eq!(changed["hosts"], json!({}));
    assert_eq!(room.deliveries.taken(), ["changed"; 4]);

    added!(&app, "taken").await;
    let (status, refused) = answer!(&app, patch(&path, json!({"name": "taken"}))).await;
    assert_eq!((status, &refused["code"]), (409, &json!("exists")));
    let (status, unknown) = answer!(&app, patch("/api/v1/connections/con_x", json!({"name": "a"}))).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("unknown")));
}

#[actix_web::test]
async fn each_wrong_field_is_refused_with_rule_and_example_and_no_secret() {
    let room = room().await;
    let app = app!(room);
    let with = |changes: Value| {
        let mut body = segment("web");
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    for (changes, field) in [
        (json!({"vendor": "nobody"}), "vendor"),
        (json!({"name": ""}), "name"),
        (json!({"name": "a".repeat(101)}), "name"),
        (json!({"settings": {"region": "moon"}}), "settings.region"),
        (json!({"settings": {}}), "settings.region"),
        (json!({"settings": {"region": "eu", "more": 1}}), "settings.more"),
        (json!({"settings": []}), "settings"),
        (json!({"credentials": {}}), "credentials.write_key"),
        (json!({"credentials": {"write_key": format!("{CANARY} {CANARY}")}}), "credentials.write_key"),
        (json!({"credentials": {"write_key": [CANARY]}}), "credentials.write_key"),
        (json!({"credentials": CANARY}), "credentials"),
        (json!({"hosts": {"example.com": "http://127.0.0.1:1"}}), "hosts.example.com"),
        (json!({"hosts": {"api.segment.io": "ftp://a"}}), "hosts.api.segment.io"),
        (json!({"hosts": {"api.segment.io": 1}}), "hosts.api.segment.io"),
        (json!({"routing": {"kinds": ["click"]}}), "routing.kinds[0]"),
        (json!({"routing": {"rate_cap": 0}}), "routing.rate_cap"),
        (json!({"routing": 1}), "routing"),
    ] {
        let (status, refused) = answer!(&app, post("/api/v1/connections", with(changes.clone()))).await;
        assert_eq!((status, &refused["code"]), (400, &json!("invalid_field")), "{changes}: {refused}");
        assert_eq!(refused["field"], field, "{changes}: {refused}");
        let fields = refused["fields"].as_array().unwrap();
        assert_eq!(fields.len(), 1, "{refused}");
        assert_described(&with_at(&fields[0]), "Mistake");
        assert!(!fields[0]["rule"].as_str().unwrap().is_empty(), "{refused}");
        assert!(!refused.to_string().contains("CANARY"), "{refused}");
    }
    for (body, field) in [
        (json!({"name": "a"}), "vendor"),
        (json!({"vendor": "segment"}), "name"),
        (json!({"vendor": "segment", "name": "a", "key": CANARY}), "key"),
    ] {
        let (status, refused) = answer!(&app, post("/api/v1/connections", &body)).await;
        assert_eq!((status, &refused["field"]), (400, &json!(field)), "{refused}");
        assert!(!refused.to_string().contains("CANARY"), "{refused}");
    }
    let two = with(json!({"settings": {"region": "moon"}, "routing": {"kinds": ["click"], "rate_cap": -1}}));
    let (_, refused) = answer!(&app, post("/api/v1/connections", two)).await;
    assert_eq!(refused["fields"].as_array().unwrap().len(), 3, "none hides another: {refused}");
    assert_eq!(answer!(&app, get("/api/v1/connections")).await.1, json!({"connections": []}));
}

/// A mistake without a place has all fields but that one.
fn with_at(mistake: &Value) -> Value {
    let mut all = json!({"at": null});
    all.as_object_mut().unwrap().extend(mistake.as_object().unwrap().clone());
    all
}

#[actix_web::test]
async fn a_vendor_that_does_not_work_yet_is_refused_with_those_that_do() {
    let room = room().await;
    let app = app!(room);
    let body = json!({"vendor": "stripe", "name": "a", "credentials": {"key": CANARY}});
    let (status, refused) = answer!(&app, post("/api/v1/connections", body)).await;
    assert_eq!((status, &refused["code"]), (422, &json!("not_available_yet")));
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("Stripe") && message.contains("`segment`"), "{message}");
    assert!(!refused.to_string().contains("CANARY"));
}

#[actix_web::test]
async fn a_connection_is_enabled_paused_and_resumed() {
    let room = room().await;
    let app = app!(room);
    let path = added!(&app, "web").await;
    for refused in ["pause", "resume"] {
        let (status, body) = answer!(&app, post(&format!("{path}/{refused}"), "")).await;
        assert_eq!((status, &body["code"]), (409, &json!("wrong_state")), "{refused}");
    }
    for (wrong, field) in
        [(json!({}), "from"), (json!({"from": "soon"}), "from"), (json!({"from": 1}), "from")]
    {
        let (status, body) = answer!(&app, post(&format!("{path}/enable"), &wrong)).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{wrong}");
    }
    room.deliveries.taken();
    let (status, body) = answer!(&app, post(&format!("{path}/enable"), json!({"from": "now"}))).await;
    assert_eq!((status, &body["state"], &body["reason"]), (200, &json!("enabled"), &Value::Null));
    assert_eq!(body["start"], json!({"from": "now", "asked_at": "2026-01-15T12:00:00.000000Z"}));
    let (status, body) = answer!(&app, post(&format!("{path}/enable"), json!({"from": "beginning"}))).await;
    assert_eq!((status, &body["code"]), (409, &json!("wrong_state")));
    let (status, body) = answer!(&app, post(&format!("{path}/pause"), "")).await;
    assert_eq!((status, &body["state"]), (200, &json!("paused")));
    assert!(body["reason"]["remedy"].as_str().unwrap().contains("Resume"));
    let (status, body) = answer!(&app, post(&format!("{path}/resume"), "")).await;
    assert_eq!((status, &body["state"], &body["start"]["from"]), (200, &json!("enabled"), &json!("now")));
    answer!(&app, post(&format!("{path}/pause"), "")).await;
    let (_, body) =
        answer!(&app, post(&format!("{path}/enable"), json!({"from": "2026-01-14T00:00:00Z"}))).await;
    assert_eq!(body["start"]["from"], "2026-01-14T00:00:00.000000Z");
    assert_eq!(room.deliveries.taken(), ["changed"; 5]);
    for action in ["pause", "resume"] {
        let (status, _) = answer!(&app, post(&format!("/api/v1/connections/con_x/{action}"), "")).await;
        assert_eq!(status, 404, "{action}");
    }
}

#[actix_web::test]
async fn a_held_connection_says_why_and_goes_on_with_a_new_credential() {
    let room = room().await;
    let app = app!(room);
    let path = added!(&app, "web").await;
    answer!(&app, post(&format!("{path}/enable"), json!({"from": "now"}))).await;
    let reason = Reason {
        class: "auth_revoked".into(),
        text: "Segment does not know the write key.".into(),
        remedy: "Enter the key of a source that exists.".into(),
        since: 1_768_478_400_000_000,
    };
    let id = path.rsplit('/').next().unwrap();
    room.store.set_state(id, &[State::Enabled], None, State::Held, Some(reason), 1).await.unwrap();
    let (_, held) = answer!(&app, get(&path)).await;
    assert_eq!(held["state"], "held");
    assert_described(&held["reason"], "Reason");
    assert_eq!(held["reason"]["remedy"], "Enter the key of a source that exists.");
    let (_, renamed) = answer!(&app, patch(&path, json!({"name": "site"}))).await;
    assert_eq!(renamed["state"], "held");
    let (_, resumed) = answer!(&app, patch(&path, json!({"credentials": {"write_key": CANARY}}))).await;
    assert_eq!((&resumed["state"], &resumed["reason"]), (&json!("enabled"), &Value::Null));
}

#[actix_web::test]
async fn a_test_is_told_step_by_step_and_kept() {
    let room = room().await;
    let app = app!(room);
    let path = added!(&app, "web").await;
    room.deliveries.taken();
    let (status, found) = answer!(&app, post(&format!("{path}/test"), "")).await;
    assert_eq!((status, &found["passed"], &found["version"]), (200, &json!(true), &json!(1)));
    assert_described(&found, "Check");
    assert_described(&found["steps"][0], "Step");
    assert_eq!(answer!(&app, get(&path)).await.1["last_check"], found);
    let (_, found) = answer!(&app, post(&format!("{path}/test"), json!({"sample": true}))).await;
    assert_eq!((&found["passed"], &found["steps"][1]["state"]), (&json!(false), &json!("failed")));
    assert_eq!(room.deliveries.taken(), ["test false", "test true"]);

    *room.deliveries.fails.lock().unwrap() = Some(crate::DeliveriesError::Busy("4 tests are running".into()));
    let (status, busy) = answer!(&app, post(&format!("{path}/test"), json!({"sample": false}))).await;
    assert_eq!((status, &busy["code"]), (503, &json!("overloaded")));
    assert_eq!(answer!(&app, get(&path)).await.1["last_check"], found, "what was found before stays");
    let (status, wrong) = answer!(&app, post(&format!("{path}/test"), json!({"sample": "yes"}))).await;
    assert_eq!((status, &wrong["field"]), (400, &json!("sample")));
    assert_eq!(answer!(&app, post("/api/v1/connections/con_x/test", "")).await.0, 404);
}

#[actix_web::test]
async fn requests_are_previewed() {
    let room = room().await;
    let app = app!(room);
    let path = added!(&app, "web").await;
    room.deliveries.taken();
    let (status, preview) = answer!(&app, post(&format!("{path}/preview"), json!({"count": 20}))).await;
    assert_eq!((status, &preview["requests"][0]["message_ids"]), (200, &json!(["m1"])));
    assert_described(&preview, "Preview");
    answer!(&app, post(&format!("{path}/preview"), "")).await;
    assert_eq!(room.deliveries.taken(), ["preview 20", "preview 5"]);
    for wrong in [json!(0), json!(21), json!(1.5), json!("5")] {
        let (status, refused) =
            answer!(&app, post(&format!("{path}/preview"), json!({"count": wrong}))).await;
        assert_eq!((status, &refused["field"]), (400, &json!("count")), "{wrong}");
    }
    assert_eq!(answer!(&app, post("/api/v1/connections/con_x/preview", "")).await.0, 404);
}

#[actix_web::test]
async fn a_connection_is_erased_and_its_name_is_free() {
    let room = room().await;
    let app = app!(room);
    let path = added!(&app, "web").await;
    room.deliveries.taken();
    let gone = call_service(&app, delete(&path, "").to_request()).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(room.deliveries.taken(), ["changed"]);
    assert_eq!(answer!(&app, get(&path)).await.0, 404);
    assert_eq!(answer!(&app, delete(&path, "")).await.0, 404);
    added!(&app, "web").await;
}

#[actix_web::test]
async fn the_catalogue_shows_every_vendor() {
    let room = room().await;
    let app = app!(room);
    let (status, listed) = answer!(&app, get("/api/v1/integrations")).await;
    assert_eq!(status, 200);
    let listed = listed["integrations"].as_array().unwrap();
    assert_eq!(listed.len(), pipeline::vendor::all().len());
    for vendor in listed {
        assert_described(vendor, "Integration");
        let path = format!("/api/v1/integrations/{}", vendor["name"].as_str().unwrap());
        assert_eq!(answer!(&app, get(&path)).await, (200, vendor.clone()));
    }
    let (status, unknown) = answer!(&app, get("/api/v1/integrations/nobody")).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("unknown")));
}
