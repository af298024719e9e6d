//! A load generator that costs little: kept-alive connections, prebuilt requests with only the ids
//! patched in, and no more parsing of answers than their status and length.

mod connection;
mod template;

pub(crate) use connection::Connection;
pub(crate) use template::{Template, message_ids};

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until};

/// Threads of the generator, as many as the machine has cores in the published figures.
const THREADS: usize = 2;
/// Latencies are kept up to this.
const LATENCY_US_MAX: u64 = 60_000_000;

/// How requests follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each connection sends its next request when it has the answer to the last.
    Closed,
    /// The same, for so many requests on each connection and however long that takes.
    Requests(u32),
    /// So many requests a second leave on a schedule, whether or not answers come. A latency is
    /// counted from the scheduled moment, which corrects for coordinated omission. The timer is good
    /// to a millisecond, so a latency may be overstated by that much.
    Open(f64),
}

/// What one load came to.
pub(crate) struct Figures {
    /// Requests answered 200.
    pub(crate) requests: u64,
    /// The events in them.
    pub(crate) events: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Requests answered otherwise, by status; 0 is a connection that broke.
    pub(crate) failures: BTreeMap<u16, u64>,
    /// Of the requests answered 200.
    pub(crate) latency_us: Histogram<u64>,
}

impl Figures {
    fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order");
        Self { requests: 0, events: 0, seconds: 0.0, failures: BTreeMap::new(), latency_us }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.events += other.events;
        self.seconds = self.seconds.max(other.seconds);
        for (status, count) in &other.failures {
            *self.failures.entry(*status).or_default() += count;
        }
        self.latency_us.add(&other.latency_us).expect("both have the same bounds");
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The latency that this share of the requests did not exceed, in milliseconds.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Puts load on a server for a while.
pub(crate) fn run(
    address: SocketAddr,
    template: &Template,
    connections: usize,
    pace: Pace,
    duration: Duration,
) -> std::io::Result<Figures> {
    // A schedule begins when everyone is connected: waiting to connect is not latency.
    let connected = Barrier::new(THREADS);
    let connected = &connected;
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mine = (thread..connections).step_by(THREADS);
                    let runtime = Builder::new_current_thread().enable_all().build();
                    let runtime = runtime.inspect_err(|_| _ = connected.wait())?;
                    runtime.block_on(LocalSet::new().run_until(async {
                        let opened = connect(address, mine).await;
                        connected.wait();
                        run_some(opened?, template, connections, pace, duration).await
                    }))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| std::io::Error::other("a load thread panicked"))?)
            .collect::<std::io::Result<Vec<Figures>>>()
    })?;
    let mut sum = Figures::new();
    parts.iter().for_each(|part| sum.add(part));
    Ok(sum)
}

/// Opens the connections with these numbers.
async fn connect(
    address: SocketAddr,
    numbers: impl Iterator<Item = usize>,
) -> std::io::Result<Vec<(usize, Connection)>> {
    let mut opened = Vec::new();
    for number in numbers {
        opened.push((number, Connection::open(address).await?));
    }
    Ok(opened)
}

async fn run_some(
    mine: Vec<(usize, Connection)>,
    template: &Template,
    connections: usize,
    pace: Pace,
    duration: Duration,
) -> std::io::Result<Figures> {
    let start = Instant::now() + Duration::from_millis(50);
    let mut tasks = JoinSet::new();
    for (number, mut connection) in mine {
        let mut template = template.for_connection(number as u64);
        tasks.spawn_local(async move {
            let mut figures = Figures::new();
            for sent in 0_u32.. {
                let due = match pace {
                    Pace::Requests(count) if sent == count => break,
                    Pace::Closed | Pace::Requests(_) => Instant::now().max(start),
                    Pace::Open(rate) => {
                        let nth = f64::from(sent) * connections as f64 + number as f64;
                        start + Duration::from_secs_f64(nth / rate)
                    }
                };
                if due >= start + duration && !matches!(pace, Pace::Requests(_)) {
                    break;
                }
                sleep_until(due).await;
                match connection.exchange(template.next()).await {
                    Ok(200) => {
                        figures.requests += 1;
                        figures.events += template.events();
                        figures.latency_us.saturating_record(due.elapsed().as_micros() as u64);
                    }
                    Ok(status) => *figures.failures.entry(status).or_default() += 1,
                    Err(_) => {
                        *figures.failures.entry(0).or_default() += 1;
                        break;
                    }
                }
            }
            figures.seconds = start.elapsed().as_secs_f64();
            figures
        });
    }
    let mut sum = Figures::new();
    while let Some(part) = tasks.join_next().await {
        sum.add(&part.map_err(std::io::Error::other)?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::server::WRITE_KEY_BASE64;
    use crate::bench::yardstick;
    use std::net::TcpListener;

    #[test]
    fn every_request_of_a_load_is_answered_and_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || yardstick::serve(listener, 1));
        let quickly = Duration::from_millis(100);
        for (template, events) in
            [(Template::single(WRITE_KEY_BASE64), 1), (Template::batch(WRITE_KEY_BASE64, 100), 100)]
        {
            for pace in [Pace::Closed, Pace::Open(500.0)] {
                let figures = run(address, &template, 8, pace, quickly).unwrap();
                assert!(figures.failures.is_empty(), "{:?}", figures.failures);
                assert!(figures.requests > 0 && figures.events == figures.requests * events);
                assert_eq!(figures.latency_us.len(), figures.requests);
                if let Pace::Open(_) = pace {
                    assert_eq!(figures.requests, 50, "one for every moment of the schedule");
                }
            }
        }
    }
}
