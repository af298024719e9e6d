//! `flowstate verify`: checks that nothing in the log is damaged or missing.

use crate::cli::VerifyArgs;
use crate::output::print;
use pipeline::log::verify::Report;
use std::fmt::Write;
use std::process::ExitCode;

pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    anyhow::bail!("this version cannot verify `{}` yet", settings.data.display())
}

#[expect(dead_code, reason = "waits for the log's verify")]
fn show(report: &Report) -> anyhow::Result<ExitCode> {
    print(text(report))?;
    Ok(ExitCode::from(if report.is_ok() { 0 } else { crate::DAMAGED }))
}

fn text(report: &Report) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for check in &report.checks {
        let outcome = if check.ok { "ok     " } else { "DAMAGED" };
        // Writing to a `String` cannot fail.
        let _ = writeln!(lines, "{outcome}  {:width$}  {}", check.name, check.detail);
    }
    let damaged = report.checks.iter().filter(|check| !check.ok).count();
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
    fn a_report_names_every_check_and_counts_the_damage() {
        let check = |name: &str, ok| Check { name: name.into(), ok, detail: format!("{name} it is") };
        let report = Report { checks: vec![check("wal", true), check("events", false)] };
        assert_eq!(
            text(&report),
            "ok       wal     wal it is\nDAMAGED  events  events it is\n1 of 2 checks found damage\n"
        );
    }
}
