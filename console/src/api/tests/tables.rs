//! What is told of the tables as a whole: accounts, retention, commits.

use super::*;
use crate::retention::{Kept, Needed, Removed};

/// A table that has lost ten rows, and somebody who needs the others.
pub(super) fn kept() -> Retention {
    let removed = Removed {
        partition: "aa".into(),
        first_day: "2026-01-01".into(),
        last_day: "2026-01-15".into(),
        first_offset: 1,
        last_offset: 12,
        rows: 10,
        reason: "retention".into(),
        at: "2026-02-15T00:00:00.000000Z".into(),
    };
    let events = Kept {
        table: "events".into(),
        keep_days: Some(30),
        rows: 7,
        oldest_day: Some("2026-01-16".into()),
        due: Vec::new(),
        removed: vec![removed],
    };
    let need = Needed {
        partition: Some("aa".into()),
        all_but: None,
        offset: 9,
        from: None,
        by: "destination `x`".into(),
        passed_over: None,
    };
    let from = Some("2026-11-27T00:00:00.000000Z".into());
    let (all_but, by) = (Some(vec!["aa".into()]), "replay `y`".into());
    let to_come = Needed { partition: None, all_but, offset: 0, from, by, passed_over: None };
    Retention { tables: vec![events], needs: vec![need, to_come] }
}

#[actix_web::test]
async fn accounts_are_found_by_time_and_source_page_by_page() {
    let room = room().await;
    let app = app!(room);
    let path = "/api/v1/accounting?from=2026-01-15T12:00:00Z&to=2026-01-16&source=web";
    let (status, body) = answer!(&app, get(path)).await;
    assert_eq!(
        (status, &body["accounts"], &body["totals"]["received"]),
        (200, &json!([]), &json!(3)),
        "{body}"
    );
    assert_eq!(body["next"], "1768478400000000.web");
    let path = "/api/v1/accounting?after=1768478400000000.web&limit=5";
    assert_eq!(answer!(&app, get(path)).await.1["totals"], json!(null), "they are on the first page");
    assert_eq!(
        *room.fake.asked.lock().unwrap(),
        [
            "AccountsOf { from: Some(1768478400000000), to: Some(1768521600000000), source: Some(\"web\"), \
             after: None, limit: 1000 }",
            "AccountsOf { from: None, to: None, source: None, after: Some(AccountPlace { \
             hour: 1768478400000000, source: \"web\" }), limit: 5 }",
        ]
    );
    for (wrong, field) in [
        ("from=yesterday", "from"),
        ("to=", "to"),
        ("until=2026-01-16", "until"),
        ("after=web", "after"),
        ("after=5.", "after"),
        ("limit=10001", "limit"),
    ] {
        let (status, body) = answer!(&app, get(&format!("/api/v1/accounting?{wrong}"))).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{body}");
    }
}

#[actix_web::test]
async fn retention_tells_limits_what_is_due_and_what_was_removed() {
    let room = room().await;
    let app = app!(room);
    let (status, body) = answer!(&app, get("/api/v1/retention")).await;
    assert_eq!((status, &body["tables"][0]["keep_days"]), (200, &json!(30)), "{body}");
    let removed = &body["tables"][0]["removed"][0];
    assert_eq!((&removed["rows"], &removed["last_day"]), (&json!(10), &json!("2026-01-15")), "{body}");
    assert_eq!(body["needs"][0]["by"], "destination `x`", "{body}");
    let to_come = &body["needs"][1];
    assert_eq!(
        (&to_come["partition"], &to_come["all_but"], &to_come["from"]),
        (&json!(null), &json!(["aa"]), &json!("2026-11-27T00:00:00.000000Z")),
        "{body}"
    );
    let (status, body) = answer!(&app, get("/api/v1/retention?table=events")).await;
    assert_eq!((status, &body["field"]), (400, &json!("table")), "{body}");
}

#[actix_web::test]
async fn commits_and_compactions_are_listed_by_table() {
    let room = room().await;
    let app = app!(room);
    let path = "/api/v1/compactions?table=rejected&before=9&limit=3";
    assert_eq!(answer!(&app, get(path)).await, (200, json!({"compactions": [], "next": 7})));
    assert_eq!(answer!(&app, get("/api/v1/commits")).await, (200, json!({"commits": [], "next": 7})));
    assert_eq!(
        *room.fake.asked.lock().unwrap(),
        [
            "CommitsOf { table: Rejected, before: Some(9), compactions: true, limit: 3 }",
            "CommitsOf { table: Events, before: None, compactions: false, limit: 50 }"
        ]
    );
    for (wrong, field) in [("table=users", "table"), ("before=-1", "before"), ("limit=0", "limit")] {
        let (status, body) = answer!(&app, get(&format!("/api/v1/commits?{wrong}"))).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{body}");
    }
}
