//! `flowstate verify`: checks that nothing in the log is damaged or missing.

use crate::cli::VerifyArgs;
use crate::output::print;
use pipeline::log::verify::{Report, verify};
use std::fmt::Write;
use std::process::ExitCode;

pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let report = verify(&crate::serve::log_config(&settings)?).await?;
    print(text(&report))?;
    Ok(ExitCode::from(if report.is_sound() { 0 } else { crate::DAMAGED }))
}

fn text(report: &Report) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for check in &report.checks {
        let outcome = if check.faults.is_empty() { "ok     " } else { "DAMAGED" };
        // Writing to a `String` cannot fail.
        let _ = writeln!(lines, "{outcome}  {:width$}  {}", check.name, check.detail);
        for fault in &check.faults {
            let _ = writeln!(lines, "         {:width$}  {fault}", "");
        }
    }
    let damaged = report.checks.iter().filter(|check| !check.faults.is_empty()).count();
    let sum = match damaged {
        0 => format!("all {} checks passed\n", report.checks.len()),
        damaged => format!("{damaged} of {} checks found damage\n", report.checks.len()),
    };
    lines + &sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::log::verify::Check;

    #[test]
    fn a_report_names_every_check_and_every_fault() {
        let check = |name: &str, faults: &[&str]| Check {
            name: name.into(),
            detail: format!("{name} it is"),
            faults: faults.iter().map(ToString::to_string).collect(),
        };
        let report =
            Report { checks: vec![check("WAL", &[]), check("table events", &["a file is missing"])] };
        assert_eq!(
            text(&report),
            "ok       WAL           WAL it is\n\
             DAMAGED  table events  table events it is\n\
             \u{20}                      a file is missing\n\
             1 of 2 checks found damage\n"
        );
    }
}
