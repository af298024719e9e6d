//! Logs that earlier versions wrote.

use crate::crashes::{HOLES, check_accounts};
use crate::harness::{Server, Start, project, verify};
use crate::load::event;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// What `fixtures/log/README.md` says of the log of the first version.
const EVENTS: i64 = 275;
const REJECTED: i64 = 10;
const DUPLICATES: i64 = 10;
const KINDS: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];

#[test]
fn a_log_of_the_first_version_is_read_whole_and_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    unpack("first-version.tar.gz", dir.path());
    let start = || Start::on(dir.path()).set("WAL_BYTES_MAX", "16MiB").set("COMMIT_BYTES", "8MiB");

    // Part of it lies in the tables, part in the write-ahead log alone.
    let server = start().set("COMMIT_AGE_S", "3600").run();
    check_every_row(&server);
    check_accounts(&server);
    assert_eq!(server.number(HOLES), 0, "offsets are not dense");
    let reply =
        server.batch(&[event("later-1"), event("later-2"), event("later-1"), json!({"type": "track"})]);
    assert_eq!((reply.status, reply.json()["accepted"].as_i64()), (200, Some(2)), "{}", reply.text());
    server.kill();

    let server = start().run();
    check_every_row(&server);
    assert_eq!(server.number("SELECT count(*) FROM events WHERE message_id LIKE 'later-%'"), 2);
    let before = "SELECT count(*) FROM events AS old, events AS new WHERE old.message_id LIKE 'first-%' \
        AND new.message_id LIKE 'later-%' AND (old.log_partition <> new.log_partition \
        OR old.log_offset >= new.log_offset OR old.received_at >= new.received_at)";
    assert_eq!(server.number(before), 0, "it goes on in the same partition, behind what was there");
    assert_eq!(server.number(HOLES), 0, "offsets are not dense");
    check_accounts(&server);
    assert!(server.stop().success());
    verify(dir.path());
}

fn check_every_row(server: &Server) {
    let rows = server.sql("SELECT * FROM events WHERE message_id LIKE 'first-%'");
    let rows: HashMap<&str, _> = rows.iter().map(|row| (row["message_id"].as_str().unwrap(), row)).collect();
    for number in 0..EVENTS {
        let row = rows.get(&*format!("first-{number}")).unwrap_or_else(|| panic!("first-{number} is lost"));
        let kind = KINDS[number as usize % KINDS.len()];
        assert_eq!((&row["type"], &row["source"]), (&json!(kind), &json!("default")), "{row:?}");
        assert_eq!(row["user_id"], json!(format!("user-{}", number % 17)), "{row:?}");
        assert_eq!(row["context_locale"], "de-DE", "{row:?}");
        let numbered = match kind {
            "identify" | "group" => &row["traits"],
            "alias" => continue,
            _ => &row["properties"],
        };
        let numbered: Value = serde_json::from_str(numbered.as_str().unwrap()).unwrap();
        assert_eq!(numbered["number"], json!(number), "{row:?}");
    }
    assert_eq!(server.number("SELECT count(*) FROM events WHERE message_id LIKE 'first-%'"), EVENTS);
    let rejected =
        "SELECT count(*) FROM rejected WHERE code = 'event_not_defined' AND message_id LIKE 'bad-%'";
    assert_eq!(server.number(rejected), REJECTED);
    let received = "SELECT sum(received) FROM receipts WHERE log_offset <= \
        (SELECT max(log_offset) FROM events WHERE message_id LIKE 'first-%')";
    assert_eq!(server.number(received), EVENTS + REJECTED + DUPLICATES);
}

fn unpack(fixture: &str, dir: &Path) {
    let archive = project().join("fixtures/log").join(fixture);
    let output = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
