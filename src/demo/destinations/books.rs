//! The books of the deliveries: what the log wants, what the view `deliveries` says, what arrived.

use super::{Connected, Destinations, SEGMENT, WAIT_MAX, WEBHOOK, number, order};
use crate::demo::accounts::grouped;
use anyhow::bail;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Of the replay only Segment's own count tells; these are the events as they came in.
const OUTCOMES: &str = "SELECT destination, outcome, count(*) AS events FROM deliveries \
                        WHERE trigger = 'live' GROUP BY destination, outcome";

/// The books of all destinations.
pub(in crate::demo) struct Books(Vec<Row>);

struct Row {
    name: &'static str,
    state: String,
    /// Events stored in all, with those the server itself records, which no destination gets.
    stored: u64,
    wanted: u64,
    /// What the fake has.
    arrived: u64,
    outcomes: HashMap<String, u64>,
    /// What was wrong with the requests.
    violations: Vec<String>,
}

impl Connected<'_> {
    /// Takes the books once every event is decided, and compares what Segment and the webhook got with
    /// the log, event by event.
    pub(in crate::demo) async fn books(&self) -> anyhow::Result<Books> {
        let wanted = self.fakes.wanted();
        let segment = order::stored(self.server, &wanted[SEGMENT]).await?;
        order::check("Segment", &segment, &self.fakes.segment.messages())?;
        let webhook = order::stored(self.server, &wanted[WEBHOOK]).await?;
        let bodies: Vec<Value> =
            self.fakes.webhook.deliveries().into_iter().map(|delivery| delivery.body).collect();
        order::check("The webhook", &webhook, &bodies)?;

        let end = Instant::now() + WAIT_MAX;
        loop {
            let books = self.books_now().await?;
            if books.check().is_ok() || Instant::now() > end {
                return Ok(books);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn books_now(&self) -> anyhow::Result<Books> {
        let fakes = self.fakes;
        let mut outcomes: HashMap<String, HashMap<String, u64>> = HashMap::new();
        for row in self.server.rows(OUTCOMES).await? {
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            outcomes.entry(word("destination")).or_default().insert(word("outcome"), number(&row["events"]));
        }
        // Its first secret was to be refused, and is.
        let refused = |violation: &String| !violation.contains("Invalid credentials");
        let violations = [
            fakes.segment.violations(),
            fakes.mixpanel.violations().into_iter().filter(refused).collect(),
            fakes.google.dropped().into_iter().map(|dropped| dropped.why).collect(),
            fakes.webhook.violations(),
        ];
        let wanted = self.wanted().await?;
        let stored = self.server.number("SELECT count(*) FROM events").await?;
        let mut rows = Vec::new();
        for (nth, violations) in violations.into_iter().enumerate() {
            let state = self.connection(nth).await?["state"].as_str().unwrap_or_default().to_owned();
            rows.push(Row {
                name: Destinations::NAMES[nth],
                state,
                stored,
                wanted: wanted[nth],
                arrived: fakes.arrived(nth),
                outcomes: outcomes.remove(&self.ids[nth]).unwrap_or_default(),
                violations,
            });
        }
        Ok(Books(rows))
    }
}

impl Row {
    fn of(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or_default()
    }

    fn adds_up(&self) -> bool {
        [self.arrived, self.of("delivered")] == [self.wanted; 2]
            && self.of("filtered") + self.wanted == self.stored
            && self.of("dead") == 0
            && self.state == "enabled"
            && self.violations.is_empty()
    }
}

impl Books {
    /// The books for people.
    pub(in crate::demo) fn table(&self) -> String {
        let mut text = String::from("\nEvery delivery is accounted for\n\n");
        let _ = writeln!(
            text,
            "  {:16} {:>9} {:>9} {:>9} {:>6} {:>8}  state",
            "destination", "wanted", "delivered", "filtered", "dead", "retried"
        );
        for row in &self.0 {
            let [delivered, filtered, dead, retried] =
                ["delivered", "filtered", "dead", "retry"].map(|outcome| grouped(row.of(outcome)));
            let (wanted, Row { name, state, .. }) = (grouped(row.wanted), row);
            let _ = writeln!(
                text,
                "  {name:16} {wanted:>9} {delivered:>9} {filtered:>9} {dead:>6} {retried:>8}  {state}"
            );
        }
        text.push_str(
            "\n  Filtered for all is what the server itself records, such as that Mixpanel was held.\n",
        );
        text
    }

    /// Whether each has exactly what it is to have.
    pub(in crate::demo) fn check(&self) -> anyhow::Result<()> {
        for row in &self.0 {
            if !row.adds_up() {
                bail!(
                    "{} is to have {} of {} events, has {}, is {}; deliveries: {:?}; rules broken: {:?}",
                    row.name,
                    row.wanted,
                    row.stored,
                    row.arrived,
                    row.state,
                    row.outcomes,
                    row.violations.iter().take(3).collect::<Vec<_>>(),
                );
            }
        }
        Ok(())
    }
}
