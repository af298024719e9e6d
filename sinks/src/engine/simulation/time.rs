//! Virtual time, and the runtime that runs on it: one task, polled until nothing is left to do at this
//! moment, then the clock moves to the next timer.

use crate::engine::Time;
use futures::future::BoxFuture;
use pipeline::Micros;
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The time of day at which every simulation begins.
pub(super) const START: Micros = 1_790_000_000_000_000;

/// The virtual clock. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Virtual(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    elapsed: Micros,
    /// How far the time of day is off.
    off: Micros,
    sleepers: BTreeMap<(Micros, u64), Waker>,
    count: u64,
}

impl Virtual {
    pub(super) fn elapsed(&self) -> Micros {
        self.lock().elapsed
    }

    /// Sets the time of day.
    pub(super) fn jump(&self, by: Micros) {
        self.lock().off += by;
    }

    pub(super) fn sleep(&self, delay: Duration) -> Sleep {
        let mut timers = self.lock();
        timers.count += 1;
        let until = timers.elapsed + Micros::try_from(delay.as_micros()).unwrap_or(Micros::MAX / 2);
        Sleep { clock: self.clone(), key: (until, timers.count) }
    }

    /// Moves to the next timer and wakes its sleeper. False when nobody sleeps.
    fn advance(&self) -> bool {
        let mut timers = self.lock();
        let Some(((at, _), waker)) = timers.sleepers.pop_first() else { return false };
        timers.elapsed = timers.elapsed.max(at);
        drop(timers);
        waker.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Time for Virtual {
    fn now(&self) -> Micros {
        let timers = self.lock();
        START + timers.elapsed + timers.off
    }

    fn elapsed(&self) -> Micros {
        Self::elapsed(self)
    }

    fn sleep(&self, delay: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Self::sleep(self, delay))
    }
}

/// A pause in virtual time.
pub(super) struct Sleep {
    clock: Virtual,
    key: (Micros, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.clock.lock();
        if timers.elapsed >= self.key.0 {
            return Poll::Ready(());
        }
        timers.sleepers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}

/// How a run ended.
pub(super) enum Run<T> {
    /// By itself.
    Done(T),
    /// By a crash: the task was dropped where it stood.
    Crashed,
}

/// Runs a future in virtual time. It is dropped after so many polls.
///
/// # Panics
/// When nothing will ever happen again, and when something happens for ever at one moment.
pub(super) fn run<T>(clock: &Virtual, polls_max: u64, future: impl Future<Output = T>) -> Run<T> {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let (mut polls, mut at_this_moment) = (0, 0);
    loop {
        if flag.0.swap(false, SeqCst) {
            if polls == polls_max {
                return Run::Crashed;
            }
            polls += 1;
            at_this_moment += 1;
            assert!(at_this_moment < 100_000, "it runs in a circle");
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Run::Done(value);
            }
        } else {
            at_this_moment = 0;
            assert!(clock.advance(), "nothing will ever happen again");
        }
    }
}
