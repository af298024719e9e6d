use super::*;
use crate::Config;
use crate::testing::Server;
use pipeline::log::AppendError;

fn piece(lines: &str) -> Piece {
    Piece {
        source: "server".into(),
        file: "f".into(),
        first_line: 1,
        deliver: false,
        lines: Bytes::copy_from_slice(lines.as_bytes()),
    }
}

const LINE: &str = r#"{"type":"track","event":"Paid","userId":"ada","timestamp":"2019-02-03T04:05:06Z"}"#;

#[actix_web::test]
async fn lines_become_imported_events_and_a_second_run_finds_duplicates() {
    let server = Server::new(Config::default()).await;
    let lines = format!(
        "\u{feff}{LINE}\r\n\n  \n{LINE}\n{{\"type\":\"page\",\"userId\":\"b\",\"messageId\":\"own\"}}"
    );
    let imported = server.ingest.import(piece(&lines)).await.unwrap();
    assert_eq!((imported.accepted, imported.duplicate, imported.rejected), (3, 0, 0));
    let events = server.events();
    assert!(events.iter().all(|event| event.flags.contains(Flags::IMPORTED)));
    assert_eq!(events[0].message_id, message_id_of_line("f", 1, LINE));
    assert_eq!(events[1].message_id, message_id_of_line("f", 4, LINE));
    assert_eq!(events[0].flags, Flags::IMPORTED.union(Flags::MADE_MESSAGE_ID));
    assert_eq!((&*events[2].message_id, events[2].flags), ("own", Flags::IMPORTED));

    let again = server.ingest.import(piece(&lines)).await.unwrap();
    assert_eq!((again.accepted, again.duplicate, again.rejected), (0, 3, 0));
    let deliver = Piece { deliver: true, file: "other".into(), ..piece(LINE) };
    assert_eq!(server.ingest.import(deliver).await.unwrap().accepted, 1);
    assert!(server.events()[3].flags.contains(Flags::FOR_DELIVERY));
}

#[actix_web::test]
async fn a_line_that_breaks_a_rule_is_kept_aside_and_costs_no_other() {
    let server = Server::new(Config::default()).await;
    let long = format!(r#"{{"type":"track","userId":"a","event":"{}"}}"#, "x".repeat(40_000));
    let mut lines =
        format!("{LINE}\n{{\"type\":\"track\"\n[1]\n{{\"type\":\"track\",\"event\":\"x\"}}\n{long}\n");
    lines.push_str("{\"type\":\"fly\",\"userId\":\"a\",\"writeKey\":\"secret-key\"}\n{\"type\":\n");
    let mut bytes = lines.into_bytes();
    bytes.extend_from_slice(b"{\"type\":\"page\",\"userId\":\"\xff\"}\n");
    bytes.extend_from_slice(LINE.as_bytes());
    let imported = server.ingest.import(Piece { lines: bytes.into(), ..piece("") }).await.unwrap();
    assert_eq!((imported.accepted, imported.duplicate, imported.rejected), (2, 0, 7));
    let reasons: Vec<_> = imported
        .reasons
        .iter()
        .map(|(code, reason)| (code.as_str(), reason.lines, reason.first_line))
        .collect();
    assert_eq!(
        reasons,
        [("bad_request", 2, 3), ("event_too_large", 1, 5), ("invalid_json", 3, 2), ("no_user_anon_id", 1, 4)]
    );
    let kept = server.rejected();
    assert_eq!(kept.len(), 7);
    assert_eq!(kept[0].body.as_deref(), Some("{\"type\":\"track\""));
    assert!(kept.iter().all(|one| one.body.as_ref().is_some_and(|body| !body.contains("secret-key"))));
    assert!(kept[6].message.contains("position 25"), "{}", kept[6].message);
}

#[actix_web::test]
async fn a_piece_for_no_source_or_a_log_that_is_full_keeps_nothing() {
    let server = Server::new(Config::default()).await;
    for (source, wanted) in
        [("nobody", "there is no source `nobody`"), ("disabled", "`disabled` is switched off")]
    {
        let refused = server.ingest.import(Piece { source: source.into(), ..piece(LINE) }).await.unwrap_err();
        assert!(refused.to_string().contains(wanted), "{refused}");
    }
    let many = vec![LINE; 2_501].join("\n");
    let refused = server.ingest.import(piece(&many)).await.unwrap_err();
    assert!(matches!(refused, ImportError::TooLong { lines: 2_501, lines_max: 2_500 }), "{refused}");
    *server.log.refuse.lock().unwrap() = Some(|| AppendError::Overloaded { retry_after_s: 3 });
    let refused = server.ingest.import(piece(LINE)).await.unwrap_err();
    assert!(
        matches!(refused, ImportError::Append(AppendError::Overloaded { retry_after_s: 3 })),
        "{refused}"
    );
    assert!(server.events().is_empty() && server.rejected().is_empty());
}
