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

const MANY: &str = "/api/v1/rejected/admit";

#[actix_web::test]
async fn rejected_events_that_match_are_admitted_page_by_page() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, post(MANY, json!({"code": "no_user_anon_id", "limit": 2}))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["matched"], &body["refused"], &body["accepted"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(body["reasons"]["no_user_anon_id"]["field"], "userId");
    assert_eq!(body["reasons"]["no_user_anon_id"]["offset"], 8);
    assert!(room.fake.asked.lock().unwrap()[0].contains("no_user_anon_id"));

    let patch = json!({"patch": {"userId": "ada"}, "dry_run": true});
    let (_, body) = answer!(&app, post(MANY, &patch)).await;
    assert_eq!((&body["accepted"], &body["dry_run"]), (&json!(1), &json!(true)), "{body}");
    assert!(room.fake.asked.lock().unwrap().last().unwrap().starts_with("check"), "a dry run stores nothing");
    let (_, body) = answer!(&app, post(MANY, json!({"patch": {"userId": "ada"}}))).await;
    assert_eq!((&body["accepted"], &body["dry_run"]), (&json!(1), &json!(false)), "{body}");
}

#[actix_web::test]
async fn a_wrong_choice_of_rejected_events_is_named() {
    let room = room().await;
    let app = app!(room);
    for (body, field) in [
        (json!({"event": {}}), "event"),
        (json!({"limit": 0}), "limit"),
        (json!({"limit": 1.5}), "limit"),
        (json!({"after": "x"}), "after"),
        (json!({"from": "yesterday"}), "from"),
        (json!({"dry_run": "yes"}), "dry_run"),
    ] {
        let (status, answer) = answer!(&app, post(MANY, &body)).await;
        assert_eq!((status, &answer["field"]), (400, &json!(field)), "{body}: {answer}");
    }
}
