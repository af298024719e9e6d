//! What was found, line by line.

use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write;

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    state: State,
    found: String,
    /// What to do; empty where nothing has to be done.
    remedy: String,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.add(check, State::Ok, found, "");
    }

    pub(super) fn warn(&mut self, check: &str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, State::Warn, found, remedy);
    }

    pub(super) fn fail(&mut self, check: &str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, State::Fail, found, remedy);
    }

    fn add(&mut self, check: &str, state: State, found: impl Into<String>, remedy: impl Into<String>) {
        let (found, remedy) = (found.into(), remedy.into());
        self.0.push(Finding { check: check.to_owned(), state, found, remedy });
    }

    pub(super) fn has_failed(&self) -> bool {
        self.count(State::Fail) > 0
    }

    fn count(&self, state: State) -> usize {
        self.0.iter().filter(|finding| finding.state == state).count()
    }

    pub(super) fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { check, state, found, remedy } in &self.0 {
            let word = match state {
                State::Ok => "ok  ",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            let _ = writeln!(text, "{word}  {check:width$}  {found}");
            if !remedy.is_empty() {
                let _ = writeln!(text, "      {:width$}  → {remedy}", "");
            }
        }
        let [warned, failed] = [State::Warn, State::Fail].map(|state| self.count(state));
        let _ = writeln!(text, "{} checks: {failed} failed, {warned} to look at", self.0.len());
        text
    }

    pub(super) fn json(&self) -> String {
        format!("{}\n", serde_json::json!({ "healthy": !self.has_failed(), "checks": self.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_and_says_what_to_do() {
        let mut report = Report::default();
        report.ok("port", "free");
        assert!(!report.has_failed());
        report.fail("master key", "mode 0644", "chmod 600 it");
        assert_eq!(
            report.text(),
            "ok    port        free\nFAIL  master key  mode 0644\n                  → chmod 600 it\n2 checks: 1 failed, 0 to look at\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["healthy"], &json["checks"][1]["state"]), (&false.into(), &"fail".into()));
    }
}
