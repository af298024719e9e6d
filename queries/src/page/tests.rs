use crate::testing::{Lake, at, rejected};
use crate::{Page, PageOf, Place};
use pipeline::event::{Event, Kind};
use pipeline::log::Stored;

const HOUR: i64 = 3_600_000_000;

/// Five events an hour apart; the first two are committed apart, the last two not at all.
async fn lake() -> Lake {
    let lake = Lake::new().await;
    for number in 0..5 {
        lake.append_from("web", number == 2, &[event(number)], &[rejected(&format!("r{number}"))]).await;
        if number < 3 {
            lake.log.flush().await.unwrap();
        }
        lake.clock.advance(HOUR);
    }
    lake
}

fn event(number: usize) -> Event<'static> {
    let names = ["Seen", "Paid"];
    let event = at(Kind::Track, "m", "2026-03-01T09:00:00Z");
    Event {
        message_id: format!("m{number}").into(),
        event: Some(names[number % 2].into()),
        properties: Some(r#"{"n": 1.50}"#.into()),
        ..event
    }
    .into_owned()
}

fn ids<'a>(page: &'a Page<Event<'static>>) -> Vec<&'a str> {
    page.rows.iter().map(|row| &*row.record.message_id).collect()
}

#[tokio::test]
async fn pages_cover_everything_once_in_both_orders_committed_or_not() {
    let lake = lake().await;
    let engine = lake.engine();
    for oldest_first in [false, true] {
        for limit in [1, 2, 6] {
            let mut of = PageOf { oldest_first, limit, ..PageOf::default() };
            let mut all: Vec<Stored<Event<'static>>> = Vec::new();
            for turn in 0.. {
                assert!(turn < 7, "a page that leads on and on");
                let page = engine.events_page(&of).await.unwrap();
                assert!(page.rows.len() <= limit);
                all.extend(page.rows);
                of.after = page.next;
                if of.after.is_none() {
                    break;
                }
            }
            let offsets: Vec<_> = all.iter().map(|row| row.offset).collect();
            let mut expected = [1, 4, 7, 10, 13];
            if !oldest_first {
                expected.reverse();
            }
            assert_eq!(offsets, expected, "{limit}");
            assert!(all.iter().all(|row| row.record.properties.as_deref() == Some(r#"{"n": 1.50}"#)));
        }
    }
}

#[tokio::test]
async fn filters_and_times_select_rows() {
    let lake = lake().await;
    let engine = lake.engine();
    let start = lake.clock.now() - 5 * HOUR;
    let all = PageOf { limit: 10, ..PageOf::default() };
    let with = |equal: &[(&'static str, &str)]| PageOf {
        equal: equal.iter().map(|(column, text)| (*column, (*text).to_owned())).collect(),
        ..all.clone()
    };
    for (of, expected) in [
        (with(&[("event", "Paid")]), vec!["m3", "m1"]),
        (with(&[("event", "Paid"), ("message_id", "m1"), ("source", "web")]), vec!["m1"]),
        (with(&[("source", "' OR true --")]), vec![]),
        (PageOf { from: Some(start + HOUR), to: Some(start + 3 * HOUR), ..all.clone() }, vec!["m2", "m1"]),
        (PageOf { from: Some(start + 9 * HOUR), ..all.clone() }, vec![]),
        (PageOf { from: Some(5), to: Some(3), ..all.clone() }, vec![]),
        (
            PageOf { after: Some(Place { received_at: i64::MAX, partition: "z".into() }), ..all.clone() },
            vec!["m4", "m3", "m2", "m1", "m0"],
        ),
    ] {
        let page = engine.events_page(&of).await.unwrap();
        assert_eq!((ids(&page), &page.next), (expected, &None), "{of:?}");
    }
    let tests = engine.events_page(&with(&[("message_id", "m2")])).await.unwrap();
    assert!(tests.rows[0].test);
}

#[tokio::test]
async fn rejected_events_are_paged_too() {
    let lake = lake().await;
    let of = PageOf { equal: vec![("code", "no_user_anon_id".into())], limit: 2, ..PageOf::default() };
    let page = lake.engine().rejected_page(&of).await.unwrap();
    let offsets: Vec<_> = page.rows.iter().map(|row| row.offset).collect();
    assert_eq!((offsets, page.rows[0].record.body.as_deref()), (vec![14, 11], Some("{}")));
    assert!(page.next.is_some());
}
