use crate::testing::{Lake, at, rejected, rows, value};
use pipeline::clock::HOUR;
use pipeline::event::{Event, Kind};
use pipeline::log::table::{HoleReason, TableKind};
use serde_json::{Value, json};

const T: &str = "2026-03-01T09:00:00Z";

fn page<'a>(id: &'a str, anonymous: &'a str) -> Event<'a> {
    Event { anonymous_id: Some(anonymous.into()), ..at(Kind::Page, id, T) }
}

fn identify<'a>(id: &'a str, anonymous: &'a str, user: &'a str) -> Event<'a> {
    let anonymous_id = (!anonymous.is_empty()).then(|| anonymous.into());
    Event { anonymous_id, user_id: Some(user.into()), ..at(Kind::Identify, id, T) }
}

fn traits<'a>(id: &'a str, time: &str, traits: &'a str) -> Event<'a> {
    Event { user_id: Some("u1".into()), traits: Some(traits.into()), ..at(Kind::Identify, id, time) }
}

fn alias<'a>(id: &'a str, previous: &'a str, user: &'a str) -> Event<'a> {
    Event { previous_id: Some(previous.into()), user_id: Some(user.into()), ..at(Kind::Alias, id, T) }
}

/// The profiles after `events`, some committed and some not; both ways of reading must agree.
async fn profiles(events: &[Event<'_>], columns: &str) -> Vec<Value> {
    let lake = Lake::new().await;
    let engine = lake.engine();
    let sql = format!("SELECT {columns} FROM profiles ORDER BY user_id");
    let (first, second) = events.split_at(events.len() / 2);
    lake.append(first).await;
    lake.log.flush().await.unwrap();
    lake.append(second).await;
    let fresh = rows(&engine, &sql).await;
    lake.log.flush().await.unwrap();
    assert_eq!(rows(&engine, &sql).await, fresh);
    fresh
}

async fn folded(events: &[Event<'_>]) -> Value {
    let profiles = profiles(events, "traits").await;
    serde_json::from_str(profiles[0]["traits"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn case_1_an_anonymous_page_belongs_to_the_user_identified_later() {
    let found =
        profiles(&[page("1", "a1"), identify("2", "a1", "u1")], "user_id, anonymous_ids, events").await;
    assert_eq!(found, [json!({"user_id": "u1", "anonymous_ids": ["a1"], "events": 2})]);
}

#[tokio::test]
async fn cases_3_and_4_a_shared_browser_gives_its_anonymous_events_to_nobody() {
    let events = [identify("1", "a1", "u1"), page("2", "a1"), identify("3", "a1", "u2"), page("4", "a1")];
    let found = profiles(&events, "user_id, events").await;
    assert_eq!(found, [json!({"user_id": "u1", "events": 1}), json!({"user_id": "u2", "events": 1})]);
}

#[tokio::test]
async fn case_9_an_alias_links_an_anonymous_id() {
    let found = profiles(&[page("1", "a1"), alias("2", "a1", "u1")], "user_id, anonymous_ids, events").await;
    assert_eq!(found, [json!({"user_id": "u1", "anonymous_ids": ["a1"], "events": 2})]);
}

#[tokio::test]
async fn case_13_an_alias_of_a_user_to_themselves_changes_nothing() {
    let found =
        profiles(&[identify("1", "", "u1"), alias("2", "u1", "u1")], "user_id, anonymous_ids, events").await;
    assert_eq!(found, [json!({"user_id": "u1", "anonymous_ids": null, "events": 2})]);
}

#[tokio::test]
async fn case_14_an_older_trait_that_arrives_late_loses() {
    let late = traits("2", "2026-02-26T09:00:00Z", r#"{"plan":"free","city":"Oslo"}"#);
    assert_eq!(
        folded(&[traits("1", T, r#"{"plan":"pro"}"#), late]).await,
        json!({"plan": "pro", "city": "Oslo"})
    );
}

#[tokio::test]
async fn case_15_among_equal_timestamps_the_later_in_the_log_wins() {
    let events = [traits("1", T, r#"{"plan":"pro"}"#), traits("2", T, r#"{"plan":"free"}"#)];
    assert_eq!(folded(&events).await, json!({"plan": "free"}));
}

#[tokio::test]
async fn case_16_a_null_deletes_and_an_older_value_stays_deleted() {
    let older = traits("2", "2026-02-26T09:00:00Z", r#"{"plan":"pro"}"#);
    assert_eq!(folded(&[traits("1", T, r#"{"plan":null,"a":1}"#), older]).await, json!({"a": 1}));
}

#[tokio::test]
async fn case_17_an_empty_text_is_kept() {
    assert_eq!(folded(&[traits("1", T, r#"{"plan":""}"#), traits("2", T, "{}")]).await, json!({"plan": ""}));
}

#[tokio::test]
async fn case_18_the_same_id_from_one_source_counts_once_and_from_another_again() {
    let lake = Lake::new().await;
    for source in ["web", "web", "app"] {
        lake.append_from(source, false, &[identify("1", "", "u1")], &[]).await;
    }
    assert_eq!(value(&lake.engine(), "SELECT events FROM profiles").await, json!(2));
}

#[tokio::test]
async fn case_34_sources_made_for_tests_are_kept_apart() {
    let lake = Lake::new().await;
    lake.append_from("test", true, &[identify("1", "a1", "u9"), identify("2", "a1", "u1")], &[]).await;
    lake.append(&[page("3", "a1"), identify("4", "a1", "u1")]).await;
    let found = rows(&lake.engine(), "SELECT user_id, events FROM profiles").await;
    assert_eq!(found, [json!({"user_id": "u1", "events": 2})]);
}

#[tokio::test]
async fn a_profile_has_name_times_and_traits_of_its_anonymous_past() {
    let anonymous = Event {
        anonymous_id: Some("a1".into()),
        traits: Some(r#"{"email":"ada@example.com","plan":"free"}"#.into()),
        ..at(Kind::Identify, "1", "2026-02-01T00:00:00Z")
    };
    let named = Event { traits: Some(r#"{"name":"Ada","plan":"pro"}"#.into()), ..identify("2", "a1", "u1") };
    let broken = traits("3", "2026-03-02T00:00:00Z", r#"["no object"]"#);
    let found = profiles(&[anonymous, named, broken], "*").await;
    assert_eq!(
        found,
        [json!({
            "user_id": "u1", "anonymous_ids": ["a1"], "email": "ada@example.com", "name": "Ada",
            "traits": r#"{"email":"ada@example.com","name":"Ada","plan":"pro"}"#,
            "first_seen": "2026-02-01T00:00:00.000000Z", "last_seen": "2026-03-02T00:00:00.000000Z", "events": 3,
        })]
    );
}

#[tokio::test]
async fn every_item_is_accounted_for_by_source_and_hour() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    lake.append_from("web", false, &[page("1", "a"), page("2", "a")], &[rejected("x")]).await;
    lake.append_from("app", false, &[page("1", "a")], &[]).await;
    lake.log.flush().await.unwrap();
    lake.append_from("web", false, &[page("2", "a"), page("3", "a")], &[]).await;
    lake.clock.advance(HOUR);
    lake.append_from("web", false, &[page("3", "a"), page("3", "a")], &[rejected("y")]).await;
    let row = |source: &str, hour: u32, received: u32, accepted: u32, duplicate: u32, rejected: u32| {
        json!({"source": source, "hour": format!("2026-03-01T{hour}:00:00.000000Z"), "received": received,
            "accepted": accepted, "duplicate": duplicate, "rejected": rejected, "accepted_expired": 0,
            "rejected_expired": 0, "unaccounted": 0})
    };
    let expected = [row("app", 10, 1, 1, 0, 0), row("web", 10, 5, 3, 1, 1), row("web", 11, 3, 0, 2, 1)];
    assert_eq!(rows(&engine, "SELECT * FROM accounting ORDER BY source, hour").await, expected);
    lake.log.flush().await.unwrap();
    assert_eq!(rows(&engine, "SELECT * FROM accounting ORDER BY source, hour").await, expected);
}

#[tokio::test]
async fn a_request_that_reaches_into_the_next_hour_counts_in_its_own() {
    let lake = Lake::new().await;
    lake.clock.advance(HOUR - 3);
    let ids: Vec<String> = (0..6).map(|id| id.to_string()).collect();
    let events: Vec<_> = ids.iter().map(|id| page(id, "a")).collect();
    lake.append_from("web", false, &events, &[rejected("x")]).await;
    lake.append_from("web", false, &[page("later", "a")], &[]).await;
    let sql = "SELECT received, accepted, rejected, unaccounted FROM accounting ORDER BY hour";
    let expected = [
        json!({"received": 7, "accepted": 6, "rejected": 1, "unaccounted": 0}),
        json!({"received": 1, "accepted": 1, "rejected": 0, "unaccounted": 0}),
    ];
    let engine = lake.engine();
    assert_eq!(rows(&engine, sql).await, expected);
    lake.log.flush().await.unwrap();
    assert_eq!(rows(&engine, sql).await, expected);
}

#[tokio::test]
async fn accounts_of_an_hour_read_the_files_of_that_time_only() {
    let lake = Lake::new().await;
    for day in 0..3 {
        lake.append(&[page(&format!("day-{day}"), "a")]).await;
        lake.append_from("web", false, &[], &[rejected("x")]).await;
        lake.log.flush().await.unwrap();
        lake.clock.advance(24 * HOUR);
    }
    let engine = lake.engine();
    let opened = |plan: Vec<Value>| -> std::collections::BTreeSet<String> {
        let plan: String = plan.iter().map(|row| row["plan"].as_str().unwrap()).collect();
        let words = plan.split(|end: char| end.is_whitespace() || "[],{}".contains(end));
        words.filter(|word| word.ends_with(".parquet")).map(str::to_owned).collect()
    };
    let all = opened(rows(&engine, "EXPLAIN SELECT * FROM accounting").await);
    let one = "SELECT * FROM accounting WHERE hour = '2026-03-02T10:00:00Z'";
    let some = opened(rows(&engine, &format!("EXPLAIN {one}")).await);
    // One for each day of events, of rejected events and of receipts.
    assert_eq!((all.len(), some.len()), (9, 3), "{some:#?}");
    assert_eq!(rows(&engine, one).await.len(), 1);
}

/// Takes all files of these days, counted from the first, out of a table.
async fn take_out(lake: &Lake, kind: TableKind, days: std::ops::Range<i32>) {
    let table = lake.another_node(kind).await;
    let files = table.snapshot().files.to_vec();
    let first = files.iter().map(|file| file.received_date).min().unwrap();
    let gone: Vec<_> =
        files.into_iter().filter(|file| days.contains(&(file.received_date - first))).collect();
    assert!(table.take_out(&gone, HoleReason::Retention).await.unwrap());
    lake.log.refresh().await.unwrap();
}

#[tokio::test]
async fn what_retention_removed_has_columns_of_its_own_and_is_accounted_for() {
    let lake = Lake::new().await;
    let engine = lake.engine();
    // Two days of which the first ends within a request: its last event and the rejected one are on the next.
    lake.append_from("web", false, &[page("1", "a"), page("2", "a")], &[rejected("x")]).await;
    lake.clock.advance(14 * HOUR - 3);
    lake.append_from("app", false, &[page("3", "a"), page("4", "a"), page("5", "a")], &[rejected("y")]).await;
    lake.append_from("web", false, &[page("1", "a"), page("6", "a")], &[]).await;
    lake.log.flush().await.unwrap();
    let sql = "SELECT source, received, accepted, duplicate, rejected, accepted_expired, rejected_expired, unaccounted \
               FROM accounting ORDER BY hour, source";
    let row = |source: &str, numbers: [i64; 7]| {
        json!({"source": source, "received": numbers[0], "accepted": numbers[1], "duplicate": numbers[2],
            "rejected": numbers[3], "accepted_expired": numbers[4], "rejected_expired": numbers[5],
            "unaccounted": numbers[6]})
    };
    let before = [
        row("web", [3, 2, 0, 1, 0, 0, 0]),
        row("app", [4, 3, 0, 1, 0, 0, 0]),
        row("web", [2, 1, 1, 0, 0, 0, 0]),
    ];
    assert_eq!(rows(&engine, sql).await, before);
    assert_eq!(rows(&engine, "SELECT * FROM holes").await, Vec::<Value>::new());

    take_out(&lake, TableKind::Events, 0..1).await;
    let without_events = [
        row("web", [3, 0, 0, 1, 2, 0, 0]),
        row("app", [4, 1, 0, 1, 2, 0, 0]),
        row("web", [2, 1, 1, 0, 0, 0, 0]),
    ];
    assert_eq!(rows(&engine, sql).await, without_events);
    take_out(&lake, TableKind::Rejected, 0..1).await;
    take_out(&lake, TableKind::Events, 0..1).await;
    let only_receipts = [
        row("web", [3, 0, 0, 0, 2, 1, 0]),
        row("app", [4, 0, 0, 1, 3, 0, 0]),
        row("web", [2, 0, 1, 0, 1, 0, 0]),
    ];
    assert_eq!(rows(&engine, sql).await, only_receipts);
    let sql =
        "SELECT table_name, first_offset, last_offset, \"rows\", reason, first_date, last_date FROM holes";
    let hole = rows(&engine, &format!("{sql} WHERE table_name = 'events'")).await;
    assert_eq!(
        hole,
        [
            json!({"table_name": "events", "first_offset": 1, "last_offset": 10, "rows": 6, "reason": "retention",
            "first_date": "2026-03-01", "last_date": "2026-03-02"})
        ]
    );
}
