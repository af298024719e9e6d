use super::*;
use crate::delivery::lane_store::conformance;
use crate::delivery::testing::lane as lane_of;

async fn open(dir: &tempfile::TempDir) -> Sqlite {
    Sqlite::open(&dir.path().join("control.db")).await.unwrap()
}

#[tokio::test]
async fn sqlite_keeps_the_contract_of_lanes() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&open(&dir).await).await;
}

#[tokio::test]
async fn a_checkpoint_outlives_the_handle() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).await;
    let parked: Vec<_> = (0..3).map(conformance::parked).collect();
    first.save(&lane_of("slack"), 7, 9, &parked, &[], &[], &[]).await.unwrap();
    first.close().await;
    let found = open(&dir).await.load(&lane_of("slack")).await.unwrap();
    assert_eq!(found, Some(Checkpoint { cursor: 7, journal: 9, parked }));
}

/// So many that they take several statements of one transaction.
#[tokio::test]
async fn a_hundred_thousand_waiting_events_come_back_as_they_were_saved() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let parked: Vec<_> = (0..100_000).map(conformance::parked).collect();
    store.save(&lane_of("slack"), 0, 1, &parked, &[], &[], &[]).await.unwrap();
    assert_eq!(store.load(&lane_of("slack")).await.unwrap().unwrap().parked, parked);
    let removed: Vec<_> = (0..99_999).collect();
    store.save(&lane_of("slack"), 0, 2, &[], &removed, &[], &[]).await.unwrap();
    assert_eq!(store.load(&lane_of("slack")).await.unwrap().unwrap().parked, parked[99_999..]);
}
