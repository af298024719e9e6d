use super::*;
use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;

fn names(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|index| format!("destination {index}").into()).collect()
}

fn wait(fair: &Fair, destination: &Arc<str>) -> BoxFuture<'static, Permit> {
    fair.acquire(destination, false).boxed()
}

fn take(fair: &Fair, destination: &Arc<str>, count: usize) -> Vec<Permit> {
    (0..count).map_while(|_| fair.try_acquire(destination, false)).collect()
}

#[test]
fn a_slow_destination_leaves_a_quarter_to_the_others() {
    let fair = Fair::new(100);
    let names = names(2);
    let slow: Vec<_> = (0..200).map_while(|index| fair.try_acquire(&names[0], index % 2 == 0)).collect();
    assert_eq!(slow.len(), 75);
    assert_eq!(take(&fair, &names[1], 100).len(), 25, "the other has its quarter at once");
}

#[test]
fn a_destination_goes_back_to_its_quarter_when_others_want_more() {
    let fair = Fair::new(16);
    let names = names(5);
    let mut slow: Vec<_> = (0..12).map_while(|index| fair.try_acquire(&names[0], index % 2 == 0)).collect();
    assert_eq!(slow.len(), 12);
    let mut others: Vec<_> = (1..5).flat_map(|index| take(&fair, &names[index], 1)).collect();
    assert_eq!(fair.free(), 0);
    let mut greedy = wait(&fair, &names[0]);
    let mut modest = wait(&fair, &names[1]);
    slow.pop();
    assert!((&mut greedy).now_or_never().is_none(), "it has more than its quarter");
    others.push((&mut modest).now_or_never().expect("the one with less is served"));
    slow.truncate(3);
    assert!(greedy.now_or_never().is_some());
}

#[test]
fn those_who_wait_are_served_in_turn() {
    let fair = Fair::new(8);
    let names = names(6);
    let mut held: Vec<_> = names[..3].iter().flat_map(|name| take(&fair, name, 2)).collect();
    let repeated: Vec<_> = (0..2).map_while(|_| fair.try_acquire(&names[3], true)).collect();
    assert_eq!((held.len(), repeated.len(), fair.free()), (6, 2, 0));
    let (many, one) = (&names[4], &names[5]);
    let mut waits: Vec<_> = [many, many, one].map(|name| wait(&fair, name)).into();
    held.truncate(4);
    let served: Vec<_> = waits.iter_mut().map(|wait| wait.now_or_never()).collect();
    let served: Vec<_> = served.iter().map(Option::is_some).collect();
    assert_eq!(served, [true, false, true], "one for each destination first");
}

#[test]
fn a_quarter_is_kept_for_first_and_for_repeated_attempts() {
    for again in [false, true] {
        let fair = Fair::new(100);
        let names = names(10);
        let all: Vec<_> =
            names.iter().flat_map(|name| (0..25).map_while(|_| fair.try_acquire(name, again))).collect();
        assert_eq!(all.len(), 75);
        assert!(fair.try_acquire(&names[9], !again).is_some());
    }
}

#[test]
fn one_permit_is_enough_for_everybody_one_after_the_other() {
    let fair = Fair::new(1);
    let names = names(3);
    let held = fair.try_acquire(&names[0], false).expect("the only one");
    let waits: Vec<_> = names.iter().map(|name| wait(&fair, name)).collect();
    drop(held);
    for wait in waits {
        assert!(wait.now_or_never().is_some());
    }
    assert_eq!(fair.free(), 1);
}

#[test]
fn who_stops_waiting_holds_nobody_up() {
    let fair = Fair::new(1);
    let names = names(2);
    let held = fair.try_acquire(&names[0], false).expect("the only one");
    let given_up: Vec<_> = (0..10_000).map(|_| wait(&fair, &names[0])).collect();
    let waiting = wait(&fair, &names[1]);
    let granted = wait(&fair, &names[0]);
    drop(given_up);
    drop(held);
    // This one has the permit and never asks for it.
    drop(waiting);
    assert!(granted.now_or_never().is_some());
}

#[tokio::test]
async fn a_permit_that_is_given_back_wakes_the_next() {
    let fair = Fair::new(1);
    let names = names(2);
    let held = fair.acquire(&names[0], false).await;
    let other = tokio::spawn(fair.acquire(&names[1], true));
    tokio::task::yield_now().await;
    assert!(!other.is_finished());
    drop(held);
    tokio::task::yield_now().await;
    assert!(other.is_finished());
    drop(other.await.expect("it is served"));
    assert_eq!(fair.free(), 1);
}

proptest! {
    #[test]
    fn permits_are_neither_lost_nor_made_and_nobody_waits_in_vain(
        total in 1..30_usize,
        steps in prop::collection::vec((0..4_usize, 0..4_usize, any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let fair = Fair::new(total);
        let names = names(4);
        let mut held: Vec<Permit> = Vec::new();
        let mut waits: Vec<BoxFuture<'static, Permit>> = Vec::new();
        for (act, name, again, index) in steps {
            match act {
                0 => held.extend(fair.try_acquire(&names[name], again)),
                1 => waits.push(fair.acquire(&names[name], again).boxed()),
                2 if !held.is_empty() => drop(held.swap_remove(index.index(held.len()))),
                3 if !waits.is_empty() => drop(waits.remove(index.index(waits.len()))),
                _ => {}
            }
            waits.retain_mut(|wait| {
                let permit = wait.now_or_never();
                let waits = permit.is_none();
                held.extend(permit);
                waits
            });
            prop_assert_eq!(fair.free() + held.len(), total);
        }
        while !held.is_empty() || !waits.is_empty() {
            prop_assert!(!held.is_empty(), "{} wait while every permit is free", waits.len());
            held.pop();
            waits.retain_mut(|wait| {
                let permit = wait.now_or_never();
                let waits = permit.is_none();
                held.extend(permit);
                waits
            });
        }
        prop_assert_eq!(fair.free(), total);
    }
}
