//! Admitting rejected events after all.

use super::*;

const ADMIT: &str = "/api/v1/rejected/aa/8/admit";

#[actix_web::test]
async fn a_rejected_event_is_admitted_with_a_patch_or_as_another_event() {
    let room = room().await;
    let app = app!(room);
    let patch = json!({"patch": {"userId": "ada", "context": {"app": {"name": "shop", "build": null}}}});
    let (status, body) = answer!(&app, post(ADMIT, patch)).await;
    let admitted = json!({"outcome": "accepted", "message_id": "rejected-aa-8", "partition": "aa",
                          "offset": 21, "received_at": "2026-01-15T12:00:00.000000Z"});
    assert_eq!((status, body), (200, admitted));
    let asked = room.fake.asked.lock().unwrap().clone();
    let patched: Value = serde_json::from_str(&asked[1]).unwrap();
    assert_eq!(asked[0], "aa 8");
    assert_eq!(patched, json!({"userId": "ada", "context": {"app": {"name": "shop"}}}));

    let (status, _) = answer!(&app, post(ADMIT, json!({"event": {"userId": "bob"}}))).await;
    assert_eq!((status, room.fake.asked.lock().unwrap()[3].as_str()), (200, r#"{"userId":"bob"}"#));
}

#[actix_web::test]
async fn what_is_wrong_still_is_told_with_the_field() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, post(ADMIT, "")).await;
    assert_eq!((status, &body["code"], &body["field"]), (422, &json!("no_user_anon_id"), &json!("userId")));
    for (body, field) in [
        (json!({"event": "text"}), "event"),
        (json!({"patch": [1]}), "patch"),
        (json!({"event": {}, "patch": {}}), "patch"),
        (json!({"source": "web"}), "source"),
    ] {
        let (status, answer) = answer!(&app, post(ADMIT, &body)).await;
        assert_eq!((status, &answer["field"]), (400, &json!(field)), "{body}: {answer}");
    }
    let (status, body) = answer!(&app, post("/api/v1/rejected/aa/80/admit", "")).await;
    assert_eq!((status, &body["code"]), (404, &json!("unknown")));
    let (status, body) = answer!(&app, post("/api/v1/rejected/aa/-1/admit", "")).await;
    assert_eq!((status, &body["field"]), (400, &json!("offset")));
}
