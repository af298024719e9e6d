use super::*;
use crate::connection::conformance::{connection, replay};
use crate::connection::{Start, StartFrom};
use crate::control::sqlite::Sqlite;
use crate::delivery::LaneId;
use crate::delivery::lane_store::conformance::parked;
use crate::delivery::testing::lane;

#[tokio::test]
async fn enabled_destinations_and_running_replays_are_waited_for_and_others_named() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Arc::new(Sqlite::open(&dir.path().join("control.db")).await.unwrap());
    let needs = DestinationNeeds { connections: Arc::clone(&sqlite) as _, lanes: Arc::clone(&sqlite) as _ };
    assert_eq!(needs.needs().await.unwrap(), []);

    for id in ["con_a", "con_b"] {
        sqlite.add_connection(&connection(id, id)).await.unwrap();
        let start = Start { from: StartFrom::Beginning, asked_at: 1 };
        sqlite.start_connection(id, start).await.unwrap();
    }
    sqlite.set_state("con_b", &State::ALL, None, State::Paused, None, 2).await.unwrap();
    sqlite.add_replay(&replay("rep_a", "con_a", 3)).await.unwrap();
    sqlite.add_replay(&replay("rep_b", "con_a", 4)).await.unwrap();
    sqlite.add_replay(&replay("rep_c", "con_a", 4)).await.unwrap();
    sqlite.set_replay_state("rep_b", ReplayState::Paused, None, 5).await.unwrap();
    let of_replay = |id: &str| LaneId { replay: Some(id.into()), ..lane("con_a") };
    for (lane, cursor) in [
        (lane("con_a"), 50),
        (lane("con_b"), 20),
        (lane("con_gone"), 1),
        (of_replay("rep_a"), 7),
        (of_replay("rep_b"), 8),
        (of_replay("rep_done"), 9),
    ] {
        let retry: &[_] = if cursor == 50 { &[parked(31), parked(44)] } else { &[] };
        sqlite.save(&lane, cursor, 0, retry, &[], &[], &[]).await.unwrap();
    }
    let mut found: Vec<_> = needs
        .needs()
        .await
        .unwrap()
        .into_iter()
        .map(|need| (need.by, need.partitions, need.offset, need.from, need.passed_over))
        .collect();
    found.sort();
    let paused = || Some("it is paused".to_owned());
    let partition = lane("con_a").partition;
    let (here, elsewhere) =
        (|| Partitions::One(partition.clone()), || Partitions::AllBut([partition.clone()].into()));
    let everywhere = || Partitions::AllBut([].into());
    let expected = [
        ("destination `con_a`".to_owned(), here(), 31, None, None),
        ("destination `con_b`".to_owned(), here(), 20, None, paused()),
        ("replay `rep_a` to `con_a`".to_owned(), here(), 7, None, None),
        ("replay `rep_a` to `con_a`".to_owned(), elsewhere(), 0, Some(5), None),
        ("replay `rep_b` to `con_a`".to_owned(), here(), 8, None, paused()),
        ("replay `rep_b` to `con_a`".to_owned(), elsewhere(), 0, Some(5), paused()),
        ("replay `rep_c` to `con_a`".to_owned(), everywhere(), 0, Some(5), None),
    ];
    assert_eq!(
        found, expected,
        "an event that waits for its next attempt is needed, too, and so is what a replay has yet to come to"
    );
}
