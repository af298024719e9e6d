//! Looking through what came in, and following it.

use super::*;

pub(super) fn logged(offset: Offset) -> LoggedEvent {
    let json = |text: &str| Some(serde_json::from_str(text).unwrap());
    LoggedEvent {
        partition: "aa".into(),
        offset,
        received_at: "2026-01-15T12:00:00.000000Z".into(),
        source: "web".into(),
        test: true,
        r#type: "track",
        message_id: format!("m{offset}"),
        original_message_id: None,
        anonymous_id: None,
        user_id: Some("ada".into()),
        group_id: None,
        previous_id: None,
        event: Some("Paid".into()),
        name: None,
        category: None,
        timestamp: "2026-01-15T12:00:00.000000Z".into(),
        original_timestamp: None,
        sent_at: None,
        properties: json("{\"price\": 1.50,\n \"many\": 12345678901234567890123}"),
        traits: None,
        context: None,
        integrations: None,
        extra: None,
        flags: Vec::new(),
    }
}

pub(super) fn refused(offset: Offset) -> RejectedEvent {
    RejectedEvent {
        partition: "aa".into(),
        offset,
        received_at: "2026-01-15T12:00:00.000000Z".into(),
        source: "web".into(),
        test: false,
        code: "no_user_anon_id".into(),
        field: Some("userId".into()),
        message: "it names nobody".into(),
        message_id: None,
        body: Some("{}".into()),
        body_bytes: 2,
        admitted: None,
    }
}

/// An event, a gap, something of no interest, and then nothing for ever.
pub(super) fn news() -> BoxStream<'static, Result<News, ReadError>> {
    let of = |gap, events, position| Ok(News { partition: PartitionId("aa".into()), gap, events, position });
    let some = [of(None, vec![logged(7)], 8), of(Some(8..20), vec![], 20), of(None, vec![], 25)];
    stream::iter(some).chain(stream::pending()).boxed()
}

#[actix_web::test]
async fn a_page_of_events_is_found_by_filters_and_leads_to_the_next() {
    let room = room().await;
    let app = app!(room);
    let path = "/api/v1/events?source=web&type=track&event=Paid&user_id=ada&anonymous_id=a&message_id=m\
                &from=2026-01-15&to=2026-01-16T00:00:00Z&order=oldest&limit=7&after=5.aa";
    let response = call_service(&app, get(path).to_request()).await;
    let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
    assert!(text.contains("12345678901234567890123") && text.contains("1.50"), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["next"], &body["events"][0]["message_id"]), (&json!("5.aa"), &json!("m7")));
    let asked = room.fake.asked.lock().unwrap().pop().unwrap();
    for part in [
        r#"("source", "web"), ("type", "track"), ("event", "Paid"), ("user_id", "ada")"#,
        r#"("anonymous_id", "a"), ("message_id", "m")"#,
        "from: Some(1768435200000000), to: Some(1768521600000000)",
        r#"received_at: 5, partition: "aa""#,
        "oldest_first: true, limit: 7",
    ] {
        assert!(asked.contains(part), "{asked}");
    }
    let (status, body) = answer!(&app, get("/api/v1/rejected?code=no_user_anon_id&field=userId")).await;
    assert_eq!((status, &body["rejected"][0]["offset"]), (200, &json!(8)));
    let asked = room.fake.asked.lock().unwrap().pop().unwrap();
    assert!(asked.contains("oldest_first: false, limit: 50"), "{asked}");
}

#[actix_web::test]
async fn what_is_wrong_with_a_search_is_named() {
    let room = room().await;
    let app = app!(room);
    let long = format!("user_id={}", "x".repeat(1_001));
    for (wrong, field) in [
        ("from=yesterday", "from"),
        ("to=", "to"),
        ("order=up", "order"),
        ("after=here", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("userId=ada", "userId"),
        (long.as_str(), "user_id"),
    ] {
        let (status, body) = answer!(&app, get(&format!("/api/v1/events?{wrong}"))).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{body}");
    }
    let (status, body) = answer!(&app, get("/api/v1/rejected?limit=201")).await;
    assert_eq!((status, &body["field"]), (400, &json!("limit")));
    let (status, body) = answer!(&app, get("/api/v1/events/stream?from=2026-01-15")).await;
    assert_eq!((status, &body["field"]), (400, &json!("from")));
    for id in ["7", "aa:", ":7", "a a:7", "aa:-1"] {
        let request = get("/api/v1/events/stream").insert_header(("last-event-id", id));
        let (status, body) = answer!(&app, request).await;
        assert_eq!((status, &body["field"]), (400, &json!("Last-Event-ID")), "{id}");
    }
}

#[actix_web::test]
async fn what_comes_in_is_told_as_server_sent_events() {
    let room = room().await;
    let app = app!(room);
    let request = get("/api/v1/events/stream?source=web").insert_header(("Last-Event-ID", "aa:6"));
    let response = call_service(&app, request.to_request()).await;
    assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
    assert_eq!(room.fake.asked.lock().unwrap()[0], r#"[("source", "web")] Some((PartitionId("aa"), 6))"#);
    drop(response);

    let seat = Arc::clone(&room.console.followers).try_acquire_owned().unwrap();
    // Without a time of silence, the heart beats as soon as there is nothing to say.
    let texts = follow::body(news(), seat, std::time::Duration::ZERO).take(4);
    let texts: Vec<_> = texts.map(|text| String::from_utf8(text.unwrap().to_vec()).unwrap()).collect().await;
    let [first, event, gap, heartbeat] = texts.try_into().unwrap();
    assert_eq!(first, "retry: 2000\n\n");
    assert!(event.starts_with("id: aa:7\ndata: {\"partition\":\"aa\",\"offset\":7"), "{event}");
    assert!(event.contains("12345678901234567890123") && event.contains("\"test\":true"), "{event}");
    assert!(event.ends_with("}\n\n") && event.lines().count() == 3, "{event}");
    assert_eq!(gap, "event: gap\nid: aa:19\ndata: {\"from\":8,\"partition\":\"aa\",\"to\":20}\n\n");
    assert_eq!(heartbeat, ": nothing new\nid: aa:24\n\n", "it remembers what was of no interest");
}

#[actix_web::test]
async fn so_many_may_follow_and_no_more() {
    let room = room().await;
    let app = app!(room);
    let mut following = Vec::new();
    for _ in 0..crate::FOLLOWERS_MAX {
        let response = call_service(&app, get("/api/v1/events/stream").to_request()).await;
        assert_eq!(response.status(), StatusCode::OK);
        following.push(response);
    }
    let refused = call_service(&app, get("/api/v1/events/stream").to_request()).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    following.pop();
    let next = call_service(&app, get("/api/v1/events/stream").to_request()).await;
    assert_eq!(next.status(), StatusCode::OK, "a seat is free again");
}
