//! What every store of lanes must do, whatever it is kept in.

use super::{Checkpoint, DEAD_MAX, Dead, DeadFilter, LaneStore, LaneSummary, Parked};
use crate::delivery::testing::lane;
use crate::delivery::{Class, LaneId, Trigger};
use crate::log::{Offset, PartitionId};

/// A waiting event with values that differ from those of others.
pub(crate) fn parked(offset: Offset) -> Parked {
    Parked {
        offset,
        keys: [u64::MAX - offset, if offset.is_multiple_of(2) { 0 } else { offset << 60 }],
        attempt: offset as u32 % 7,
        first_at: 1_000 + offset as i64,
        next_at: (!offset.is_multiple_of(3)).then_some(5_000 - offset as i64),
        sendable_us: 10 * offset,
        class: (!offset.is_multiple_of(5)).then(|| Class::ALL[offset as usize % Class::ALL.len()]),
        trigger: Trigger::ALL[offset as usize % 3],
    }
}

fn dead(destination: &str, offset: Offset) -> Dead {
    let even = offset.is_multiple_of(2);
    Dead {
        lane: lane(destination),
        offset,
        message_id: even.then(|| format!("message {offset}")),
        class: if even { Class::Validation } else { Class::Gone },
        status: even.then_some(400),
        vendor_code: even.then(|| "bad".to_owned()),
        reason: even.then(|| "it is wrong".to_owned()),
        attempt: offset as u32 % 9,
        at: 1_000 + offset as i64,
    }
}

/// All promises, on a fresh store.
pub(crate) async fn all(store: &dyn LaneStore) {
    checkpoints(store).await;
    lanes(store).await;
    dead_events(store).await;
    pages(store).await;
    the_newest_are_kept(store).await;
    resolve(store).await;
    forget(store).await;
}

async fn checkpoints(store: &dyn LaneStore) {
    let lane = lane("a");
    assert_eq!(store.load(&lane).await.unwrap(), None);
    store.save(&lane, 0, 0, &[], &[], &[], &[]).await.unwrap();
    assert_eq!(store.load(&lane).await.unwrap(), Some(Checkpoint::default()));

    let many: Vec<_> = (0..2_500).map(parked).collect();
    for _ in 0..2 {
        store.save(&lane, 9, 4, &many, &[2_600], &[], &[]).await.unwrap();
        let saved = Checkpoint { cursor: 9, journal: 4, parked: many.clone() };
        assert_eq!(store.load(&lane).await.unwrap(), Some(saved));
    }
    let changed = Parked { attempt: 99, class: None, next_at: None, ..parked(1) };
    let removed: Vec<_> = (2..2_400).collect();
    store
        .save(&lane, i64::MAX as u64, 5, &[changed.clone(), parked(2_501)], &removed, &[], &[])
        .await
        .unwrap();
    let found = store.load(&lane).await.unwrap().unwrap();
    assert_eq!((found.cursor, found.journal), (i64::MAX as u64, 5));
    let expected: Vec<_> =
        [vec![many[0].clone(), changed], many[2_400..].to_vec(), vec![parked(2_501)]].concat();
    assert_eq!(found.parked, expected);

    let before = store.load(&lane).await.unwrap();
    assert!(store.save(&lane, u64::MAX, 6, &[], &[], &[], &[]).await.is_err());
    let unstorable = [parked(3), Parked { offset: u64::MAX, ..parked(4) }];
    assert!(store.save(&lane, 10, 6, &unstorable, &[0], &[], &[]).await.is_err());
    assert_eq!(store.load(&lane).await.unwrap(), before, "all or nothing");
}

async fn lanes(store: &dyn LaneStore) {
    let other = LaneId { partition: PartitionId("00000000000000bb".into()), ..lane("a") };
    let replay = LaneId { replay: Some("r1".into()), ..lane("a") };
    store.save(&other, 1, 2, &[parked(1)], &[], &[], &[]).await.unwrap();
    store.save(&replay, 3, 4, &[parked(3)], &[], &[dead("a", 3)], &[]).await.unwrap();
    assert_eq!(store.load(&other).await.unwrap().unwrap().parked, [parked(1)]);
    assert_eq!(store.load(&replay).await.unwrap().unwrap().parked, [parked(3)]);
    let summary = |lane, cursor, journal| LaneSummary { lane, cursor, journal };
    let expected =
        [summary(lane("a"), i64::MAX as u64, 5), summary(replay.clone(), 3, 4), summary(other, 1, 2)];
    assert_eq!(store.lanes().await.unwrap(), expected);
    let page = store.dead("a", &DeadFilter::default()).await.unwrap();
    assert_eq!(page.dead, [Dead { lane: replay, ..dead("a", 3) }]);
}

async fn dead_events(store: &dyn LaneStore) {
    let none = store.dead("b", &DeadFilter::default()).await.unwrap();
    assert_eq!((none.dead.len(), none.next_key, none.kept, none.dropped), (0, None, 0, 0));
    let all: Vec<_> = (1..=6).map(|offset| dead("b", offset)).collect();
    store.save(&lane("b"), 7, 1, &[], &[], &all, &[]).await.unwrap();
    let newest: Vec<_> = all.iter().rev().cloned().collect();
    let found = store.dead("b", &DeadFilter::default()).await.unwrap();
    assert_eq!((found.dead, found.kept), (newest.clone(), 6));
    let class = DeadFilter { class: Some(Class::Gone), ..DeadFilter::default() };
    let odd = store.dead("b", &class).await.unwrap().dead;
    assert_eq!(odd, [&all[4], &all[2], &all[0]].map(Clone::clone));
    let before = DeadFilter { before: Some(1_003), ..class };
    assert_eq!(store.dead("b", &before).await.unwrap().dead, [all[0].clone()]);

    store.save(&lane("b"), 7, 2, &[], &[], &[], &[6, 5, 4, 77]).await.unwrap();
    assert_eq!(store.dead("b", &DeadFilter::default()).await.unwrap().dead, newest[3..]);
    let again = Dead { attempt: 50, ..dead("b", 1) };
    store.save(&lane("b"), 7, 3, &[], &[], std::slice::from_ref(&again), &[]).await.unwrap();
    let found = store.dead("b", &DeadFilter::default()).await.unwrap();
    assert_eq!(found.dead, [again, all[2].clone(), all[1].clone()], "it is among the newest again");
}

async fn pages(store: &dyn LaneStore) {
    let all: Vec<_> = (0..25).map(|offset| dead("c", offset)).collect();
    store.save(&lane("c"), 25, 1, &[], &[], &all, &[]).await.unwrap();
    let (mut found, mut after_key, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let filter = DeadFilter { limit: 10, after_key, ..DeadFilter::default() };
        let page = store.dead("c", &filter).await.unwrap();
        sizes.push(page.dead.len());
        found.extend(page.dead);
        after_key = page.next_key;
        if after_key.is_none() {
            break;
        }
    }
    found.reverse();
    assert_eq!((found, sizes), (all, vec![10, 10, 5]));
    let exact = DeadFilter { limit: 25, ..DeadFilter::default() };
    assert_eq!(store.dead("c", &exact).await.unwrap().next_key, None);
}

async fn the_newest_are_kept(store: &dyn LaneStore) {
    let max = Offset::from(DEAD_MAX);
    let all: Vec<_> = (0..max).map(|offset| dead("d", offset)).collect();
    store.save(&lane("d"), max, 1, &[], &[], &all, &[]).await.unwrap();
    assert_eq!(store.dead("d", &DeadFilter::default()).await.unwrap().dropped, 0);
    for offset in [max, max + 1] {
        let other = LaneId { replay: Some("r".into()), ..lane("d") };
        store.save(&other, 1, 2, &[], &[], &[dead("d", offset)], &[]).await.unwrap();
    }
    let found = store.dead("d", &DeadFilter { limit: u32::MAX, ..DeadFilter::default() }).await.unwrap();
    assert_eq!((found.kept, found.dropped), (max, 2));
    assert_eq!(found.dead.len(), DEAD_MAX as usize);
    assert_eq!((found.dead[0].offset, found.dead[found.dead.len() - 1].offset), (max + 1, 2));
    assert_eq!(store.dead("c", &DeadFilter::default()).await.unwrap().kept, 25, "others keep theirs");
}

async fn resolve(store: &dyn LaneStore) {
    let before = store.dead("d", &DeadFilter::default()).await.unwrap();
    let [newest, next, ..] = before.dead.as_slice() else { panic!("there are many") };
    store.resolve(&newest.lane, &[newest.offset, 1 << 40]).await.unwrap();
    store.resolve(&lane("nobody"), &[next.offset]).await.unwrap();
    let after = store.dead("d", &DeadFilter::default()).await.unwrap();
    assert_eq!((after.kept, after.dead[0].offset), (before.kept - 1, next.offset));
}

async fn forget(store: &dyn LaneStore) {
    store.forget("a").await.unwrap();
    store.forget("d").await.unwrap();
    store.forget("nobody").await.unwrap();
    assert_eq!(store.load(&lane("a")).await.unwrap(), None);
    let found = store.dead("d", &DeadFilter::default()).await.unwrap();
    assert_eq!((found.dead.len(), found.kept, found.dropped), (0, 0, 0));
    let lanes: Vec<_> = store.lanes().await.unwrap().into_iter().map(|summary| summary.lane).collect();
    assert_eq!(lanes, [lane("b"), lane("c")]);
    store.save(&lane("a"), 1, 1, &[], &[], &[], &[]).await.unwrap();
    assert_eq!(store.load(&lane("a")).await.unwrap().unwrap().parked, [], "nothing of before comes back");
}
