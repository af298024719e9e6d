use crate::testing::{Lake, at, rows, value};
use pipeline::clock::DAY;
use pipeline::event::{Event, Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

/// How many files the scan of `sql` opens by its plan.
async fn files(engine: &crate::Engine, sql: &str) -> usize {
    let plan = rows(engine, &format!("EXPLAIN {sql}")).await;
    let plan: String = plan.iter().map(|row| row["plan"].as_str().unwrap()).collect();
    plan.matches(".parquet").count()
}

/// Three days with one file each, and one event that waits.
async fn three_days() -> Lake {
    let lake = Lake::new().await;
    for day in 1..=3 {
        let time = format!("2026-03-0{day}T09:00:00Z");
        let ids = [format!("m{day}a"), format!("m{day}b")];
        let event = |id| Event { user_id: Some(format!("u{day}").into()), ..at(Kind::Track, id, &time) };
        lake.append(&[event(&ids[0]), event(&ids[1])]).await;
        lake.log.flush().await.unwrap();
        lake.clock.advance(DAY);
    }
    lake.append(&[at(Kind::Page, "m4", "2026-03-04T09:00:00Z")]).await;
    lake
}

#[tokio::test]
async fn files_that_cannot_match_are_not_scanned() {
    let lake = three_days().await;
    let engine = lake.engine();
    for (filter, scanned, found) in [
        ("true", 3, 7),
        ("received_date = '2026-03-02'", 1, 2),
        ("received_date >= '2026-03-02'", 2, 5),
        ("timestamp < '2026-03-01T10:00:00Z'", 1, 2),
        ("timestamp > '2026-03-03T00:00:00Z'", 1, 3),
        ("received_at < '2026-03-01T00:00:00Z'", 0, 0),
        ("date_trunc('day', received_at) = '2026-03-02'", 1, 2),
        ("date_trunc('hour', received_at) > '2026-03-01T10:00:00Z'", 2, 5),
        ("date_trunc('hour', received_at - INTERVAL '1 day') < '2026-03-01T10:00:00Z'", 1, 2),
        ("message_id = 'm2a'", 1, 1),
        ("message_id IN ('m1a', 'm3b')", 2, 2),
        ("log_offset < 3", 1, 2),
    ] {
        let sql = format!("SELECT message_id FROM events WHERE {filter}");
        assert_eq!(files(&engine, &sql).await, scanned, "{filter}");
        assert_eq!(rows(&engine, &sql).await.len(), found, "{filter}");
    }
}

#[tokio::test]
async fn committed_rows_are_counted_without_reading_them() {
    let lake = three_days().await;
    lake.log.flush().await.unwrap();
    let engine = lake.engine();
    assert_eq!(value(&engine, "SELECT count(*) FROM events").await, json!(7));
    assert_eq!(files(&engine, "SELECT count(*) FROM events").await, 0);
}

#[tokio::test]
async fn bounds_that_are_cut_or_rounded_are_no_answers() {
    let lake = Lake::new().await;
    lake.clock.advance(123_456);
    let id = "x".repeat(90);
    lake.append(&[Event::new(Kind::Track, id.as_str())]).await;
    lake.log.flush().await.unwrap();
    let engine = lake.engine();
    assert_eq!(value(&engine, "SELECT max(message_id) FROM events").await, json!(id));
    assert_eq!(
        value(&engine, "SELECT min(received_at) FROM events").await,
        json!("2026-03-01T10:00:00.123457Z")
    );
    let same = format!("SELECT count(*) FROM events WHERE message_id = '{id}'");
    assert_eq!(value(&engine, &same).await, json!(1));
    let same = "SELECT count(*) FROM events WHERE received_at = '2026-03-01T10:00:00.123457Z'";
    assert_eq!(value(&engine, same).await, json!(1));
}

#[tokio::test]
async fn a_projection_and_a_limit_reach_both_files_and_fresh_rows() {
    let lake = three_days().await;
    let engine = lake.engine();
    let all = rows(&engine, "SELECT received_date, type, message_id FROM events ORDER BY message_id").await;
    assert_eq!(all[0], json!({"received_date": "2026-03-01", "type": "track", "message_id": "m1a"}));
    assert_eq!(all[6], json!({"received_date": "2026-03-04", "type": "page", "message_id": "m4"}));
    assert_eq!(rows(&engine, "SELECT type FROM events LIMIT 5").await.len(), 5);
}

/// A log with rows in three files and some that wait, every value from a small set.
async fn varied() -> Lake {
    let lake = Lake::new().await;
    let mut seed = 7_u64;
    let mut any = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut made = 0;
    for part in 0..4 {
        let events: Vec<_> = (0..40)
            .map(|_| {
                made += 1;
                let time = format!("2026-03-0{}T0{}:00:00.00{}Z", any(3) + 1, any(10), any(10));
                let text = |n: u64, prefix: &str| (n > 0).then(|| format!("{prefix}{n}").into());
                let (user, anonymous, price) = (any(4), any(4), any(6));
                Event {
                    message_id: format!("m{made}").into(),
                    user_id: text(user, "u"),
                    anonymous_id: text(anonymous, "a"),
                    event: text(any(3), "e"),
                    properties: Some(format!(r#"{{"price":{price}}}"#).into()),
                    ..at(if any(2) == 0 { Kind::Track } else { Kind::Identify }, "", &time)
                }
            })
            .collect();
        lake.append(&events).await;
        if part < 3 {
            lake.log.flush().await.unwrap();
            lake.clock.advance(DAY);
        }
    }
    lake
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (prop_oneof![Just("user_id"), Just("anonymous_id"), Just("event")], "[=<>]", "[uae][0-4]")
            .prop_map(|(column, sign, value)| format!("{column} {sign} '{value}'")),
        ("[<>]", 1..4_u32, 0..10_u32)
            .prop_map(|(sign, day, hour)| format!("timestamp {sign}= '2026-03-0{day}T0{hour}:00:00.005Z'")),
        (1..5_u32).prop_map(|day| format!("received_date = '2026-03-0{day}'")),
        (0..170_u32).prop_map(|offset| format!("log_offset < {offset}")),
        (0..170_u32).prop_map(|id| format!("message_id = 'm{id}'")),
        prop_oneof![Just("user_id"), Just("anonymous_id")].prop_map(|column| format!("{column} IS NULL")),
        (0..6_u32).prop_map(|price| format!("(properties->>'price')::double < {price}")),
        "[ue][1-3]".prop_map(|value| format!("event || 'x' LIKE '%{value}%'")),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

#[test]
fn pruned_and_pushed_filters_answer_as_plain_ones_do() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lake = runtime.block_on(varied());
    let (engine, plain) = (lake.engine(), lake.plain_engine());
    proptest!(ProptestConfig::with_cases(40), |(condition in condition())| {
        let sql = |filter: &str| format!("SELECT message_id FROM events WHERE {filter} ORDER BY message_id");
        let with = runtime.block_on(rows(&engine, &sql(&condition)));
        // A filter that mentions no column by itself is not pushed into the table.
        let hidden = format!("CASE WHEN ({condition}) THEN random() < 2 ELSE false END");
        let without: Vec<Value> = runtime.block_on(rows(&plain, &sql(&hidden)));
        prop_assert_eq!(with, without, "{}", condition);
    });
}
