use crate::SqlError;
use crate::testing::{Lake, error};

async fn place(sql: &str) -> (String, Option<(u64, u64)>, String) {
    let lake = Lake::new().await;
    match error(&lake.engine(), sql).await {
        SqlError::Invalid { message, at } => {
            let excerpt = at.as_ref().map_or_else(String::new, |at| at.excerpt.clone());
            (message, at.map(|at| (at.line, at.column)), excerpt)
        }
        other => panic!("{sql}: {other}"),
    }
}

#[tokio::test]
async fn a_wrong_column_is_pointed_at_and_near_ones_are_named() {
    let (message, at, excerpt) = place("SELECT user_id,\n       evnt\nFROM events").await;
    assert_eq!(message, "there is no column `evnt`; did you mean `event`?");
    assert_eq!(at, Some((2, 8)));
    assert_eq!(excerpt, "         evnt\n         ^");
    let (message, at, _) = place("SELECT count(*) FROM events WHERE userid = 'x'").await;
    assert!(message.contains("did you mean `user_id`"), "{message}");
    assert_eq!(at, Some((1, 35)));
    let (message, ..) = place("SELECT zzzzzzzz FROM events").await;
    assert!(message.contains("DESCRIBE"), "{message}");
    let (message, at, _) = place("SELECT e.nme FROM events e").await;
    assert!(message.contains("`name`"), "{message}");
    assert_eq!(at, Some((1, 8)));
}

#[tokio::test]
async fn a_wrong_table_is_pointed_at_and_near_ones_are_named() {
    let (message, at, _) = place("SELECT *\nFROM event").await;
    assert_eq!(message, "there is no table `event`; did you mean `events` or `event_views`?");
    assert_eq!(at, Some((2, 6)));
    let (message, ..) = place("SELECT * FROM customers").await;
    assert!(message.contains("`profiles`"), "{message}");
}

#[tokio::test]
async fn wrong_syntax_is_pointed_at() {
    let (message, at, _) = place("SELECT event FROM events WHERE").await;
    assert!(message.contains("ends where an expression is expected"), "{message}");
    assert_eq!(at, None);
    let (message, at, excerpt) = place("SELECT event\nFRM events LIMIT 3").await;
    assert_eq!(at, Some((2, 5)), "{message}");
    assert_eq!(excerpt, "  FRM events LIMIT 3\n      ^");
    let (message, at, _) = place("SELECT 'abc").await;
    assert_eq!(at, Some((1, 8)), "{message}");
}

#[tokio::test]
async fn wrong_functions_types_and_values_are_explained() {
    let (message, at, _) = place("SELECT uper(event) FROM events").await;
    assert!(message.contains("did you mean `upper`"), "{message}");
    assert_eq!(at, Some((1, 8)));
    let (message, ..) = place("SELECT event, count(*) FROM events").await;
    assert!(message.contains("GROUP BY"), "{message}");
    let (message, ..) = place("SELECT cast('abc' AS bigint)").await;
    assert!(message.contains("try_cast"), "{message}");
    let (message, ..) = place("SELECT 1 / 0").await;
    assert!(message.contains("nullif"), "{message}");
    let (message, ..) = place("SELECT name FROM events a, rejected b WHERE message_id = 'x'").await;
    assert!(message.contains("more than one table"), "{message}");
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let sql = format!("SELECT {}, 1 FROM\nx", "a, ".repeat(200));
    let at = super::Position::at(&sql, 1, 300).unwrap();
    let lines: Vec<&str> = at.excerpt.lines().collect();
    assert_eq!(lines[0].chars().count(), 102);
    assert_eq!(lines[1].find('^'), Some(52));
    assert!(super::Position::at(&sql, 9, 1).is_none());
    assert!(super::Position::at("SELECT\t1", 1, 99).is_some());
}
