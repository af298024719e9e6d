//! Properties with columns of their own.

use crate::harness::{ADMIN_KEY, Server, Start, until};
use crate::http::Request;
use serde_json::{Value, json};

/// As many as the census wants before it decides, and some.
const EVENTS: usize = 1_500;

#[test]
fn only_pinned_properties_get_columns_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let start = |promotion| Start::on(dir.path()).set("PROMOTE_COLUMNS", promotion).run();
    let server = start("pinned");
    let pin = Request::post("/api/v1/columns").bearer(ADMIN_KEY);
    let pinned = server.send(&pin.json(&json!({ "key": "coupon", "type": "text" })));
    assert!(pinned.status < 300, "{}", pinned.text());
    send(&server, "Order Completed", &json!({ "price": 12.5, "coupon": "X" }));
    let reason = until("the census to tell `price`", || without_column(&server, "price"));
    assert!(reason.contains("not pinned"), "{reason}");
    assert_eq!(columns(&server), [("coupon".to_owned(), true)]);
    let filled = "SELECT count(p_coupon) FROM events WHERE event = 'Order Completed'";
    assert_eq!(server.number(filled), EVENTS as i64);
    assert!(server.stop().success());

    // The same rows are enough for a column where nothing else is set.
    let server = start("automatic");
    let both = [("coupon".to_owned(), true), ("price".to_owned(), false)];
    until("the column of `price`", || (columns(&server) == both).then_some(()));
    assert!(server.stop().success());

    let server = start("pinned");
    send(&server, "Product Viewed", &json!({ "price": 2.5, "brand": "Acme" }));
    until("the census to tell `brand`", || without_column(&server, "brand"));
    assert_eq!(columns(&server), both, "columns promoted before stay, and no other comes");
    let filled = "SELECT count(p_price) FROM events WHERE event = 'Product Viewed'";
    assert_eq!(server.number(filled), EVENTS as i64, "and go on being filled");
    assert!(server.stop().success());
}

/// Sends as many events in one request, so that they lie in one file.
fn send(server: &Server, event: &str, properties: &Value) {
    let item = |number| {
        json!({ "type": "track", "messageId": format!("{event} {number}"), "userId": "ada", "event": event,
                "properties": properties })
    };
    let reply = server.batch(&(0..EVENTS).map(item).collect::<Vec<_>>());
    assert_eq!(reply.json()["accepted"], EVENTS, "{}", reply.text());
}

/// Each property that has a column, by the column's name, and whether it is pinned.
fn columns(server: &Server) -> Vec<(String, bool)> {
    let list = server.api("/api/v1/columns");
    let column =
        |column: &Value| (column["key"].as_str().unwrap().to_owned(), column["pinned"].as_bool().unwrap());
    list["columns"].as_array().unwrap().iter().map(column).collect()
}

/// Why a frequent property has no column, once that is told.
fn without_column(server: &Server, key: &str) -> Option<String> {
    let list = server.api("/api/v1/columns");
    let told = list["not_promoted"].as_array().unwrap().iter().find(|told| told["key"] == key)?;
    Some(told["reason"].as_str().unwrap().to_owned())
}
