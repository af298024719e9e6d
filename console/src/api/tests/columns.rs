use super::*;

#[actix_web::test]
async fn columns_are_listed_pinned_and_unpinned() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, get("/api/v1/columns")).await;
    let expected = json!({
        "columns": [{"key": "price", "name": "p_price", "type": "double", "pinned": true,
                     "rows_filled": 1, "mismatches": 0}],
        "rows": 2,
        "not_promoted": [],
    });
    assert_eq!((status, body), (200, expected));
    for (body, status, code) in [
        (json!({"key": "price"}), 200, None),
        (json!({"key": "price", "type": "double"}), 200, None),
        (json!({"key": "price", "type": "text"}), 400, Some("invalid_field")),
        (json!({"key": "price", "type": "float"}), 400, Some("invalid_field")),
        (json!({"type": "text"}), 400, Some("invalid_field")),
        (json!({"key": "x", "kind": "text"}), 400, Some("invalid_field")),
        (json!({"key": "x"}), 409, Some("exists")),
    ] {
        let (answered, answer) = answer!(&app, post("/api/v1/columns", &body)).await;
        assert_eq!((answered, answer["code"].as_str()), (status, code), "{body}");
    }
    let unpin = |key: &str| post("/api/v1/columns", json!({ "key": key })).method(Method::DELETE);
    assert_eq!(call_service(&app, unpin("price").to_request()).await.status().as_u16(), 204);
    assert_eq!(answer!(&app, unpin("x")).await.0, 404);
}
