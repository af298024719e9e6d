//! A Flowstate of its own for one measurement, with its connections and its load.

use super::DeliverArgs;
use super::fake::Arrival;
use crate::bench::load::{self, Connection, Pace, Template, message_ids};
use crate::bench::server::{ADMIN_KEY, Server, WRITE_KEY_BASE64};
use anyhow::{Context, bail};
use pipeline::clock::HOUR;
use pipeline::control::sqlite::Sqlite;
use pipeline::delivery::lane_store::{LaneStore, LaneSummary, Parked};
use pipeline::delivery::{Class, Trigger};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// The fake vendor takes every key of this form.
pub(super) const SEGMENT_KEY: &str = "EXAMPLEexampleEXAMPLEexample0000";
/// Connections that fill the backlog, and the events in their batches.
const FILLER_CONNECTIONS: u64 = 4;
const FILLER_BATCH: u64 = 250;
/// The live load comes in batches of so many events, on so many connections.
const LIVE_BATCH: usize = 20;
const LIVE_CONNECTIONS: u64 = 8;
/// Ids of the first request, of the backlog and of the live load are kept apart.
const RUN_START: u64 = 1;
const RUN_BACKLOG: u64 = 2;
const RUN_LIVE: u64 = 3;
const RUN_AGAIN: u64 = 4;
/// So many parked events are saved in one transaction.
const PARKED_AT_ONCE: usize = 50_000;
/// A lane has this long to be there after a start.
const LANE_MAX: Duration = Duration::from_secs(120);

/// A server with an empty log.
pub(super) struct Trial {
    server: Server,
    runtime: Runtime,
    client: reqwest::Client,
    data: PathBuf,
    log: PathBuf,
    /// How many events it has acknowledged.
    pub(super) events: u64,
}

impl Trial {
    pub(super) fn start(args: &DeliverArgs) -> anyhow::Result<Self> {
        let data = args.data.join("trial");
        let log = args.data.join("servers.log");
        let server = Server::flowstate(&data, &log, RUN_START, &["--allow-private-egress"])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // The first answer is to an event, too.
        Ok(Self { server, runtime, client: pipeline::egress::local_client()?, data, log, events: 1 })
    }

    /// Makes a Segment connection whose requests go to `vendor`; returns its id.
    pub(super) fn connect(
        &self,
        name: &str,
        vendor: SocketAddr,
        rate_cap: Option<f64>,
    ) -> anyhow::Result<String> {
        let body = json!({
            "vendor": "segment", "name": name, "settings": { "region": "us" },
            "credentials": { "write_key": SEGMENT_KEY }, "hosts": { "*": format!("http://{vendor}") },
            "routing": { "rate_cap": rate_cap },
        });
        let connection = self.post("/connections", &body)?;
        Ok(connection["id"].as_str().context("a connection has an `id`")?.to_owned())
    }

    /// Lets a connection have every event from the beginning; returns when that was asked for.
    pub(super) fn enable(&self, id: &str) -> anyhow::Result<Instant> {
        let asked = Instant::now();
        self.post(&format!("/connections/{id}/enable"), &json!({ "from": "beginning" }))?;
        Ok(asked)
    }

    /// Lets a connection have what comes from now on, and waits until its lane is there.
    pub(super) fn enable_now(&self, id: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.post(&format!("/connections/{id}/enable"), &json!({ "from": "now" }))?;
        while self.get(&format!("/connections/{id}"))?["delivery"].is_null() {
            if begun.elapsed() > LANE_MAX {
                bail!("the lane was not there in time");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops the server, has every event of a connection wait for a retry in an hour, as if its vendor had
    /// failed each of them once, and starts the server again. Returns the time from the start of the
    /// process until the connection's lane has all of them.
    pub(super) fn park(self, id: &str, events: u64) -> anyhow::Result<(Self, Duration)> {
        let Self { server, runtime, client, data, log, events: acknowledged } = self;
        server.stop()?;
        runtime.block_on(park(&data.join("control.db"), id, events))?;
        let begun = Instant::now();
        let server = Server::flowstate(&data, &log, RUN_AGAIN, &["--allow-private-egress"])?;
        let trial = Self { server, runtime, client, data, log, events: acknowledged + 1 };
        while trial.get(&format!("/connections/{id}"))?["delivery"]["retrying"].as_u64() < Some(events) {
            if begun.elapsed() > LANE_MAX {
                bail!("the lane was not there in time");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((trial, begun.elapsed()))
    }

    /// From the start of the process to its first 200.
    pub(super) fn started_in(&self) -> Duration {
        self.server.started_in
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1{path}", self.server.address);
        self.runtime.block_on(async {
            let answer = self.client.get(url).bearer_auth(ADMIN_KEY).send().await?;
            Ok(serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?)
        })
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1{path}", self.server.address);
        self.runtime.block_on(async {
            let answer = self.client.post(url).bearer_auth(ADMIN_KEY).json(body).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            if !status.is_success() {
                bail!("`{path}` answered {status}: {text}");
            }
            Ok(serde_json::from_str(&text)?)
        })
    }

    /// Has at least so many events stored.
    pub(super) fn fill(&mut self, events: u64) -> anyhow::Result<()> {
        let requests = events.div_ceil(FILLER_CONNECTIONS * FILLER_BATCH);
        let template = Template::batch(WRITE_KEY_BASE64, FILLER_BATCH as usize).for_run(RUN_BACKLOG);
        let pace = Pace::Requests(u32::try_from(requests)?);
        let connections = FILLER_CONNECTIONS as usize;
        let figures = load::run(self.server.address, &template, connections, pace, Duration::ZERO)?;
        if !figures.failures.is_empty() {
            bail!("requests were not answered 200, by status: {:?}", figures.failures);
        }
        self.events += figures.events;
        Ok(())
    }

    /// Sends so many events, one in each request, one every `interval`; returns when each was answered.
    pub(super) fn singles(&mut self, count: u32, interval: Duration) -> anyhow::Result<Vec<Arrival>> {
        self.live(Template::single(WRITE_KEY_BASE64), 1, count, interval)
    }

    /// Sends so many events a second for a while; returns when each was answered.
    pub(super) fn steady(&mut self, rate: u32, duration: Duration) -> anyhow::Result<Vec<Arrival>> {
        let interval = Duration::from_secs(1) * LIVE_BATCH as u32 / rate;
        let requests = (duration.as_secs_f64() / interval.as_secs_f64()).round() as u32;
        self.live(Template::batch(WRITE_KEY_BASE64, LIVE_BATCH), LIVE_CONNECTIONS, requests, interval)
    }

    fn live(
        &mut self,
        template: Template,
        connections: u64,
        requests: u32,
        interval: Duration,
    ) -> anyhow::Result<Vec<Arrival>> {
        let address = self.server.address;
        let answered = self.runtime.block_on(async {
            let start = tokio::time::Instant::now() + Duration::from_millis(50);
            let mut senders = JoinSet::new();
            for number in 0..connections {
                let mut template = template.for_run(RUN_LIVE).for_connection(number);
                senders.spawn(async move {
                    let mut connection = Connection::open(address).await?;
                    let mut answered = Vec::new();
                    for nth in (number as u32..requests).step_by(connections as usize) {
                        sleep_until(start + interval * nth).await;
                        let request = template.next();
                        let status = connection.exchange(request).await?;
                        if status != 200 {
                            bail!("a request of the live load was answered {status}");
                        }
                        let at = Instant::now();
                        answered.extend(message_ids(std::str::from_utf8(request)?).map(|id| (id, at)));
                    }
                    Ok(answered)
                });
            }
            let mut answered = Vec::new();
            while let Some(sender) = senders.join_next().await {
                answered.extend(sender??);
            }
            anyhow::Ok(answered)
        })?;
        self.events += answered.len() as u64;
        Ok(answered)
    }

    /// Stops the server as an operator would and removes its data; returns the most memory it has had
    /// resident, in bytes.
    pub(super) fn stop(self) -> anyhow::Result<u64> {
        let (peak, data) = self.stop_keeping()?;
        std::fs::remove_dir_all(data)?;
        Ok(peak)
    }

    /// As [`Self::stop`], and leaves its data where they are.
    pub(super) fn stop_keeping(self) -> anyhow::Result<(u64, PathBuf)> {
        Ok((self.server.stop()?, self.data))
    }
}

/// Writes into the control store of a stopped server that so many events of a connection wait, each for
/// its own person.
async fn park(control: &Path, connection: &str, events: u64) -> anyhow::Result<()> {
    let store = Sqlite::open(control).await?;
    let lanes = store.lanes().await?;
    let lane = lanes.into_iter().find(|lane| *lane.lane.destination == *connection);
    let LaneSummary { lane, cursor, journal } = lane.context("the connection has a lane")?;
    let now = pipeline::Clock::system().now();
    let parked = |offset: u64| Parked {
        offset,
        keys: [offset + 1, 0],
        attempt: 1,
        first_at: now,
        next_at: Some(now + HOUR),
        sendable_us: 1_000_000,
        class: Some(Class::Transient),
        trigger: Trigger::Live,
    };
    let all: Vec<Parked> = (0..events.min(cursor)).map(parked).collect();
    for some in all.chunks(PARKED_AT_ONCE) {
        store.save(&lane, cursor, journal, some, &[], &[], &[]).await?;
    }
    Ok(())
}
