use crate::testing::{Lake, error, rows, value};
use pipeline::event::{Event, Kind};
use pipeline::log::table::promoted::{ColumnChange, PromotedType};
use serde_json::json;

async fn track(lake: &Lake, id: &str, event: &str, properties: &str) {
    let track = Event {
        event: Some(event.to_owned().into()),
        user_id: Some("u".into()),
        properties: Some(properties.to_owned().into()),
        ..Event::new(Kind::Track, id)
    };
    lake.append(&[track]).await;
}

async fn pin(lake: &Lake, key: &str, kind: PromotedType) {
    let change = ColumnChange::Pin { key: key.into(), kind: Some(kind) };
    lake.log.change_columns(&change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_has_a_view_with_its_promoted_properties() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    assert!(error(&engine, "SELECT * FROM order_completed").await.to_string().contains("no table"));
    track(&lake, "1", "Order Completed", r#"{"price":3,"name":"a"}"#).await;
    lake.log.flush().await.unwrap();
    pin(&lake, "price", PromotedType::Double).await;
    pin(&lake, "name", PromotedType::Text).await;
    pin(&lake, "plan", PromotedType::Text).await;
    track(&lake, "2", "Order Completed", r#"{"price":4.5}"#).await;
    lake.log.flush().await.unwrap();
    track(&lake, "3", "Order Completed", r#"{"price":"free"}"#).await;
    track(&lake, "4", "Signed Up", r#"{"plan":"pro"}"#).await;

    let sql = "SELECT message_id, price, p_name, user_id FROM order_completed ORDER BY log_offset";
    let row = |id, price, name| json!({"message_id": id, "price": price, "p_name": name, "user_id": "u"});
    let expected = [row("1", json!(3.0), Some("a")), row("2", json!(4.5), None), row("3", json!(null), None)];
    assert_eq!(rows(&engine, sql).await, expected);
    assert_eq!(value(&engine, "SELECT plan FROM signed_up").await, json!("pro"));
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'signed_up'";
    assert_eq!(value(&engine, columns).await, json!(super::ENVELOPE.len() + 1));
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_type = 'VIEW' \
                  AND table_name IN ('order_completed', 'signed_up') ORDER BY 1";
    assert_eq!(rows(&engine, tables).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_collide_are_told_and_shadow_nothing() {
    let lake = Lake::new().await;
    for (id, event) in ["Order Completed", "order completed", "Events", "!", "It's"].into_iter().enumerate() {
        track(&lake, &id.to_string(), event, "{}").await;
    }
    let engine = lake.engine();
    let message = error(&engine, "SELECT * FROM order_completed").await.to_string();
    assert!(message.contains("`Order Completed` and `order completed`"), "{message}");
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, json!(5));
    assert_eq!(value(&engine, "SELECT count(*) FROM it_s").await, json!(1));
    let expected = [
        json!({"event": "!", "view": null, "note": "its name has no ASCII letter or digit"}),
        json!({"event": "Events", "view": null, "note": "`events` is another table"}),
        json!({"event": "It's", "view": "it_s", "note": null}),
        json!({"event": "Order Completed", "view": null, "note": "several events would have `order_completed`"}),
        json!({"event": "order completed", "view": null, "note": "several events would have `order_completed`"}),
    ];
    assert_eq!(rows(&engine, "SELECT * FROM event_views ORDER BY event").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_names_are_listed() {
    let lake = Lake::new().await;
    let names: Vec<(String, String)> =
        (0..3_000).map(|at| (format!("m{at}"), format!("Event {at}"))).collect();
    let event = |(id, name): &'static (String, String)| Event {
        event: Some(name.as_str().into()),
        ..Event::new(Kind::Track, id.as_str())
    };
    let names: &'static [(String, String)] = names.leak();
    lake.append(&names.iter().map(event).collect::<Vec<_>>()).await;
    lake.log.flush().await.unwrap();
    let engine = lake.engine();
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_name LIKE 'event\\_%'";
    assert_eq!(value(&engine, sql).await, json!(3_001));
    assert_eq!(value(&engine, "SELECT count(*) FROM event_2999").await, json!(1));
}
