//! `flowstate doctor`: looks at the settings, the disk, the store, the clock and the server.
//!
//! It changes nothing: what it writes, to measure, it takes away again.

mod clock;
mod disk;
mod files;
mod partitions;
mod port;
mod report;
mod server;
mod settings;
mod store;
mod tls;

pub(crate) use report::ReportFormat;

use crate::cli::DoctorArgs;
use crate::output::print;
use pipeline::Clock;
use report::Report;
use std::process::ExitCode;

pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let clock = Clock::system();
    let mut report = Report::default();
    settings::look(&settings, &mut report);
    files::look(&settings, &mut report);
    let announced = server::look(&settings, &mut report).await;
    port::look(&settings, announced.as_ref(), &mut report);
    tls::look(&settings, &clock, &mut report);
    disk::look(&settings, &mut report).await;
    server::outage(&settings, &mut report).await;
    let probe = store::look(&settings, &clock, &mut report).await;
    if probe.is_some() {
        partitions::look(&settings, &clock, &mut report).await;
    }
    clock::look(&clock, probe.as_ref(), &mut report);
    print(match args.format {
        ReportFormat::Text => report.text(),
        ReportFormat::Json => report.json(),
    })?;
    Ok(ExitCode::from(if report.has_failed() { crate::FAILED } else { 0 }))
}
