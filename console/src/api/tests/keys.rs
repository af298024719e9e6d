//! Who may do what.

use super::*;

/// A key with these scopes, as it is sent.
async fn key_with(room: &Room, name: &str, scopes: &[Scope], expires_at: Option<i64>) -> String {
    let secret = Secret::api_key().unwrap();
    let key = api_key(name, &secret, scopes, expires_at);
    room.store.add_api_key(key).await.unwrap();
    room.keys.refresh().await.unwrap();
    secret.reveal().to_owned()
}

fn with_key(request: TestRequest, key: &str) -> TestRequest {
    request.insert_header(("Authorization", format!("Bearer {key}")))
}

#[actix_web::test]
async fn each_endpoint_wants_the_scope_that_the_document_says() {
    let room = room().await;
    let app = app!(room);
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    for held in Scope::ALL {
        let key = key_with(&room, &format!("only-{}", held.as_str().replace(':', "-")), &[held], None).await;
        for endpoint in endpoints() {
            let method = endpoint.method.as_str().to_lowercase();
            let described = &document["paths"][endpoint.path][method.as_str()];
            let scope = endpoint.scope.as_str();
            assert_eq!(described["security"], json!([{"api_key": [scope]}]), "{method} {}", endpoint.path);
            let path = format!("{ROOT}{}", endpoint.path.replace(['{', '}'], ""));
            let request = TestRequest::default().method(endpoint.method.clone()).uri(&path);
            let response = call_service(&app, with_key(request, &key).to_request()).await;
            if held == endpoint.scope || held == Scope::Admin {
                assert!(!matches!(response.status().as_u16(), 401 | 403), "{path} {held:?}");
                continue;
            }
            let challenge = response.headers().get("www-authenticate").unwrap().to_str().unwrap().to_owned();
            assert!(challenge.contains(scope), "{challenge}");
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {held:?}");
            let body: Value = read_body_json(response).await;
            assert_eq!((&body["code"], &body["scope"]), (&json!("forbidden"), &json!(scope)));
        }
    }
}

#[actix_web::test]
async fn a_key_is_shown_once_and_holds_until_it_is_revoked() {
    let room = room().await;
    let app = app!(room);
    let body = json!({"name": "ci", "scopes": ["sources:write", "read", "read"],
                      "expires_at": "2026-02-01T00:00:00Z"});
    let (status, added) = answer!(&app, post("/api/v1/keys", body.clone())).await;
    assert_eq!((status, &added["scopes"]), (201, &json!(["read", "sources:write"])), "{added}");
    let key = added["key"].as_str().unwrap().to_owned();
    let sources = || with_key(TestRequest::get().uri("/api/v1/sources"), &key);
    assert_eq!(answer!(&app, sources()).await.0, 200);

    let (_, listed) = answer!(&app, get("/api/v1/keys")).await;
    assert!(!listed.to_string().contains(&key), "{listed}");
    let ci = &listed["keys"][1];
    assert_eq!((&ci["name"], &ci["expires_at"]), (&json!("ci"), &json!("2026-02-01T00:00:00.000000Z")));
    assert_eq!(ci["last_used_at"], "2026-01-15T12:00:00.000000Z");
    assert_eq!(answer!(&app, post("/api/v1/keys", body)).await.0, 409);

    let revoke = || get("/api/v1/keys/ci").method(Method::DELETE);
    assert_eq!(call_service(&app, revoke().to_request()).await.status(), StatusCode::NO_CONTENT);
    let (status, gone) = answer!(&app, sources()).await;
    assert_eq!((status, &gone["code"]), (401, &json!("unauthorized")));
    assert_eq!(answer!(&app, revoke()).await.0, 404);
}

#[actix_web::test]
async fn a_key_that_expired_is_refused_with_the_time() {
    let room = room().await;
    let app = app!(room);
    let key = key_with(&room, "old", &[Scope::Admin], Some(1_768_478_400_000_000)).await;
    let (status, body) = answer!(&app, with_key(TestRequest::get().uri("/api/v1/sources"), &key)).await;
    assert_eq!((status, &body["code"]), (401, &json!("expired")));
    assert!(body["message"].as_str().unwrap().contains("2026-01-15T12:00:00"), "{body}");
}

#[actix_web::test]
async fn what_is_wrong_with_a_new_key_is_named() {
    let room = room().await;
    let app = app!(room);
    for (body, field) in [
        (json!({"scopes": ["read"]}), "name"),
        (json!({"name": "A B", "scopes": ["read"]}), "name"),
        (json!({"name": "a"}), "scopes"),
        (json!({"name": "a", "scopes": "read"}), "scopes"),
        (json!({"name": "a", "scopes": []}), "scopes"),
        (json!({"name": "a", "scopes": ["read", "root"]}), "scopes[1]"),
        (json!({"name": "a", "scopes": ["read"], "expires_at": "2026-01-15T12:00:00Z"}), "expires_at"),
        (json!({"name": "a", "scopes": ["read"], "expires_at": 5}), "expires_at"),
        (json!({"name": "a", "scopes": ["read"], "admin": true}), "admin"),
    ] {
        let (status, answer) = answer!(&app, post("/api/v1/keys", &body)).await;
        assert_eq!((status, &answer["field"]), (400, &json!(field)), "{body}: {answer}");
    }
}
