//! A vendor that answers 200 to everything and notes which event came when.

use crate::bench::load::message_ids;
use anyhow::{Context, bail};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"success\":true}";
/// So many bodies are kept, for the yardstick.
const SAMPLES: usize = 64;
/// When nothing has come for so long, nothing will.
const SILENCE: Duration = Duration::from_secs(60);

/// An event and when it arrived.
pub(super) type Arrival = (u64, Instant);

/// A running fake on a thread of its own; dropping it ends it.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Seen {
    arrivals: Mutex<Arrivals>,
    more: Condvar,
}

#[derive(Default)]
struct Arrivals {
    events: Vec<Arrival>,
    requests: u64,
    samples: Vec<Bytes>,
}

impl Fake {
    /// Starts one that answers each request after `delay`.
    pub(super) fn start(delay: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, seen, stop) =
            (listener.local_addr()?, Arc::<Seen>::default(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (state, stopped) = (Arc::clone(&seen), stop.clone());
        std::thread::Builder::new().name("fake vendor".to_owned()).spawn(move || {
            runtime.block_on(async {
                let serve = serve(listener, delay, &state);
                if let Some(Err(error)) = stopped.run_until_cancelled(serve).await {
                    eprintln!("the fake vendor ended: {error}");
                }
            });
        })?;
        Ok(Self { address, seen, _stop: stop.drop_guard() })
    }

    /// A port of this machine that refuses connections, and that nobody else is given meanwhile.
    pub(super) fn dead() -> std::io::Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(socket)
    }

    /// Waits until so many events have arrived.
    pub(super) fn wait(&self, events: u64) -> anyhow::Result<()> {
        let mut arrivals = self.seen.lock();
        while (arrivals.events.len() as u64) < events {
            let before = arrivals.events.len();
            let waited = self.seen.more.wait_timeout(arrivals, SILENCE);
            let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            arrivals = next;
            if timeout.timed_out() && arrivals.events.len() == before {
                bail!("{before} of {events} events arrived, then none for {} s", SILENCE.as_secs());
            }
        }
        Ok(())
    }

    /// Everything that arrived, in that order; fails unless these are so many different events.
    pub(super) fn exactly(&self, events: u64) -> anyhow::Result<Vec<Arrival>> {
        let arrivals = self.seen.lock().events.clone();
        let mut ids: Vec<u64> = arrivals.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        if (arrivals.len() as u64, ids.len() as u64) != (events, events) {
            bail!("of {events} events {} arrived, {} times in all", ids.len(), arrivals.len());
        }
        Ok(arrivals)
    }

    /// How many requests came.
    pub(super) fn requests(&self) -> u64 {
        self.seen.lock().requests
    }

    /// The first bodies that came.
    pub(super) fn samples(&self) -> Vec<Bytes> {
        self.seen.lock().samples.clone()
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, body: &[u8], at: Instant) -> anyhow::Result<()> {
        let text = std::str::from_utf8(body).context("a body is no text")?;
        let mut arrivals = self.lock();
        arrivals.events.extend(message_ids(text).map(|id| (id, at)));
        arrivals.requests += 1;
        if arrivals.samples.len() < SAMPLES {
            arrivals.samples.push(Bytes::copy_from_slice(body));
        }
        drop(arrivals);
        self.more.notify_all();
        Ok(())
    }
}

async fn serve(listener: TcpListener, delay: Duration, seen: &Arc<Seen>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let seen = Arc::clone(seen);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, delay, &seen).await {
                eprintln!("the fake vendor could not read a request: {error:#}");
            }
        });
    }
}

/// Answers the requests of one connection until the other side closes it.
async fn converse(mut stream: TcpStream, delay: Duration, seen: &Seen) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(1 << 19);
    loop {
        request.clear();
        let (head, length) = loop {
            // Broken off is closed as well.
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return Ok(());
            }
            if let Some(parts) = head(&request)? {
                break parts;
            }
        };
        while request.len() < head + length {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return Ok(());
            }
        }
        let arrived = Instant::now();
        seen.take(&request[head..head + length], arrived)?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if stream.write_all(ANSWER).await.is_err() {
            return Ok(());
        }
    }
}

/// The lengths of a request's head and body, once the head is complete.
fn head(request: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&request[..end]).context("a head is no text")?;
    let length = text.lines().filter_map(|line| line.split_once(':'));
    let length = length.clone().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.context("a request has no content-length")?.1.trim().parse()?;
    Ok(Some((end + 4, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::{Connection, Template};

    #[test]
    fn every_event_is_counted_and_a_repeated_one_is_found() {
        let fake = Fake::start(Duration::ZERO).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut template = Template::batch("a2V5Og==", 100);
        let post = |request: &[u8]| {
            runtime.block_on(async {
                let mut connection = Connection::open(fake.address).await.unwrap();
                assert_eq!(connection.exchange(request).await.unwrap(), 200);
            });
        };
        post(template.next());
        let again = template.next().to_vec();
        post(&again);
        fake.wait(200).unwrap();
        assert_eq!(fake.exactly(200).unwrap().len(), 200);
        assert!(fake.exactly(201).is_err(), "one is missing");
        post(&again);
        assert!(fake.exactly(300).is_err(), "some came twice");
        assert_eq!((fake.requests(), fake.samples().len()), (3, 3));
    }
}
