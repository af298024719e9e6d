//! The tracking API as clients meet it, from headers to answers.

mod sockets;
mod with_log;

use crate::Config;
use crate::testing::{Answer, BROWSER, DISABLED, NOW, SERVER, Server, post};
use actix_web::http::Method;
use actix_web::test::TestRequest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pipeline::event::{Kind, parse_timestamp};
use pipeline::log::AppendError;
use serde_json::json;

const EVENT: &str = r#"{"event":"e","userId":"u"}"#;

async fn server() -> Server {
    Server::new(Config::default()).await
}

/// An event that is good on every path, as its kind or as a batch.
fn body_for(path: &str) -> String {
    let event = json!({ "type": "screen", "event": "e", "userId": "u", "groupId": "g", "previousId": "p" });
    let is_batch = path.ends_with("batch") || path.ends_with("/import") || path.ends_with("/b");
    if is_batch { json!({ "batch": [event] }).to_string() } else { event.to_string() }
}

#[actix_web::test]
async fn every_path_takes_events_of_its_kind() {
    let server = server().await;
    let segment = [
        ("identify", Kind::Identify),
        ("track", Kind::Track),
        ("page", Kind::Page),
        ("screen", Kind::Screen),
        ("group", Kind::Group),
        ("alias", Kind::Alias),
    ];
    let mut paths: Vec<(String, Kind)> = Vec::new();
    for (name, kind) in segment {
        paths.push((format!("/v1/{name}"), kind));
        paths.push((format!("/v1/{}", &name[..1]), kind));
        paths.push((format!("/api/s/{name}"), kind));
        paths.push((format!("/api/s/s2s/{name}"), kind));
    }
    for path in [
        "/v1/batch",
        "/v1/import",
        "/v1/b",
        "/beacon/v1/batch",
        "/api/s/batch",
        "/api/s/s2s/batch",
        "/api/s/event",
        "/api/s/s2s/event",
    ] {
        paths.push((path.to_owned(), Kind::Screen));
    }
    for (path, kind) in &paths {
        let answer = server.send(post(path, body_for(path))).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        assert_eq!(server.events().last().unwrap().kind, *kind, "{path}");
    }
    assert_eq!(server.events().len(), paths.len());
}

#[actix_web::test]
async fn all_ways_to_give_a_key_are_taken() {
    let server = server().await;
    let basic = |key: &str| format!("Basic {}", STANDARD.encode(key));
    let bare = || TestRequest::post().uri("/v1/track").set_payload(EVENT);
    let in_body = format!(r#"{{"event":"e","userId":"u","writeKey":"{SERVER}"}}"#);
    let in_envelope =
        format!(r#"{{"writeKey":"{SERVER}","batch":[{{"type":"track","event":"e","userId":"u"}}]}}"#);
    for request in [
        bare().insert_header(("authorization", basic(&format!("{SERVER}:")))),
        bare().insert_header(("authorization", basic(SERVER))),
        bare().insert_header(("x-write-key", SERVER)),
        bare().uri(&format!("/v1/track?writeKey={SERVER}")),
        bare().set_payload(in_body.clone()),
        bare().insert_header(("authorization", "Bearer token")).set_payload(in_body.clone()),
        bare().uri("/v1/batch").set_payload(in_envelope),
    ] {
        let answer = server.send(request).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    }
    for (status, code, request) in [
        (401, "unknown_source", bare()),
        (401, "unknown_source", bare().insert_header(("authorization", basic("nobody:")))),
        (401, "unknown_source", bare().insert_header(("x-write-key", "nobody")).set_payload(in_body)),
        (401, "unknown_source", bare().uri("/v1/track?writeKey=nobody")),
        (403, "source_disabled", bare().insert_header(("x-write-key", DISABLED))),
        (403, "source_disabled", bare().set_payload(format!(r#"{{"writeKey":"{DISABLED}"}}"#))),
    ] {
        let answer = server.send(request).await;
        assert_eq!((answer.status, &*answer.error()), (status, code));
    }
    assert_eq!(server.events().len(), 7);
}

#[actix_web::test]
async fn every_error_of_a_request_has_its_status_and_code() {
    let server = Server::new(Config { request_bytes_max: 64 << 10, ..Config::default() }).await;
    let gzip_bomb = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut gzip, &[b' '; 1 << 20]).unwrap();
        gzip.finish().unwrap()
    };
    let track = |body: &str| post("/v1/track", body);
    for (status, code, request) in [
        (400, "invalid_json", track("")),
        (400, "invalid_json", track("{")),
        (400, "invalid_json", post("/v1/track", b"\"\xff\"".to_vec())),
        (400, "empty_batch", post("/v1/batch", "{}")),
        (400, "bad_request", post("/v1/batch", r#"{"batch":1}"#)),
        (400, "bad_request", track("[]")),
        (400, "bad_request", track("not gzip").insert_header(("content-encoding", "gzip"))),
        (400, "no_user_anon_id", track(r#"{"event":"e"}"#)),
        (400, "event_not_defined", track(r#"{"userId":"u"}"#)),
        (400, "event_too_large", track(&format!(r#"{{"userId":"{}"}}"#, "x".repeat(33_000)))),
        (404, "unknown_path", post("/v1/nothing", "{}")),
        (404, "unknown_path", post("/", "{}")),
        (405, "method_not_allowed", TestRequest::get().uri("/v1/track")),
        (405, "method_not_allowed", TestRequest::delete().uri("/v1/batch")),
        (405, "method_not_allowed", post("/v1/pixel/track", "{}")),
        (413, "request_too_large", track(&" ".repeat((64 << 10) + 1))),
        (413, "request_too_large", post("/v1/track", gzip_bomb)),
        (415, "unsupported_media_type", track("{}").insert_header(("content-type", "application/xml"))),
        (
            415,
            "unsupported_media_type",
            track("{}").insert_header(("content-type", "multipart/form-data; boundary=x")),
        ),
        (415, "unsupported_encoding", track("{}").insert_header(("content-encoding", "compress"))),
        (415, "unsupported_encoding", track("{}").insert_header(("content-encoding", "gzip, br"))),
    ] {
        let answer = server.send(request).await;
        assert_eq!((answer.status, &*answer.error()), (status, code), "{}", answer.json());
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
    let kept: Vec<String> = server.rejected().iter().map(|rejected| rejected.code.to_string()).collect();
    assert_eq!(kept, ["bad_request", "no_user_anon_id", "event_not_defined", "event_too_large"]);
}

#[actix_web::test]
async fn any_content_type_of_a_client_is_taken() {
    let server = server().await;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/JSON;charset=UTF-8",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "",
    ] {
        let request = post("/v1/track", EVENT).insert_header(("content-type", content_type));
        assert_eq!(server.send(request).await.status, 200, "{content_type}");
    }
}

#[actix_web::test]
async fn a_log_that_takes_nothing_is_a_reason_to_come_again() {
    let server = server().await;
    type Refusal = (fn() -> AppendError, &'static str, &'static str);
    let refusals: [Refusal; 5] = [
        (|| AppendError::Overloaded { retry_after_s: 7 }, "overloaded", "7"),
        (|| AppendError::StorageFull { reason: "disk".into(), retry_after_s: 60 }, "storage_full", "60"),
        (
            || AppendError::StoreUnavailable { reason: "refused".into(), retry_after_s: 5 },
            "storage_unavailable",
            "5",
        ),
        (|| AppendError::ShuttingDown, "shutting_down", "1"),
        (|| AppendError::Failed("fsync".into()), "overloaded", "1"),
    ];
    for (refuse, code, seconds) in refusals {
        *server.log.refuse.lock().unwrap() = Some(refuse);
        for request in [post("/v1/track", EVENT), post("/v1/track", "{}")] {
            let answer = server.send(request).await;
            assert_eq!((answer.status, &*answer.error()), (503, code));
            assert_eq!(answer.header("retry-after"), Some(seconds));
        }
        let pixel = TestRequest::get().uri(&format!("/v1/pixel/page?userId=u&writeKey={SERVER}"));
        assert_eq!(server.send(pixel).await.status, 200);
    }
    assert_eq!(server.events().len(), 0);
}

#[actix_web::test]
async fn a_batch_is_answered_item_by_item_where_that_says_something() {
    let server = server().await;
    let good = |id: &str| json!({ "type": "track", "event": "e", "userId": "u", "messageId": id });
    let all_good = json!({ "batch": [good("a"), good("b")] }).to_string();
    let answer = server.send(post("/v1/batch", all_good.clone())).await;
    assert_eq!(answer.json(), json!({ "success": true, "received": 2, "accepted": 2 }));

    let mixed = json!({ "batch": [good("a"), good("c"), { "type": "track", "messageId": "d" }, 7] });
    let answer = server.send(post("/v1/b", mixed.to_string())).await;
    let json = answer.json();
    assert_eq!((answer.status, &json["received"], &json["accepted"]), (200, &json!(4), &json!(1)));
    let results = json["results"].as_array().unwrap();
    assert_eq!(results[0], json!({ "messageId": "a", "status": "duplicate" }));
    assert_eq!(results[1], json!({ "messageId": "c", "status": "accepted" }));
    assert_eq!((&results[2]["messageId"], &results[2]["status"]), (&json!("d"), &json!("rejected")));
    assert_eq!(results[2]["code"], "no_user_anon_id");
    assert!(results[2]["message"].as_str().unwrap().contains("userId"));
    assert_eq!((&results[3]["messageId"], &results[3]["code"]), (&json!(null), &json!("bad_request")));

    for request in [
        post("/v1/batch?verbose=1", json!({ "batch": [good("x1")] }).to_string()),
        post("/v1/batch", json!({ "batch": [good("x2")] }).to_string())
            .insert_header(("x-flowstate-verbose", "1")),
    ] {
        let answer = server.send(request).await.json();
        assert_eq!(answer["results"][0]["status"], "accepted", "{answer}");
    }
}

#[actix_web::test]
async fn a_single_event_is_answered_as_a_whole() {
    let server = server().await;
    let event = r#"{"event":"e","userId":"u","messageId":"m"}"#;
    for _ in ["accepted", "duplicate"] {
        let answer = server.send(post("/v1/t", event)).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "success": true })));
    }
    assert_eq!(server.events().len(), 1);
    let answer = server.send(post("/v1/t", r#"{"userId":"u"}"#)).await;
    assert_eq!((answer.status, &*answer.error()), (400, "event_not_defined"));
    assert_eq!(server.rejected()[0].body.as_deref(), Some(r#"{"userId":"u"}"#));
    assert_eq!(server.rejected()[0].field.as_deref(), Some("event"));
}

#[actix_web::test]
async fn a_preflight_is_answered_without_a_key() {
    let server = server().await;
    for path in ["/v1/t", "/v1/batch", "/v1/m", "/v1/pixel/track", "/v1/projects/k/settings", "/api/s/track"]
    {
        let request = TestRequest::with_uri(path)
            .method(Method::OPTIONS)
            .insert_header(("origin", "https://shop.example"))
            .insert_header(("access-control-request-headers", "anonymousid,authorization"));
        let answer = server.send(request).await;
        assert_eq!(answer.header("access-control-allow-headers"), Some("anonymousid,authorization"));
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
        let answer = server.send(TestRequest::with_uri(path).method(Method::OPTIONS)).await;
        let headers = answer.header("access-control-allow-headers").unwrap();
        for header in ["authorization", "content-type", "x-write-key", "content-encoding", "x-retry-count"] {
            assert!(headers.contains(header), "{header}");
        }
    }
}

#[actix_web::test]
async fn a_pixel_is_a_picture_and_an_event() {
    let server = server().await;
    let data = json!({ "writeKey": BROWSER, "event": "Opened", "userId": "ü?>", "properties": { "n": 1 } });
    let data = data.to_string();
    let standard = STANDARD.encode(&data);
    let escaped = standard.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    for path in [
        format!("/v1/pixel/track?data={escaped}"),
        format!("/v1/pixel/track?data={standard}"),
        format!("/v1/pixel/t?data={}", URL_SAFE_NO_PAD.encode(&data)),
        format!("/v1/pixel/track?writeKey={BROWSER}&event=Opened&userId=%C3%BC%3F%3E&properties.n=1"),
    ] {
        is_picture(&server.send(TestRequest::get().uri(&path)).await);
    }
    let events = server.events();
    assert_eq!(events.len(), 4);
    for event in &events {
        assert_eq!((event.kind, event.event.as_deref()), (Kind::Track, Some("Opened")));
        assert_eq!(event.user_id.as_deref(), Some("ü?>"));
        assert_eq!(event.context.as_deref(), Some(r#"{"ip":"198.51.100.7"}"#));
    }
    assert_eq!(events[3].properties.as_deref(), Some(r#"{"n":"1"}"#));
    for path in [
        "/v1/pixel/track".to_owned(),
        "/v1/pixel/what?data=%%%".to_owned(),
        "/v1/pixel/track?data=e30".to_owned(),
        format!("/v1/pixel/track?writeKey={DISABLED}"),
        format!("/v1/pixel/track?writeKey={BROWSER}"),
        format!("/v1/pixel/what?writeKey={BROWSER}&userId=u"),
    ] {
        is_picture(&server.send(TestRequest::get().uri(&path)).await);
    }
    let codes: Vec<String> = server.rejected().iter().map(|rejected| rejected.code.to_string()).collect();
    assert_eq!(codes, ["no_user_anon_id", "bad_request"]);
}

fn is_picture(answer: &Answer) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
    assert!(answer.body.starts_with(b"GIF89a\x01\0\x01\0") && answer.body.len() == 43);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[actix_web::test]
async fn analytics_js_gets_its_settings() {
    let server = server().await;
    let request = TestRequest::get()
        .uri(&format!("/v1/projects/{BROWSER}/settings"))
        .insert_header(("host", "events.shop.example"));
    let answer = server.send(request).await;
    let json = answer.json();
    assert_eq!(answer.status, 200);
    let segment = &json["integrations"]["Segment.io"];
    assert_eq!(segment["apiKey"], BROWSER);
    assert_eq!(segment["apiHost"], "events.shop.example/v1");
    assert!(json["plan"].is_object() && json["edgeFunction"].is_object());
    for (key, status) in [("nobody", 401), (DISABLED, 403)] {
        let answer = server.send(TestRequest::get().uri(&format!("/v1/projects/{key}/settings"))).await;
        assert_eq!(answer.status, status);
        answer.error();
    }
}

#[actix_web::test]
async fn analytics_js_is_told_to_send_the_way_it_came() {
    let server = server().await;
    for (host, header, protocol) in [
        ("10.0.0.5:8080", ("x-other", "-"), "http"),
        ("10.0.0.5:8080", ("origin", "http://10.0.0.5"), "http"),
        ("events.shop.example", ("origin", "https://shop.example"), "https"),
        ("events.shop.example", ("referer", "https://shop.example/cart"), "https"),
        ("events.shop.example", ("x-forwarded-proto", "https"), "https"),
        ("events.shop.example", ("x-forwarded-proto", "http"), "http"),
        ("localhost:8080", ("origin", "https://shop.example"), "http"),
    ] {
        let request = TestRequest::get()
            .uri(&format!("/v1/projects/{BROWSER}/settings"))
            .insert_header(("host", host))
            .insert_header(header);
        let json = server.send(request).await.json();
        assert_eq!(json["integrations"]["Segment.io"]["protocol"], protocol, "{host} {header:?}");
    }
}

#[actix_web::test]
async fn a_librarys_own_metrics_are_taken_and_dropped() {
    let server = server().await;
    let answer = server.send(TestRequest::post().uri("/v1/m").set_payload(r#"{"series":[]}"#)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "success": true })));
    assert!(server.events().is_empty() && server.rejected().is_empty());
}

#[actix_web::test]
async fn only_a_trusted_proxy_may_speak_for_a_client() {
    for (trusted, ip) in [(vec!["198.51.100.0/24".parse().unwrap()], "203.0.113.9"), (vec![], "198.51.100.7")]
    {
        let server = Server::new(Config { trusted_proxies: trusted, ..Config::default() }).await;
        let request = TestRequest::post()
            .uri(&format!("/v1/track?writeKey={BROWSER}"))
            .insert_header(("x-forwarded-for", "10.0.0.1, 203.0.113.9"))
            .set_payload(EVENT);
        assert_eq!(server.send(request).await.status, 200);
        assert_eq!(server.events()[0].context.as_deref(), Some(&*format!(r#"{{"ip":"{ip}"}}"#)));
    }
}

#[actix_web::test]
async fn large_and_small_bodies_are_taken_alike() {
    let server = server().await;
    let event = json!({ "type": "track", "event": "e", "userId": "u", "sentAt": "2026-01-15T12:00:00Z",
        "properties": { "text": "x".repeat(1_000) } });
    for count in [1, 10, 500] {
        let before = server.events().len();
        let answer =
            server.send(post("/v1/batch", json!({ "batch": vec![&event; count] }).to_string())).await;
        assert_eq!(answer.json(), json!({ "success": true, "received": count, "accepted": count }));
        assert_eq!(server.events().len(), before + count);
    }
    assert_eq!(server.events()[0].sent_at, parse_timestamp("2026-01-15T12:00:00Z"));
    assert_eq!(server.events()[0].sent_at, Some(NOW));
}

#[actix_web::test]
async fn what_is_over_a_limit_is_told_when_to_come_again() {
    let config = Config { source_events_per_s_max: 2, address_requests_per_s_max: 4, ..Config::default() };
    let server = Server::new(config).await;
    let batch = json!({ "batch": vec![json!({ "type": "track", "event": "e", "userId": "u" }); 5] });
    assert_eq!(server.send(post("/v1/batch", batch.to_string())).await.status, 200);
    for (key, from) in [("x-write-key", SERVER), ("x-other", ""), ("x-other", "")] {
        // The source is over its limit, wherever its key stands.
        let mut event: serde_json::Value = serde_json::from_str(EVENT).unwrap();
        event["writeKey"] = SERVER.into();
        let request = TestRequest::post().uri("/v1/track").insert_header((key, from));
        let answer = server.send(request.set_payload(event.to_string())).await;
        assert_eq!((answer.status, &*answer.error()), (429, "rate_limited"));
        assert_eq!(answer.header("retry-after"), Some("2"), "1.5 s are missing");
    }
    // The address now as well, with any key and none, and at the pixel, which cannot say so.
    let answer = server.send(TestRequest::post().uri("/v1/track").set_payload(EVENT)).await;
    assert_eq!((answer.status, &*answer.error()), (429, "rate_limited"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let pixel = format!("/v1/pixel/track?writeKey={BROWSER}&event=e&userId=u");
    assert_eq!(server.send(TestRequest::get().uri(&pixel)).await.status, 200);
    assert_eq!(server.events().len(), 5, "nothing of a refused request is kept");
}

#[actix_web::test]
async fn behind_a_trusted_proxy_each_client_has_a_limit_of_its_own() {
    let trusted_proxies = vec!["198.51.100.0/24".parse().unwrap()];
    let server =
        Server::new(Config { address_requests_per_s_max: 1, trusted_proxies, ..Config::default() }).await;
    let send = async |client: &str| {
        server.send(post("/v1/track", EVENT).insert_header(("x-forwarded-for", client))).await.status
    };
    assert_eq!([send("203.0.113.1").await, send("203.0.113.1").await], [200, 429]);
    assert_eq!([send("203.0.113.2").await, send("203.0.113.2").await], [200, 429]);
}
