//! Answers get lost, puts fail, and nodes are cut off after any operation.

use super::super::Kind;
use super::{Machines, batch, is_of_wal, once, until_taken};
use crate::log::table::test_store::{Fate, Operation, TestStore};
use crate::log::{Durability, adopt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
#[tokio::test]
async fn lost_answers_and_failed_puts_lose_and_repeat_nothing() {
    for seed in 0..20 {
        let machines = Machines::new();
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        let log = machines
            .open_over(move |operation, path| match operation {
                Operation::Put if is_of_wal(path) => match rng.lock().unwrap().random_range(0..4) {
                    0 => Fate::Fails,
                    1 => Fate::LosesAnswer,
                    _ => Fate::Done,
                },
                Operation::Get if is_of_wal(path) && rng.lock().unwrap().random_bool(0.2) => Fate::Fails,
                _ => Fate::Done,
            })
            .await
            .unwrap();
        let partition = log.partition().clone();
        let ids: Vec<String> = (0..30).map(|n| format!("{n}")).collect();
        for (n, id) in ids.iter().enumerate() {
            until_taken(&log, id).await;
            if n == 12 {
                log.flush().await.unwrap();
            }
        }
        let end = log.status().end;
        log.abandon().await;
        machines.lose_disk();
        assert_eq!(machines.adopt(&partition).await.unwrap().end, end, "seed {seed}");
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(machines.stored().await, once(&ids), "seed {seed}");
        assert_eq!(machines.offsets(&partition).await, (0..end as i64).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// The node and its store are cut off from each other after so many operations; then either its disk
/// is lost and its partition is adopted, or it starts again.
#[tokio::test]
async fn a_crash_after_any_operation_loses_and_repeats_nothing() {
    for disk_is_lost in [true, false] {
        for answer_is_lost in [true, false] {
            let mut steps = 0;
            while crash_after(steps, disk_is_lost, answer_is_lost).await {
                steps += 1;
            }
            assert!(steps > 10, "there are more operations than {steps}");
        }
    }
}

/// Whether the crash came before the end.
async fn crash_after(steps: usize, disk_is_lost: bool, answer_is_lost: bool) -> bool {
    let machines = Machines::new();
    let log = machines.open(Durability::Object).await.unwrap();
    log.close().await.unwrap();
    let (done, crashed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, crashing) = (Arc::clone(&done), Arc::clone(&crashed));
    let log = machines
        .open_over(move |operation, path| {
            if !is_of_wal(path) || operation == Operation::List {
                return if crashing.load(SeqCst) { Fate::Fails } else { Fate::Done };
            }
            let step = counted.fetch_add(1, SeqCst);
            if step < steps {
                return Fate::Done;
            }
            crashing.store(true, SeqCst);
            if step == steps && answer_is_lost { Fate::LosesAnswer } else { Fate::Fails }
        })
        .await
        .unwrap();
    let partition = log.partition().clone();
    let mut acknowledged = Vec::new();
    for n in 0..15 {
        let id = format!("{n}");
        if log.append(batch(&id)).await.is_ok() {
            acknowledged.push(id);
        }
        if n == 6 {
            let _ = log.flush().await;
        }
    }
    let crashed = crashed.load(SeqCst);
    log.abandon().await;
    if disk_is_lost {
        machines.lose_disk();
        match machines.adopt(&partition).await {
            Ok(_) => {}
            Err(error) => assert!(acknowledged.is_empty(), "{error}"),
        }
    }
    let log = machines.open(Durability::Object).await.unwrap();
    for n in 0..15 {
        let id = format!("{n}");
        let appended = log.append(batch(&id)).await.unwrap();
        assert!(appended.duplicates == [0] || !acknowledged.contains(&id), "{id} after {steps}");
    }
    log.close().await.unwrap();
    let all: Vec<String> = (0..15).map(|n| format!("{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(machines.stored().await, once(&all), "after {steps}");
    crashed
}

#[tokio::test]
async fn an_adoption_that_is_broken_off_anywhere_can_be_repeated() {
    for lost in [true, false] {
        let mut steps = 0;
        loop {
            let machines = Machines::new();
            let log = machines.open(Durability::Object).await.unwrap();
            let partition = log.partition().clone();
            for id in ["a", "b", "c"] {
                log.append(batch(id)).await.unwrap();
                if id == "a" {
                    log.flush().await.unwrap();
                }
            }
            log.abandon().await;
            machines.lose_disk();
            let done = AtomicUsize::new(0);
            let broken = machines.store().await.wrap(|inner| {
                TestStore::over(inner, move |operation, _| {
                    let step = done.fetch_add(1, SeqCst);
                    match step.cmp(&steps) {
                        std::cmp::Ordering::Less => Fate::Done,
                        std::cmp::Ordering::Equal if lost && operation == Operation::Put => Fate::LosesAnswer,
                        _ => Fate::Fails,
                    }
                })
            });
            let first = adopt::adopt_on(&broken, &partition, machines.clock.clone()).await;
            let second = machines.adopt(&partition).await.unwrap();
            assert_eq!(second.end, 6, "after {steps}");
            assert_eq!(machines.stored().await, once(&["a", "b", "c"]), "after {steps}");
            assert_eq!(machines.offsets(&partition).await, (0..6).collect::<Vec<_>>(), "after {steps}");
            assert_eq!(machines.objects(&partition).await, [Kind::Sealed], "after {steps}");
            if first.is_ok() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 20, "an adoption has more operations than {steps}");
    }
}
