use super::connections::delete;
use super::*;
use pipeline::connection::ReplayState;

/// Adds a connection, enables it, and gives its id.
macro_rules! enabled {
    ($app:expr) => {
        async {
            let body = json!({"vendor": "segment", "name": "web", "settings": {"region": "eu"},
                "credentials": {"write_key": "0123456789abcdef"}});
            let (_, made) = answer!($app, post("/api/v1/connections", body)).await;
            let id = made["id"].as_str().unwrap().to_owned();
            let enable = post(&format!("/api/v1/connections/{id}/enable"), json!({"from": "now"}));
            assert_eq!(answer!($app, enable).await.0, 200);
            id
        }
    };
}

#[actix_web::test]
async fn dead_letters_are_listed_by_connection_and_class() {
    let room = room().await;
    let app = app!(room);
    let id = enabled!(&app).await;
    room.deliveries.taken();
    let path = format!("/api/v1/dead-letters?connection={id}");
    let (status, listed) = answer!(&app, get(&path)).await;
    let letter = json!({
        "message_id": "m8", "partition": "aa", "offset": 8, "replay": null, "class": "validation", "status": 400,
        "vendor_code": null, "reason": "no such event", "attempts": 1,
        "at": "2026-01-15T12:00:00.000000Z",
    });
    assert_eq!(
        (status, listed),
        (200, json!({"dead_letters": [letter], "next": 5, "kept": 7, "dropped": 2}))
    );
    answer!(&app, get(&format!("{path}&class=too_large&after=5&limit=10000"))).await;
    assert_eq!(room.deliveries.taken(), ["dead None None 100", "dead Some(TooLarge) Some(5) 10000"]);
    for (wrong, field) in [
        ("limit=1".to_owned(), "connection"),
        (format!("connection={id}&limit=0"), "limit"),
        (format!("connection={id}&limit=10001"), "limit"),
        (format!("connection={id}&class=bad"), "class"),
        (format!("connection={id}&after=x"), "after"),
        (format!("connection={id}&destination=x"), "destination"),
    ] {
        let (status, body) = answer!(&app, get(&format!("/api/v1/dead-letters?{wrong}"))).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{body}");
    }
    assert_eq!(answer!(&app, get("/api/v1/dead-letters?connection=con_x")).await.0, 404);
}

#[actix_web::test]
async fn dead_letters_are_sent_again_as_chosen() {
    let room = room().await;
    let app = app!(room);
    let id = enabled!(&app).await;
    room.deliveries.taken();
    let path = "/api/v1/dead-letters/retry";
    for (choice, asked) in [
        (json!({"all": true}), "retry All"),
        (json!({"class": "validation"}), "retry Class(Validation)"),
        (json!({"before": "2026-01-15T12:00:00Z"}), "retry Before(1768478400000000)"),
        (json!({"offsets": [{"partition": "aa", "offset": 8}]}), "retry At([(PartitionId(\"aa\"), 8)])"),
    ] {
        let mut body = choice.clone();
        body["connection"] = id.as_str().into();
        assert_eq!(answer!(&app, post(path, body)).await, (200, json!({"revived": 3})), "{choice}");
        assert_eq!(room.deliveries.taken(), [asked]);
    }
    for (wrong, field) in [
        (json!({}), "all"),
        (json!({"all": false}), "all"),
        (json!({"all": true, "class": "validation"}), "all"),
        (json!({"all": "yes"}), "all"),
        (json!({"class": "bad"}), "class"),
        (json!({"before": "yesterday"}), "before"),
        (json!({"offsets": []}), "offsets"),
        (json!({"offsets": {}}), "offsets"),
        (json!({"offsets": [{"partition": "aa", "offset": 1}, {"partition": "aa"}]}), "offsets[1]"),
        (json!({"offsets": [{"partition": "aa", "offset": -1}]}), "offsets[0]"),
        (json!({"offsets": [{"partition": "aa", "offset": 1, "more": 1}]}), "offsets[0]"),
        (json!({"all": true, "limit": 1}), "limit"),
    ] {
        let mut body = wrong.clone();
        body["connection"] = id.as_str().into();
        let (status, refused) = answer!(&app, post(path, body)).await;
        assert_eq!((status, &refused["field"]), (400, &json!(field)), "{wrong}: {refused}");
    }
    let (status, refused) = answer!(&app, post(path, json!({"all": true}))).await;
    assert_eq!((status, &refused["field"]), (400, &json!("connection")));
    let unknown = json!({"connection": "con_x", "all": true});
    assert_eq!(answer!(&app, post(path, unknown)).await.0, 404);
    assert_eq!(room.deliveries.taken(), [""; 0], "what is refused is not begun");
}

#[actix_web::test]
async fn people_are_suppressed_listed_page_by_page_and_let_go() {
    let room = room().await;
    let app = app!(room);
    let path = "/api/v1/suppressions";
    let given = json!({"kind": "email", "value": " Anna@Example.com", "reason": "asked by mail"});
    let (status, added) = answer!(&app, post(path, given)).await;
    let anna = json!({"kind": "email", "value": "anna@example.com", "reason": "asked by mail",
        "created_at": "2026-01-15T12:00:00.000000Z"});
    assert_eq!((status, &added), (201, &anna));
    for (kind, value) in [("user_id", "a:b"), ("user_id", "c"), ("anonymous_id", "x")] {
        assert_eq!(answer!(&app, post(path, json!({"kind": kind, "value": value}))).await.0, 201);
    }
    assert_eq!(room.deliveries.taken(), ["changed"; 4]);

    let (mut listed, mut next) = (Vec::new(), String::new());
    for page in 0..3 {
        let after = if page == 0 { String::new() } else { format!("&after={next}") };
        let (status, body) = answer!(&app, get(&format!("{path}?limit=2{after}"))).await;
        assert_eq!(status, 200, "{body}");
        let values = body["suppressions"].as_array().unwrap().iter();
        listed.extend(values.map(|one| one["value"].as_str().unwrap().to_owned()));
        let Some(more) = body["next"].as_str() else { break };
        next = more.to_owned();
    }
    assert_eq!(listed, ["x", "anna@example.com", "a:b", "c"]);
    assert_eq!(next, "email:anna@example.com", "the second page was the last");
    assert!(
        room.store
            .suppressed()
            .await
            .unwrap()
            .contains(pipeline::connection::IdentifierKind::Email, "anna@example.com")
    );

    let lifted = delete(path, json!({"kind": "email", "value": "ANNA@example.com"}));
    assert_eq!(call_service(&app, lifted.to_request()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(room.deliveries.taken(), ["changed"]);
    let again = delete(path, json!({"kind": "email", "value": "anna@example.com"}));
    assert_eq!(answer!(&app, again).await.0, 404);

    for (wrong, field) in [
        (json!({"value": "a"}), "kind"),
        (json!({"kind": "phone", "value": "a"}), "kind"),
        (json!({"kind": "user_id"}), "value"),
        (json!({"kind": "user_id", "value": ""}), "value"),
        (json!({"kind": "user_id", "value": "x".repeat(1_001)}), "value"),
        (json!({"kind": "email", "value": "anna"}), "value"),
        (json!({"kind": "email", "value": "@b"}), "value"),
        (json!({"kind": "user_id", "value": "a", "reason": 1}), "reason"),
        (json!({"kind": "user_id", "value": "a", "reason": "x".repeat(1_001)}), "reason"),
        (json!({"kind": "user_id", "value": "a", "until": 1}), "until"),
    ] {
        let (status, refused) = answer!(&app, post(path, &wrong)).await;
        assert_eq!((status, &refused["field"]), (400, &json!(field)), "{wrong}");
    }
    for (wrong, field) in
        [("limit=0", "limit"), ("after=x", "after"), ("after=phone:1", "after"), ("a=1", "a")]
    {
        let (status, refused) = answer!(&app, get(&format!("{path}?{wrong}"))).await;
        assert_eq!((status, &refused["field"]), (400, &json!(field)), "{wrong}");
    }
}

#[actix_web::test]
async fn a_replay_is_estimated_begun_and_steered() {
    let room = room().await;
    let app = app!(room);
    let id = enabled!(&app).await;
    let path = format!("/api/v1/connections/{id}/replays");
    let spec = json!({"condition": "true", "from": "2026-01-14T00:00:00Z", "to": "2026-01-15T00:00:00Z",
        "only": "failed", "rate": 5});
    room.deliveries.taken();
    let mut dry = spec.clone();
    dry["dry_run"] = true.into();
    let (status, estimate) = answer!(&app, post(&path, dry)).await;
    let expected =
        json!({"estimate": {"scanned": 100, "matched": 40, "too_old": 3, "exact": false, "seconds": 4}});
    assert_eq!((status, estimate), (200, expected));
    assert!(room.deliveries.taken()[0].contains("from: Some(1768348800000000)"));
    assert_eq!(answer!(&app, get("/api/v1/replays")).await.1, json!({"replays": []}), "nothing was begun");

    let (status, replay) = answer!(&app, post(&path, &spec)).await;
    assert_eq!((status, &replay["state"]), (201, &json!("running")), "{replay}");
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let described = document["components"]["schemas"]["Replay"]["properties"].as_object().unwrap();
    assert_eq!(replay.as_object().unwrap().keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>());
    assert_eq!((&replay["from"], &replay["only"]), (&json!("2026-01-14T00:00:00.000000Z"), &json!("failed")));
    assert_eq!(room.deliveries.taken(), ["changed"]);
    let at = format!("/api/v1/replays/{}", replay["id"].as_str().unwrap());
    assert_eq!(answer!(&app, get(&at)).await, (200, replay.clone()));
    let (_, listed) = answer!(&app, get(&format!("/api/v1/replays?connection={id}&limit=1"))).await;
    assert_eq!(listed, json!({"replays": [replay]}));
    assert_eq!(answer!(&app, get("/api/v1/replays?connection=con_x")).await.1, json!({"replays": []}));

    for (action, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")] {
        let (status, body) = answer!(&app, post(&format!("{at}/{action}"), "")).await;
        assert_eq!((status, &body["state"]), (200, &json!(state)));
    }
    let (status, over) = answer!(&app, post(&format!("{at}/resume"), "")).await;
    assert_eq!((status, &over["code"]), (409, &json!("wrong_state")));
    let kept = room.store.replay(at.rsplit('/').next().unwrap()).await.unwrap();
    assert_eq!(kept.state, ReplayState::Cancelled);
    assert_eq!(answer!(&app, post("/api/v1/replays/rep_x/cancel", "")).await.0, 404);
    assert_eq!(answer!(&app, get("/api/v1/replays/rep_x")).await.0, 404);
}

#[actix_web::test]
async fn a_wrong_replay_is_refused_dry_or_not() {
    let room = room().await;
    let app = app!(room);
    let id = enabled!(&app).await;
    let path = format!("/api/v1/connections/{id}/replays");
    room.deliveries.taken();
    for (wrong, field) in [
        (json!({"only": 3}), "only"),
        (json!({"only": "some"}), "only"),
        (json!({"only": "all", "condition": "sum revenu"}), "condition"),
        (json!({"only": "all", "from": "yesterday"}), "from"),
        (json!({"only": "all", "from": "2026-01-15T00:00:00Z", "to": "2026-01-15T00:00:00Z"}), "to"),
        (json!({"only": "all", "rate": 0}), "rate"),
        (json!({"only": "all", "rate": "fast"}), "rate"),
        (json!({"only": "all", "speed": 1}), "speed"),
    ] {
        for dry_run in [true, false] {
            let mut body = wrong.clone();
            body["dry_run"] = dry_run.into();
            let (status, refused) = answer!(&app, post(&path, body)).await;
            assert_eq!((status, &refused["field"]), (400, &json!(field)), "{wrong} {dry_run}: {refused}");
        }
    }
    let condition = json!({"only": "all", "condition": "sum revenu"});
    assert_eq!(answer!(&app, post(&path, condition)).await.1["fields"][0]["at"], 4);
    for dry_run in [true, false] {
        let body = json!({"only": "all", "dry_run": dry_run});
        assert_eq!(answer!(&app, post("/api/v1/connections/con_x/replays", body)).await.0, 404);
    }
    assert_eq!(room.deliveries.taken(), [""; 0], "what is refused is not begun");
}

#[actix_web::test]
async fn a_failure_of_delivery_is_an_answer_of_its_own() {
    let room = room().await;
    let app = app!(room);
    let id = enabled!(&app).await;
    for (failure, status, code) in [
        (crate::DeliveriesError::Refused("pause it first".into()), 409, "wrong_state"),
        (crate::DeliveriesError::Busy("too much".into()), 503, "overloaded"),
        (crate::DeliveriesError::Failed("disk".into()), 500, "internal"),
    ] {
        *room.deliveries.fails.lock().unwrap() = Some(failure);
        let (answered, body) = answer!(&app, get(&format!("/api/v1/dead-letters?connection={id}"))).await;
        assert_eq!((answered, &body["code"]), (status, &json!(code)));
    }
}
