//! `flowstate verify`: checks that nothing in the log is damaged or missing.

use crate::cli::VerifyArgs;
use crate::output::print;
use crate::settings::Settings;
use pipeline::log::verify::{self, Report};
use std::process::ExitCode;

pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    check(&settings).await
}

/// Checks the log of the settings and prints the report.
pub(crate) async fn check(settings: &Settings) -> anyhow::Result<ExitCode> {
    let report = verify::verify(&crate::serve::log_config(settings)?).await?;
    print(text(&report))?;
    Ok(ExitCode::from(if report.is_sound() { 0 } else { crate::DAMAGED }))
}

fn text(report: &Report) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for check in &report.checks {
        let outcome = if check.faults.is_empty() { "ok     " } else { "DAMAGED" };
        let line = format!("{outcome}  {:width$}  {}", check.name, check.detail);
        lines.push_str(line.trim_end());
        lines.push('\n');
        for fault in &check.faults {
            lines.extend(["         - ", fault, "\n"]);
        }
    }
    let damaged = report.checks.iter().filter(|check| !check.faults.is_empty()).count();
    lines
        + &match damaged {
            0 => format!("all {} checks passed\n", report.checks.len()),
            damaged => format!("{damaged} of {} checks found damage\n", report.checks.len()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::log::verify::Check;

    #[test]
    fn a_report_names_every_check_and_counts_the_damage() {
        let check = |name: &str, faults: &[&str]| Check {
            name: name.into(),
            detail: format!("{name} it is"),
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
        };
        let report = Report { checks: vec![check("wal", &[]), check("events", &["`a.parquet` is missing"])] };
        assert_eq!(
            text(&report),
            "ok       wal     wal it is\nDAMAGED  events  events it is\n         - `a.parquet` is missing\n1 of 2 checks found damage\n"
        );
    }
}
