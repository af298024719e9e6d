//! The commands and the first start, as a user meets them.

use crate::harness::{ADMIN_KEY, Start, flowstate, until};
use crate::http::Request;
use crate::load::event;
use serde_json::json;

#[test]
fn the_demo_ends_well_and_can_be_repeated_in_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    for round in ["first", "second"] {
        let output = flowstate(dir.path(), &["demo", "--exit", "--events", "1000"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{round}:\n{said}");
        for part in ["answered with 503", "Mixpanel is held", "A replay", "Every delivery is accounted for"] {
            assert!(said.contains(part), "{round}: no `{part}` in\n{said}");
        }
    }
}

#[test]
fn the_first_start_prints_the_keys_and_no_later_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).without_keys().run();
    let said = server.said();
    let line = said.lines().find(|line| line.contains("API key for the management API")).expect(&said);
    let key = line.split_whitespace().last().unwrap().to_owned();
    let ask = Request::get("/api/v1/sources").bearer(&key);
    assert_eq!(server.send(&ask).status, 200, "the printed key is good");
    assert!(server.stop().success());

    let server = Start::on(dir.path()).without_keys().run();
    assert_eq!(server.send(&ask).status, 200, "the key stays good");
    let said = server.said();
    assert!(!said.contains("API key") && !said.contains(&key), "{said}");
}

#[test]
fn a_wrong_setting_is_named_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = Start::on(dir.path()).set("COMMIT_AGE_S", "soon").try_run();
    let (status, said) = wrong.err().expect("a wrong setting is refused");
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.to_lowercase().contains("commit_age_s"), "{said}");
    assert!(said.contains("soon"), "{said}");
}

#[test]
fn sql_prints_the_same_with_and_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    assert_eq!(server.batch(&[event("shown-1"), event("shown-2")]).status, 200);
    let print = || {
        ["csv", "json", "table"].map(|format| {
            let query = "SELECT message_id, event FROM events ORDER BY message_id";
            let output = flowstate(dir.path(), &["sql", query, "--format", format]);
            assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
    };
    let with = print();
    let csv: Vec<_> = with[0].lines().collect();
    assert_eq!(csv, ["message_id,event", "shown-1,Order Completed", "shown-2,Order Completed"]);
    assert!(with[1].contains("\"shown-2\"") && with[2].contains("shown-2"), "{with:?}");
    assert!(server.stop().success());
    assert_eq!(print(), with);
}

#[test]
fn an_answer_that_was_cut_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("SQL_ROWS_MAX", "3").run();
    let events: Vec<_> = (1..=5).map(|number| event(&format!("many-{number}"))).collect();
    assert_eq!(server.batch(&events).status, 200);
    for (query, cut) in [("SELECT * FROM events", true), ("SELECT * FROM events LIMIT 3", false)] {
        let body = json!({ "sql": query, "format": "json" });
        let reply = server.send(&Request::post("/api/v1/sql").bearer(ADMIN_KEY).json(&body));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["rows"].as_array().map(Vec::len), Some(3), "{answer}");
        assert_eq!(answer["truncated"], cut, "{answer}");
    }
}

#[test]
fn a_pinned_property_has_a_column_that_compaction_fills_and_the_answers_stay() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).set("COMMIT_AGE_S", "0.02").run();
    let column = |words: &[&str]| {
        let output = flowstate(dir.path(), &[&["column"], words].concat());
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{words:?}: {said:?}");
        said.concat()
    };
    for number in 1..=40 {
        assert_eq!(server.batch(&[event(&format!("old-{number}"))]).status, 200);
    }
    let sum = "SELECT CAST(sum(CAST(properties->>'number' AS BIGINT)) AS BIGINT) FROM events \
               WHERE message_id LIKE 'old-%'";
    assert_eq!(server.number(sum), 820);

    let said = column(&["pin", "number", "--type", "double"]);
    assert!(said.contains("`number` has the column `p_number` (double)"), "{said}");
    let line = |list: &str| list.lines().find(|line| line.starts_with("p_number ")).map(str::to_owned);
    let listed = line(&column(&["list"])).expect("it is listed");
    assert!(listed.contains("double") && listed.contains("yes"), "{listed}");
    assert_eq!(server.number(sum), 820, "before the column is filled");

    let mut more = 0;
    until("compaction to fill the column", || {
        more += 1;
        assert_eq!(server.batch(&[event(&format!("new-{more}"))]).status, 200);
        let filled = "SELECT count(p_number) FROM events WHERE message_id LIKE 'old-%'";
        (server.number(filled) == 40).then_some(())
    });
    assert!(server.metric("flowstate_log_compactions_total") > 0.0);
    let of_column = "SELECT CAST(sum(p_number) AS BIGINT) FROM events WHERE message_id LIKE 'old-%'";
    assert_eq!((server.number(of_column), server.number(sum)), (820, 820));

    column(&["unpin", "number"]);
    assert_eq!(line(&column(&["list"])), None);
    assert_eq!(server.number(sum), 820, "without the column");
    assert!(server.stop().success());
    crate::harness::verify(dir.path());
}
