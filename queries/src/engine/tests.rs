use crate::testing::{Lake, at, error, rows, value};
use crate::{EngineConfig, SqlError};
use pipeline::event::{Event, Kind};
use serde_json::json;
use std::time::Duration;

const LONG: &str = "SELECT count(*) FROM generate_series(1, 100000000) a(x), generate_series(1, 100000000) b(y) WHERE x <> y";

fn track<'a>(id: &'a str, properties: &'a str) -> Event<'a> {
    Event { event: Some("Order".into()), properties: Some(properties.into()), ..Event::new(Kind::Track, id) }
}

#[tokio::test]
async fn properties_are_read_with_operators_and_casts() {
    let lake = Lake::new().await;
    let texts = [
        r#"{"price": 12.5, "n": {"a": [1, "two"]}, "t": "x"}"#,
        r#"{"price": "7"}"#,
        r#"{"price": "free"}"#,
        r#"{"price": null}"#,
        r#"{"price": "#,
        "",
        "[1]",
        "\u{0}",
        r#"{"price": 1e999}"#,
        r#"{"price": NaN}"#,
    ];
    let ids: Vec<String> = (0..texts.len()).map(|id| id.to_string()).collect();
    let events: Vec<_> = texts.iter().zip(&ids).map(|(text, id)| track(id, text)).collect();
    lake.append(&events[..5]).await;
    lake.log.flush().await.unwrap();
    lake.append(&events[5..]).await;
    let engine = lake.engine();
    let sum = "SELECT sum((properties->>'price')::double) FROM events WHERE message_id < '8'";
    assert_eq!(value(&engine, sum).await, json!(19.5));
    assert_eq!(
        value(&engine, "SELECT count(*) FROM events WHERE properties->>'price' = 'free'").await,
        json!(1)
    );
    let over = "SELECT count(*) FROM events WHERE (properties->>'price')::double > 10 AND message_id < '8'";
    assert_eq!(value(&engine, over).await, json!(1));
    value(&engine, "SELECT count(*) FROM events WHERE properties->>'price' > 10").await;
    value(&engine, "SELECT max(cast(properties->>'price' AS bigint)) FROM events").await;
    let nested = "SELECT properties->'n'->'a' AS a, json_get_int(properties, 'price') AS price,
        json_length(properties) AS length, json_object_keys(properties) AS keys
        FROM events ORDER BY log_offset LIMIT 1";
    assert_eq!(
        rows(&engine, nested).await,
        [json!({"a": [1, "two"], "price": null, "length": 3, "keys": ["price", "n", "t"]})]
    );
    for function in ["json_length", "json_object_keys"] {
        rows(&engine, &format!("SELECT {function}(properties) FROM events")).await;
    }
    for function in [
        "json_get",
        "json_get_str",
        "json_get_float",
        "json_get_int",
        "json_get_bool",
        "json_get_json",
        "json_get_array",
        "json_as_text",
        "json_contains",
        "json_length",
    ] {
        rows(&engine, &format!("SELECT {function}(properties, 'price') FROM events")).await;
    }
}

#[tokio::test]
async fn statements_about_the_tables_are_answered() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    let names: Vec<_> = rows(&engine, tables).await.iter().map(|row| row["table_name"].clone()).collect();
    assert_eq!(names, ["accounting", "event_views", "events", "holes", "profiles", "receipts", "rejected"]);
    assert!(!rows(&engine, "SHOW TABLES").await.is_empty());
    assert_eq!(rows(&engine, "DESCRIBE events").await[0]["column_name"], "log_partition");
    assert_eq!(rows(&engine, "SHOW COLUMNS FROM profiles").await.len(), 8);
    assert!(!rows(&engine, "EXPLAIN SELECT * FROM events").await.is_empty());
    assert!(!rows(&engine, "EXPLAIN ANALYZE SELECT count(*) FROM accounting").await.is_empty());
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, json!(0));
    assert_eq!(rows(&engine, "SELECT * FROM profiles").await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn a_file_cannot_be_read_by_its_name() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/tmp/a.csv'",
        "SELECT * FROM read_csv('/tmp/a.csv')",
        "SELECT * FROM read_parquet('/tmp/a.parquet')",
        "SELECT * FROM parquet_metadata('/tmp/a.parquet')",
    ] {
        assert!(matches!(error(&engine, sql).await, SqlError::Invalid { .. }), "{sql}");
    }
}

#[tokio::test]
async fn an_answer_is_cut_at_the_most_rows_and_says_so() {
    let lake = Lake::new().await;
    let engine = lake.engine_with(EngineConfig { rows_max: 10, ..EngineConfig::default() });
    for (rows, truncated) in [(9, false), (10, false), (11, true), (100_000, true)] {
        let answer = engine.query(&format!("SELECT value FROM generate_series(1, {rows})")).await.unwrap();
        let (batches, cut) = answer.collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows.min(10));
        assert_eq!(cut, truncated, "{rows}");
    }
}

#[tokio::test]
async fn an_answer_is_cut_at_the_most_bytes() {
    let lake = Lake::new().await;
    let engine = lake.engine_with(EngineConfig { result_bytes_max: 10_000, ..EngineConfig::default() });
    let answer = engine.query("SELECT repeat('x', 100) FROM generate_series(1, 1000)").await.unwrap();
    let (batches, cut) = answer.collect().await.unwrap();
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    assert!(cut && rows > 50 && rows <= 100, "{rows}");
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended() {
    let lake = Lake::new().await;
    let timeout = Duration::from_millis(50);
    let engine = lake.engine_with(EngineConfig { timeout, concurrent_max: 1, ..EngineConfig::default() });
    assert!(matches!(error(&engine, LONG).await, SqlError::TooLong { .. }));
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_is_ended() {
    let lake = Lake::new().await;
    let config =
        EngineConfig { memory_bytes_max: 200_000, spill_bytes_max: 1_000, ..EngineConfig::default() };
    let engine = lake.engine_with(config);
    let sql = "SELECT array_agg(repeat('x', 1000) || value) FROM generate_series(1, 1000000)";
    assert_eq!(error(&engine, sql).await, SqlError::TooMuchMemory { bytes: 200_000 });
}

#[tokio::test]
async fn a_query_too_many_is_told_so_and_a_dropped_answer_makes_room() {
    let lake = Lake::new().await;
    let engine = lake.engine_with(EngineConfig { concurrent_max: 1, ..EngineConfig::default() });
    let endless = "SELECT * FROM generate_series(1, 100000000000) WHERE value > 0";
    let answer = engine.query(endless).await.unwrap();
    assert_eq!(error(&engine, "SELECT 1").await, SqlError::Busy { queries: 1 });
    drop(answer);
    while let Err(error) = engine.query("SELECT 1").await {
        assert_eq!(error, SqlError::Busy { queries: 1 });
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_sees_what_was_acknowledged_before_it_began_and_nothing_twice() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    for round in 0_usize..6 {
        let ids: Vec<String> = (0..10).map(|id| format!("{round}-{id}")).collect();
        let events: Vec<_> = ids.iter().map(|id| at(Kind::Track, id, "2026-03-01T09:00:00Z")).collect();
        lake.append(&events).await;
        if round % 2 == 0 {
            lake.log.flush().await.unwrap();
        }
        let sql = "SELECT count(*) AS n, count(DISTINCT message_id) AS ids, count(DISTINCT log_offset) AS offsets FROM events";
        let n = 10 * (round + 1);
        assert_eq!(rows(&engine, sql).await, [json!({"n": n, "ids": n, "offsets": n})]);
        assert_eq!(value(&engine, "SELECT count(*) FROM receipts").await, json!(round + 1));
    }
}

#[tokio::test]
async fn columns_of_the_same_name_in_a_join_are_not_mixed_up() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    let event = |id, user: &'static str, anonymous: &'static str| Event {
        user_id: (!user.is_empty()).then(|| user.into()),
        anonymous_id: Some(anonymous.into()),
        ..Event::new(Kind::Track, id)
    };
    lake.append(&[
        event("1", "", "a1"),
        event("2", "u1", "a1"),
        event("3", "u2", "a2"),
        event("4", "", "a3"),
    ])
    .await;
    lake.log.flush().await.unwrap();
    let either = "SELECT a.message_id FROM events a
        LEFT JOIN (SELECT anonymous_id, min(user_id) AS user_id FROM events WHERE user_id IS NOT NULL GROUP BY 1) b
        ON a.anonymous_id = CASE WHEN a.type = 'track' THEN b.anonymous_id END
        WHERE coalesce(a.user_id, b.user_id) IS NOT NULL ORDER BY 1";
    assert_eq!(rows(&engine, either).await.len(), 3);
    let anti = "SELECT a.message_id, a.user_id FROM events a
        LEFT JOIN events b ON a.anonymous_id = lower(b.anonymous_id) AND b.user_id IS NOT NULL
        WHERE b.user_id IS NULL";
    assert_eq!(rows(&engine, anti).await, [json!({"message_id": "4", "user_id": null})]);
    let top =
        "SELECT a.message_id FROM events a JOIN events b ON upper(a.anonymous_id) = upper(b.anonymous_id)
        ORDER BY b.message_id DESC, a.message_id LIMIT 2";
    assert_eq!(rows(&engine, top).await, [json!({"message_id": "4"}), json!({"message_id": "3"})]);
}

#[tokio::test]
async fn an_error_behind_the_first_rows_reaches_a_slow_reader() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    let sql = "SELECT cast(CASE WHEN value = 90000 THEN 'x' ELSE '1' END AS bigint) AS n
        FROM generate_series(1, 100000)";
    let mut answer = engine.query(sql).await.unwrap();
    let mut outcomes = Vec::new();
    while let Some(outcome) = answer.next().await {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        outcomes.push(outcome.map(|batch| batch.num_rows()));
    }
    let last = outcomes.pop().unwrap();
    assert!(matches!(last, Err(SqlError::Invalid { .. })), "{last:?}");
    assert!(!outcomes.is_empty() && outcomes.iter().all(Result::is_ok));
    assert!(!answer.truncated());
}
