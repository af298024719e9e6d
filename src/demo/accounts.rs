//! The books: what was sent, what the server says came of it, what the log holds, what was forwarded.

use super::send::Tally;
use super::server::Server;
use anyhow::bail;
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;
use vendors::segment::FakeSegment;

/// Rows asked for at once; fewer than any query may answer by default.
const PAGE: usize = 20_000;

/// The books of one run.
pub(super) struct Accounts {
    /// What the answers said.
    answered: Tally,
    /// What the log holds, by the same names.
    logged: Tally,
    forwarded: u64,
    /// Whether exactly the events that are stored were forwarded.
    forwarded_all: bool,
    forwarded_twice: u64,
    violations: Vec<String>,
}

impl Accounts {
    pub(super) async fn take(
        server: &Server,
        segment: &FakeSegment,
        answered: Tally,
    ) -> anyhow::Result<Self> {
        let sums = "SELECT sum(received) AS received, sum(accepted) AS accepted, \
                    sum(duplicate) AS duplicate FROM accounting";
        let sums = server.rows(sums).await?;
        let codes = "SELECT code, count(*) AS rejected FROM rejected GROUP BY code";
        let mut logged = Tally {
            sent: answered.sent,
            broken: answered.broken.clone(),
            received: number(sums.first(), "received"),
            accepted: number(sums.first(), "accepted"),
            duplicate: number(sums.first(), "duplicate"),
            ..Tally::default()
        };
        for row in server.rows(codes).await? {
            let code = row["code"].as_str().unwrap_or("?").to_owned();
            logged.rejected.insert(code, number(Some(&row), "rejected"));
        }
        let stored = stored_ids(server).await?;
        Ok(Self {
            answered,
            logged,
            forwarded: segment.received() as u64,
            forwarded_all: stored == segment.message_ids(),
            forwarded_twice: segment.repeats().len() as u64,
            violations: segment.violations(),
        })
    }

    /// The books for people.
    pub(super) fn table(&self, forwarded_in: Option<Duration>) -> String {
        let Tally { received, accepted, duplicate, rejected, .. } = &self.logged;
        let rejected: u64 = rejected.values().sum();
        let mut text = String::from("\nEvery event is accounted for\n\n");
        for (name, count, remark) in [
            ("received", *received, "items, as counted before anything was decided"),
            ("stored", *accepted, "events, once each"),
            ("duplicate", *duplicate, "resent after a lost answer, not stored again"),
            ("rejected", rejected, "broken, kept aside with the reason"),
        ] {
            let _ = writeln!(text, "  {name:10} {:>9}  {remark}", grouped(count));
        }
        text.push_str("\n  Why they were rejected:\n");
        for flaw in self.logged.broken.keys() {
            let count = self.logged.rejected.get(flaw.code).copied().unwrap_or(0);
            let _ = writeln!(text, "  {:>20}  {:24} {}", grouped(count), flaw.code, flaw.what);
        }
        let when = forwarded_in.map_or_else(
            || "not complete yet".to_owned(),
            |took| format!("complete {:.1} s after the first event was sent", took.as_secs_f64()),
        );
        let _ = writeln!(text, "\n  forwarded  {:>9}  to Segment, {when}", grouped(self.forwarded));
        text
    }

    /// Whether everything adds up.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Tally { sent, broken, received, accepted, duplicate, rejected } = &self.logged;
        if self.answered != self.logged {
            bail!("the answers and the log disagree: {} and {}", self.answered, self.logged);
        }
        if received != sent || *received != accepted + duplicate + rejected.values().sum::<u64>() {
            bail!("the books do not balance: {}", self.logged);
        }
        for (flaw, sent) in broken {
            let rejected = rejected.get(flaw.code).copied().unwrap_or(0);
            if rejected != *sent {
                bail!("{}: {sent} were sent, {rejected} rejected as `{}`", flaw.what, flaw.code);
            }
        }
        if !self.forwarded_all || self.forwarded_twice != 0 || !self.violations.is_empty() {
            bail!(
                "{accepted} events are stored, {} were forwarded, {} of them twice; rules broken: {:?}",
                self.forwarded,
                self.forwarded_twice,
                self.violations
            );
        }
        Ok(())
    }
}

fn number(row: Option<&Value>, key: &str) -> u64 {
    let value = row.map(|row| &row[key]);
    value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(0)
}

/// The message ids of all stored events, sorted, page by page: one answer has a limited number of rows.
async fn stored_ids(server: &Server) -> anyhow::Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let page = server.rows(&page_sql(ids.last().map(String::as_str))).await?;
        for row in &page {
            let Some(id) = row["message_id"].as_str() else { bail!("an event has no message id: {row}") };
            ids.push(id.to_owned());
        }
        if page.len() < PAGE {
            return Ok(ids);
        }
    }
}

fn page_sql(after: Option<&str>) -> String {
    let after =
        after.map_or_else(String::new, |id| format!(" WHERE message_id > '{}'", id.replace('\'', "''")));
    format!("SELECT message_id FROM events{after} ORDER BY message_id LIMIT {PAGE}")
}

/// A number with blanks between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_behind_the_last_id_whatever_it_holds() {
        assert!(page_sql(None).starts_with("SELECT message_id FROM events ORDER BY"));
        assert!(page_sql(Some("it's")).contains(" WHERE message_id > 'it''s' ORDER BY"));
    }
}
