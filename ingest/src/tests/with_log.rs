//! With the log that is used in earnest.

use crate::testing::{BROWSER, NOW, keys, post};
use crate::{Config, Ingest};
use actix_web::{App, test, web};
use pipeline::Clock;
use pipeline::log::{Log, LogConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn config(dir: &std::path::Path) -> LogConfig {
    LogConfig {
        dir: dir.join("log"),
        store: url::Url::from_directory_path(dir.join("tables")).unwrap().into(),
        durability: Default::default(),
        wal_bytes_max: 64 << 20,
        segment_bytes: 8 << 20,
        commit_age: Duration::from_secs(3_600),
        commit_bytes: 1 << 30,
        dedup_window: Duration::from_secs(3_600),
        dedup_memory_bytes_max: 16 << 20,
        promotion: Default::default(),
    }
}

#[actix_web::test]
async fn what_was_accepted_is_read_back_and_a_repeat_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::given(NOW);
    let log = Arc::new(Log::open(config(dir.path()), clock.clone()).await.unwrap());
    let ingest = Ingest::new(Arc::clone(&log), keys().await, Config::default(), clock).unwrap();
    let ingest = web::Data::new(ingest);
    let app = test::init_service(App::new().configure(|service| crate::configure(service, ingest))).await;
    let event = |id: &str| json!({ "type": "track", "event": "e", "userId": "u", "messageId": id });
    let items = json!({ "batch": [event("a"), event("b"), event("a"), 7], "writeKey": BROWSER });
    let send = |items: &Value| post("/v1/batch", items.to_string()).to_request();
    let answer: Value = test::call_and_read_body_json(&app, send(&items)).await;
    assert_eq!((&answer["received"], &answer["accepted"]), (&json!(4), &json!(2)), "{answer}");
    let statuses: Vec<&Value> =
        answer["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, ["accepted", "accepted", "duplicate", "rejected"]);
    let answer: Value = test::call_and_read_body_json(&app, send(&items)).await;
    assert_eq!(answer["accepted"], 0, "{answer}");

    let (stored, _) = log.reader(0).next(10).await.unwrap();
    let ids: Vec<&str> = stored.iter().map(|stored| &*stored.record.message_id).collect();
    assert_eq!((ids, &*stored[0].source), (vec!["a", "b"], "server"));

    log.close().await.unwrap();
    let answer = test::call_service(&app, send(&items)).await;
    assert_eq!(answer.status(), 503);
    let answer: Value = test::read_body_json(answer).await;
    assert_eq!(answer["code"], "shutting_down");
}
