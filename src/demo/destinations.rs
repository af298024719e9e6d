//! The demo's destinations: four fake vendors on this machine, and a connection to each.

mod books;
mod order;
mod replay;
mod trouble;

use super::accounts::grouped;
use super::server::{Server, number};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget};
use pipeline::clock::{DAY, HOUR};
use pipeline::event::format_timestamp;
use pipeline::{Clock, Micros};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use vendors::google_analytics::{FakeGoogleAnalytics, Stream};
use vendors::mixpanel::{FakeMixpanel, Identity, Project};
use vendors::segment::FakeSegment;
use vendors::webhook::Receiver;

const SEGMENT_KEY: &str = "demo-write-key";
const MIXPANEL_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const MIXPANEL_SECRET: &str = "demo-secret";
const GOOGLE_SECRET: &str = "demo-api-secret";
const MEASUREMENT_ID: &str = "G-DEM0DEM0DE";
const WEBHOOK_SECRET: &str = "whsec_ZmxvdyBzdGF0ZSBkZW1vIHNpZ25pbmcgc2VjcmV0";

/// Google takes no events older than three days; two hours are left for the demo itself.
const GOOGLE_AGE_MAX: Micros = 3 * DAY - 2 * HOUR;
/// The events that the shop's warehouse is told of.
const TO_WEBHOOK: [&str; 2] = ["Order Completed", "Signed Up"];

/// What is waited for comes this soon, and a while more for each event.
const WAIT_MAX: Duration = Duration::from_secs(60);
const WAIT_MAX_PER_EVENT: Duration = Duration::from_millis(4);
const WAIT_STEP: Duration = Duration::from_millis(50);

/// The fakes, in the order of [`Destinations::NAMES`].
pub(super) struct Destinations {
    segment: FakeSegment,
    mixpanel: FakeMixpanel,
    google: FakeGoogleAnalytics,
    webhook: Receiver,
    /// Google gets events from here on.
    recent: String,
}

const SEGMENT: usize = 0;
const MIXPANEL: usize = 1;
const GOOGLE: usize = 2;
const WEBHOOK: usize = 3;

/// The fakes, connected to a server.
pub(super) struct Connected<'a> {
    fakes: &'a Destinations,
    server: &'a Server,
    /// The id of each connection.
    ids: [String; Destinations::NAMES.len()],
    /// The steps of the tests of Segment and of Mixpanel.
    tests: [Value; 2],
}

impl Destinations {
    const NAMES: [&'static str; 4] = ["Segment", "Mixpanel", "Google Analytics", "Webhook"];

    /// Starts the four.
    pub(super) fn start(clock: &Clock) -> anyhow::Result<Self> {
        let project = Project {
            token: MIXPANEL_TOKEN.to_owned(),
            id: "42".to_owned(),
            service_account: ("demo".to_owned(), MIXPANEL_SECRET.to_owned()),
            identity: Identity::Simplified,
            group_keys: Vec::new(),
        };
        let stream = Stream::Web(MEASUREMENT_ID.to_owned());
        let now = || {
            let clock = clock.clone();
            move || clock.now()
        };
        let failed = "a fake vendor cannot start";
        Ok(Self {
            segment: FakeSegment::start(SEGMENT_KEY, None).context(failed)?,
            mixpanel: FakeMixpanel::start(project, None, now()).context(failed)?,
            google: FakeGoogleAnalytics::start(GOOGLE_SECRET, stream, None, now()).context(failed)?,
            webhook: Receiver::start(WEBHOOK_SECRET, now()).context(failed)?,
            recent: format_timestamp(clock.now() - GOOGLE_AGE_MAX),
        })
    }

    /// The SQL condition for the events that each is to get.
    fn wanted(&self) -> [String; Self::NAMES.len()] {
        [
            "true".to_owned(),
            "type = 'track'".to_owned(),
            format!("type IN ('track', 'page') AND timestamp > '{}'", self.recent),
            format!("type = 'track' AND event IN ('{}')", TO_WEBHOOK.join("', '")),
        ]
    }

    /// How many different events one of them has.
    fn arrived(&self, destination: usize) -> u64 {
        let count = match destination {
            SEGMENT => self.segment.received(),
            MIXPANEL => self.mixpanel.events().len(),
            GOOGLE => self.google.events().len(),
            _ => self.webhook.deliveries().len(),
        };
        count as u64
    }

    /// What people would enter for each.
    fn bodies(&self) -> [Value; Self::NAMES.len()] {
        let hosts = |address| json!({ "*": format!("http://{address}") });
        let recent = format!("timestamp > '{}'", self.recent);
        [
            json!({ "vendor": "segment", "settings": { "region": "us" },
                    "credentials": { "write_key": SEGMENT_KEY }, "hosts": hosts(self.segment.address()) }),
            json!({ "vendor": "mixpanel", "settings": { "region": "us", "project_id": "42" },
                    "credentials": { "project_token": MIXPANEL_TOKEN,
                                     "service_account": "demo:a-secret-that-was-revoked" },
                    "hosts": hosts(self.mixpanel.address()), "routing": { "kinds": ["track"] } }),
            json!({ "vendor": "google_analytics",
                    "settings": { "region": "global", "measurement_id": MEASUREMENT_ID },
                    "credentials": { "api_secret": GOOGLE_SECRET }, "hosts": hosts(self.google.address()),
                    "routing": { "kinds": ["track", "page"], "condition": recent } }),
            json!({ "vendor": "webhook",
                    "settings": { "url": format!("http://{}/shop", self.webhook.address()) },
                    "credentials": { "signing_secret": WEBHOOK_SECRET },
                    "routing": { "kinds": ["track"], "names": TO_WEBHOOK, "order": "per_user" } }),
        ]
    }

    /// Connects each through the API, tests two, and lets all begin.
    pub(super) async fn connect<'a>(&'a self, server: &'a Server) -> anyhow::Result<Connected<'a>> {
        let mut ids = [const { String::new() }; Self::NAMES.len()];
        for ((id, mut body), name) in ids.iter_mut().zip(self.bodies()).zip(Self::NAMES) {
            body["name"] = name.into();
            let made = server.api(Method::POST, "/connections", Some(&body)).await?;
            *id = made["id"].as_str().context("a connection has an id")?.to_owned();
        }
        let test = async |id: &str| {
            server.api(Method::POST, &format!("/connections/{id}/test"), Some(&json!({}))).await
        };
        let tests = [test(&ids[SEGMENT]).await?, test(&ids[MIXPANEL]).await?];
        for id in &ids {
            let begin = json!({ "from": "beginning" });
            server.api(Method::POST, &format!("/connections/{id}/enable"), Some(&begin)).await?;
        }
        Ok(Connected { fakes: self, server, ids, tests })
    }
}

impl Connected<'_> {
    /// What is connected, for people.
    pub(super) fn shown(&self) -> String {
        let mut text = String::from("Connected by the API, and tested\n\n");
        let gets = [
            "every event".to_owned(),
            "what people do; its secret was revoked".to_owned(),
            "visits and actions of the last 70 hours; it takes none older than 72".to_owned(),
            format!("{}, each user's in order", TO_WEBHOOK.join(" and ")),
        ];
        for (name, gets) in Destinations::NAMES.iter().zip(gets) {
            text.push_str(&format!("  {name:16}  {gets}\n"));
        }
        for (name, test) in ["Segment", "Mixpanel"].iter().zip(&self.tests) {
            text.push_str(&format!("\n  Test of {name}:\n"));
            for step in test["steps"].as_array().into_iter().flatten() {
                let word = |key: &str| step[key].as_str().unwrap_or_default();
                text.push_str(&format!("    {:10}  {:14}  {}\n", word("state"), word("name"), word("found")));
            }
        }
        text.push('\n');
        text
    }

    /// How many events each is to get, by the log.
    async fn wanted(&self) -> anyhow::Result<[u64; Destinations::NAMES.len()]> {
        let mut counts = [0; Destinations::NAMES.len()];
        for (count, condition) in counts.iter_mut().zip(self.fakes.wanted()) {
            let sql = format!("SELECT count(*) FROM events WHERE source <> 'flowstate' AND {condition}");
            *count = self.server.number(&sql).await?;
        }
        Ok(counts)
    }

    async fn connection(&self, destination: usize) -> anyhow::Result<Value> {
        self.server.api(Method::GET, &format!("/connections/{}", self.ids[destination]), None).await
    }

    /// Waits until a destination has so many events; says how long that took.
    async fn arrive(&self, destination: usize, wanted: u64) -> anyhow::Result<Duration> {
        let name = Destinations::NAMES[destination];
        let begun = Instant::now();
        let end = begun + WAIT_MAX + WAIT_MAX_PER_EVENT * u32::try_from(wanted).unwrap_or(u32::MAX);
        let spinner = spinner();
        loop {
            let arrived = self.fakes.arrived(destination);
            if arrived >= wanted {
                spinner.finish_and_clear();
                return Ok(begun.elapsed());
            }
            if Instant::now() > end {
                let state = self.connection(destination).await?;
                bail!("{name} has {arrived} of {wanted} events; the connection says: {state}");
            }
            spinner.set_message(format!("{name} has {} of {}", grouped(arrived), grouped(wanted)));
            spinner.tick();
            tokio::time::sleep(WAIT_STEP).await;
        }
    }
}

/// Something that moves where somebody watches.
fn spinner() -> ProgressBar {
    let watched = std::io::stderr().is_terminal();
    let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(None, target)
}
