use crate::testing::{Lake, at, rejected};
use pipeline::event::{Event, Kind};

#[tokio::test]
async fn an_event_is_found_wherever_it_went() {
    let lake = Lake::new().await;
    let event = Event { event: Some("Order".into()), ..at(Kind::Track, "m1", "2026-03-01T09:00:00Z") };
    lake.append_from("web", false, std::slice::from_ref(&event), &[]).await;
    lake.log.flush().await.unwrap();
    lake.append_from("web", false, std::slice::from_ref(&event), &[]).await;
    lake.append_from("app", true, &[event], &[rejected("m1"), rejected("m2")]).await;
    let report = lake.engine().event("m1").await.unwrap();
    assert!(!report.truncated);
    let [app, web] = report.sources.as_slice() else { panic!("{report:?}") };
    assert_eq!((app.source.as_str(), app.test, web.source.as_str(), web.test), ("app", true, "web", false));
    assert_eq!((app.stored.len(), app.repeats.len(), app.rejected.len()), (1, 0, 1));
    assert_eq!((web.stored.len(), web.repeats.len(), web.rejected.len()), (1, 1, 0));
    let (first, fresh) = (&web.stored[0], &app.stored[0]);
    assert_eq!((first.offset, first.kind.as_str(), first.event.as_deref()), (1, "track", Some("Order")));
    assert_eq!(&first.partition, lake.log.partition());
    assert!(first.file.as_deref().is_some_and(|file| file.starts_with("received_date=2026-03-01/")));
    assert_eq!(fresh.file, None);
    assert_eq!(web.repeats[0].offset, 2);
    assert!(web.repeats[0].received_at > first.received_at);
    assert_eq!(app.rejected[0].code, "no_user_anon_id");
}

#[tokio::test]
async fn an_unknown_id_and_one_that_looks_like_sql_are_found_nowhere() {
    let lake = Lake::new().await;
    lake.append(&[Event::new(Kind::Track, "m1")]).await;
    for id in ["m9", "' OR '1'='1", "m1'--", "\\", "%"] {
        assert!(lake.engine().event(id).await.unwrap().sources.is_empty(), "{id}");
    }
    lake.append(&[Event::new(Kind::Track, "it's; --")]).await;
    assert_eq!(lake.engine().event("it's; --").await.unwrap().sources.len(), 1);
}

#[tokio::test]
async fn an_id_that_is_kept_as_its_hash_is_found_as_the_client_wrote_it() {
    let lake = Lake::new().await;
    let id = "long-".repeat(30);
    let event = Event {
        original_message_id: Some(id.as_str().into()),
        ..Event::new(Kind::Track, pipeline::event::kept_message_id(&id).into_owned())
    };
    lake.append(&[event]).await;
    let report = lake.engine().event(&id).await.unwrap();
    assert_eq!((report.message_id.as_str(), report.sources.len()), (id.as_str(), 1));
}
