//! Sending messages as Segment's libraries do: in batches, with a key, and again when no answer came.

use super::company::{Flaw, Message, Origin};
use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pipeline::Clock;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::io::IsTerminal;
use std::ops::AddAssign;

/// Messages in a batch, as in Segment's own libraries.
const BATCH_MAX: usize = 100;
/// One batch in this many is sent twice, as after a lost answer.
const REPEATED_ONE_IN: usize = 40;
/// Requests under way at once.
const CONNECTIONS: usize = 8;

/// What the answers said, item by item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Items sent.
    pub(crate) sent: u64,
    /// Broken items among them.
    pub(crate) broken: BTreeMap<Flaw, u64>,
    /// Items the server counted.
    pub(crate) received: u64,
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
    /// Rejected items by code.
    pub(crate) rejected: BTreeMap<String, u64>,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        for (flaw, count) in other.broken {
            *self.broken.entry(flaw).or_default() += count;
        }
        self.received += other.received;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        for (code, count) in other.rejected {
            *self.rejected.entry(code).or_default() += count;
        }
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { sent, received, accepted, duplicate, rejected, .. } = self;
        write!(f, "{sent} sent, {received} received, {accepted} accepted, {duplicate} duplicate, ")?;
        write!(f, "rejected {rejected:?}")
    }
}

/// The server and the write key of each origin.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) keys: [String; Origin::ALL.len()],
    pub(crate) clock: Clock,
}

/// Sends everything and adds up the answers.
pub(crate) async fn send(messages: &[Message], target: &Target, seed: u64) -> anyhow::Result<Tally> {
    let client = pipeline::egress::local_client()?;
    let batches = batches(messages, seed);
    let bar = progress(batches.iter().map(|batch| batch.messages.len() as u64).sum());
    let answers = stream::iter(&batches).map(|batch| {
        let (client, bar) = (&client, &bar);
        async move {
            let tally = post(client, batch, target).await?;
            bar.inc(tally.sent);
            anyhow::Ok(tally)
        }
    });
    let tally = answers
        .buffered(CONNECTIONS)
        .try_fold(Tally::default(), async |mut sum, tally| {
            sum += tally;
            Ok(sum)
        })
        .await;
    bar.finish_and_clear();
    tally
}

struct Batch<'a> {
    origin: Origin,
    messages: Vec<&'a Message>,
}

/// Each origin fills batches of its own; now and then one goes out twice.
fn batches(messages: &[Message], seed: u64) -> Vec<Batch<'_>> {
    let mut random = StdRng::seed_from_u64(seed ^ 0xba7c);
    let mut batches: Vec<Batch<'_>> = Vec::new();
    let mut open = Origin::ALL.map(|origin| Batch { origin, messages: Vec::new() });
    for message in messages {
        let batch = &mut open[message.origin as usize];
        batch.messages.push(message);
        if batch.messages.len() >= random.random_range(20..=BATCH_MAX) {
            batches.push(Batch { origin: batch.origin, messages: std::mem::take(&mut batch.messages) });
        }
    }
    batches.extend(open.into_iter().filter(|batch| !batch.messages.is_empty()));
    let again = batches.iter().enumerate().filter(|(nth, _)| nth % REPEATED_ONE_IN == REPEATED_ONE_IN / 2);
    let again: Vec<_> = again.map(|(_, batch)| (batch.origin, batch.messages.clone())).collect();
    batches.extend(again.into_iter().map(|(origin, messages)| Batch { origin, messages }));
    batches
}

async fn post(client: &reqwest::Client, batch: &Batch<'_>, target: &Target) -> anyhow::Result<Tally> {
    let now = DateTime::from_timestamp_micros(target.clock.now()).unwrap_or_default();
    let bodies: Vec<&Value> = batch.messages.iter().map(|message| &message.body).collect();
    let answer = client
        .post(format!("{}/v1/batch", target.url))
        .basic_auth(&target.keys[batch.origin as usize], Some(""))
        .json(&json!({"batch": bodies, "sentAt": now.to_rfc3339_opts(SecondsFormat::Millis, true)}))
        .send()
        .await
        .context("sending a batch")?;
    let status = answer.status();
    let answer: Value = answer.json().await.context("reading the answer to a batch")?;
    if status != 200 {
        bail!("a batch was answered with {status}: {answer}");
    }
    Ok(tally(batch, &answer))
}

fn tally(batch: &Batch<'_>, answer: &Value) -> Tally {
    let count = |key: &str| answer[key].as_u64().unwrap_or_default();
    let mut tally = Tally {
        sent: batch.messages.len() as u64,
        received: count("received"),
        accepted: count("accepted"),
        ..Tally::default()
    };
    for flaw in batch.messages.iter().filter_map(|message| message.flaw) {
        *tally.broken.entry(flaw).or_default() += 1;
    }
    for result in answer["results"].as_array().into_iter().flatten() {
        match result["status"].as_str() {
            Some("duplicate") => tally.duplicate += 1,
            Some("rejected") => {
                let code = result["code"].as_str().unwrap_or("?").to_owned();
                *tally.rejected.entry(code).or_default() += 1;
            }
            _ => {}
        }
    }
    tally
}

/// A progress bar where somebody watches.
fn progress(items: u64) -> ProgressBar {
    let watched = std::io::stderr().is_terminal();
    let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("  {bar:40} {human_pos}/{human_len} events  {per_sec}");
    let bar = ProgressBar::with_draw_target(Some(items), target);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
