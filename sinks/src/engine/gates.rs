//! What a request has to pass before it leaves: one set of gates for each destination, shared by its
//! lanes.

use super::flow::{
    self, Breaker, BreakerState, Buckets, Concurrency, Fair, OUTAGE_RETRY, Outage, Permit, Signal, remaining,
};
use super::sink::{Failure, Manners};
use pipeline::Micros;
use pipeline::delivery::Class;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::header::HeaderMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What all destinations of a node share.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The requests that may be under way at once.
    pub fair: Fair,
    /// What is known of the node's own network.
    pub outage: Arc<Mutex<Outage>>,
}

/// The gates of one destination: breaker, rates, concurrency, and its share of the node's requests.
///
/// Times are by [`Time::elapsed`](super::Time::elapsed), so that nobody waits longer or shorter when
/// the time of day is set.
pub struct Gates {
    destination: Arc<str>,
    node: Node,
    state: Mutex<State>,
    freed: watch::Sender<u64>,
}

struct State {
    breaker: Breaker,
    buckets: Buckets,
    concurrency: Concurrency,
    under_way: [usize; 3],
    random: StdRng,
}

/// What kind of request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A first attempt.
    First,
    /// A later one.
    Again,
    /// Any of a replay.
    Replay,
}

/// The right to one request. Dropping it gives the place back.
pub(super) struct Pass {
    gates: Arc<Gates>,
    kind: Kind,
    breaker: Option<(flow::Pass, Micros)>,
    _permit: Permit,
}

/// Why a request may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shut {
    pub(super) gate: Gate,
    /// When to ask again; `None`: once another request of the destination has come back, or the
    /// permit that was asked for has come.
    pub(super) until: Option<Micros>,
}

/// A gate that is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The vendor has been failing.
    Breaker,
    /// The vendor's rate, or the vendor asked to wait.
    Rate,
    /// As many requests to the destination are under way as it takes.
    Concurrency,
    /// As many requests of the node are under way as it may have.
    Fair,
}

/// What became of a request, as far as the gates are concerned.
pub(super) struct Report<'a> {
    /// The host it went to.
    pub(super) host: &'a str,
    /// The failure that tells most about the destination; `None` where it took anything.
    pub(super) failure: Option<&'a Failure>,
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) latency_us: u64,
    /// The time of day.
    pub(super) at: Micros,
}

impl Gates {
    /// The gates of a destination with these manners; the connection's own cap in operations for each
    /// second; and, where concurrency is not to adapt itself, how many requests may be under way.
    pub fn new(
        destination: Arc<str>,
        manners: &Manners,
        rate_cap: Option<f64>,
        concurrency: Option<usize>,
        node: Node,
        seed: u64,
    ) -> Self {
        let state = State {
            breaker: Breaker::new(),
            buckets: Buckets::new(&manners.rates, rate_cap),
            concurrency: match concurrency {
                Some(fixed) => Concurrency::fixed(fixed),
                None => Concurrency::adaptive(manners.concurrency_max),
            },
            under_way: [0; 3],
            random: StdRng::seed_from_u64(seed),
        };
        Self { destination, node, state: Mutex::new(state), freed: watch::Sender::new(0) }
    }

    /// The breaker, for whoever looks.
    pub fn breaker(&self) -> BreakerState {
        self.lock().breaker.state()
    }

    /// How many requests may be under way at once.
    pub fn concurrency(&self) -> usize {
        self.lock().concurrency.limit()
    }

    /// Changes whenever a request has come back.
    pub(super) fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }

    /// The most operations that one request may hold.
    pub(super) fn operations_max(&self) -> usize {
        self.lock().buckets.operations_max()
    }

    /// Waits for a permit of the node.
    pub(super) fn permit(&self, kind: Kind) -> impl Future<Output = Permit> + Send + use<> {
        self.node.fair.acquire(&self.destination, kind == Kind::Again)
    }

    /// Asks to send one request, which is charged next. `contended`: requests of another kind would go
    /// as well, and a quarter is kept for either. `permit` is one that was waited for.
    pub(super) fn ask(
        self: &Arc<Self>,
        kind: Kind,
        contended: bool,
        permit: &mut Option<Permit>,
        now: Micros,
    ) -> Result<Pass, Shut> {
        let mut state = self.lock();
        let open_at = state.breaker.ready_at(now);
        if open_at > now {
            return Err(Shut { gate: Gate::Breaker, until: Some(open_at) });
        }
        let open_at = state.buckets.ready_at(now, 1);
        if open_at > now {
            return Err(Shut { gate: Gate::Rate, until: Some(open_at) });
        }
        let limit = state.concurrency.limit();
        let share = match kind {
            Kind::Replay => (limit / 4).max(1),
            _ if contended => limit - limit / 4,
            _ => limit,
        };
        let all: usize = state.under_way.iter().sum();
        if all >= limit || state.under_way[kind as usize] >= share {
            return Err(Shut { gate: Gate::Concurrency, until: None });
        }
        let fair = || self.node.fair.try_acquire(&self.destination, kind == Kind::Again);
        let Some(permit) = permit.take().or_else(fair) else {
            return Err(Shut { gate: Gate::Fair, until: None });
        };
        state.under_way[kind as usize] += 1;
        Ok(Pass { gates: Arc::clone(self), kind, breaker: None, _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Asks for this many operations in the request.
    pub(super) fn charge(&mut self, operations: usize, now: Micros) -> Result<(), Shut> {
        let mut state = self.gates.lock();
        let taken = state.buckets.take(now, operations);
        taken.map_err(|until| Shut { gate: Gate::Rate, until: Some(until) })?;
        let pass = state.breaker.ask(now);
        let pass = pass.map_err(|until| Shut { gate: Gate::Breaker, until: Some(until) })?;
        drop(state);
        self.breaker = Some((pass, now));
        Ok(())
    }

    /// Whether the request is the one that shows whether the vendor is back.
    pub(super) fn is_probe(&self) -> bool {
        self.breaker.is_some_and(|(pass, _)| pass.is_probe())
    }

    /// Tells what became of the request. The answer is whether it failed because of our own network.
    pub(super) fn answered(mut self, report: &Report<'_>, now: Micros) -> bool {
        let gates = Arc::clone(&self.gates);
        let class = report.failure.map(|failure| failure.class);
        let class = {
            let mut outage = gates.node.outage.lock().unwrap_or_else(PoisonError::into_inner);
            outage.answered(report.host, class, now)
        };
        let mut state = gates.lock();
        let State { breaker, buckets, concurrency, under_way, random } = &mut *state;
        if let Some((pass, _)) = self.breaker.take() {
            breaker.answered(pass, class, now, random);
        }
        concurrency.answered(Signal::of(report.failure), report.latency_us, under_way.iter().sum(), now);
        if let Some(left) = report.headers.and_then(|headers| remaining(headers, report.at)) {
            buckets.reseed(left, now);
        }
        match class {
            Some(Class::RateLimited | Class::Quota) => {
                buckets.refused(report.failure.and_then(|failure| failure.retry_after), now, random);
            }
            Some(Class::SelfOutage) => {
                buckets.refused(Some(OUTAGE_RETRY), now, random);
            }
            _ => {}
        }
        class == Some(Class::SelfOutage)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        {
            let mut state = self.gates.lock();
            state.under_way[self.kind as usize] -= 1;
            if let Some((pass, asked_at)) = self.breaker.take() {
                state.breaker.unused(pass, asked_at);
            }
        }
        self.gates.freed.send_modify(|count| *count += 1);
    }
}
