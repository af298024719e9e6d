//! The books: what was sent, what the server says came of it, what the log holds.

use super::send::Tally;
use super::server::{Server, number};
use anyhow::bail;
use serde_json::Value;
use std::fmt::Write;

/// The books of one run.
pub(super) struct Accounts {
    /// What the answers said.
    answered: Tally,
    /// What the log holds, by the same names.
    logged: Tally,
}

impl Accounts {
    pub(super) async fn take(server: &Server, answered: Tally) -> anyhow::Result<Self> {
        let sums = "SELECT sum(received) AS received, sum(accepted) AS accepted, \
                    sum(duplicate) AS duplicate FROM accounting WHERE source <> 'flowstate'";
        let sums = server.rows(sums).await?;
        let codes = "SELECT code, count(*) AS rejected FROM rejected GROUP BY code";
        let mut logged = Tally {
            sent: answered.sent,
            broken: answered.broken.clone(),
            received: count(sums.first(), "received"),
            accepted: count(sums.first(), "accepted"),
            duplicate: count(sums.first(), "duplicate"),
            ..Tally::default()
        };
        for row in server.rows(codes).await? {
            let code = row["code"].as_str().unwrap_or("?").to_owned();
            logged.rejected.insert(code, count(Some(&row), "rejected"));
        }
        Ok(Self { answered, logged })
    }

    /// The books for people.
    pub(super) fn table(&self) -> String {
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
        Ok(())
    }
}

fn count(row: Option<&Value>, key: &str) -> u64 {
    row.map(|row| number(&row[key])).unwrap_or_default()
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
