//! Flowstate: a customer data platform in one binary.
//!
//! Here is wiring only: the command line, the settings, and which rooms are opened.

mod adopt;
mod api_key;
mod backup;
mod bench;
mod cli;
mod column;
mod demo;
mod doctor;
mod import;
mod keys;
mod output;
mod reads;
mod restore;
mod retention;
mod serve;
mod settings;
mod source;
mod sql;
mod telemetry;
mod verify;

use clap::Parser;
use cli::{BenchCommand, Cli, Command};
use settings::WrongSetting;
use std::process::ExitCode;

/// Requests, commits and queries allocate on many threads and free on others; the C library's own
/// allocator keeps a heap for each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The work was not done; standard error says why.
const FAILED: u8 = 1;
/// The command or a setting was wrong; nothing was begun.
const WRONG_USAGE: u8 = 2;
/// Something that was durable is damaged or missing.
const DAMAGED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("the runtime cannot start")),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await?,
        Command::Demo(args) => demo::run(args).await?,
        Command::Sql(args) => sql::run(args).await?,
        Command::Import(args) => import::run(args).await?,
        Command::Source(args) => source::run(args).await?,
        Command::Column(args) => column::run(args).await?,
        Command::ApiKey(args) => api_key::run(args).await?,
        Command::Keys(args) => keys::run(args).await?,
        Command::Adopt(args) => adopt::run(args).await?,
        Command::Backup(args) => backup::run(args).await?,
        Command::Restore(args) => return restore::run(args).await,
        Command::Retention(args) => retention::run(args).await?,
        Command::Doctor(args) => return doctor::run(args).await,
        Command::Verify(args) => return verify::run(args).await,
        Command::Bench(args) => match args.command {
            BenchCommand::Ingest(args) => bench::run(args).await?,
            BenchCommand::Read(args) => bench::read::run(args).await?,
            BenchCommand::Deliver(args) => bench::deliver::run(args).await?,
            BenchCommand::Soak(args) => bench::soak::run(args).await?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes. Some libraries repeat a cause in what they say themselves; it is told once.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.contains(&cause) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&cause);
    }
    told
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {}", told(error));
    let code = match (error.downcast_ref::<WrongSetting>(), error.downcast_ref::<pipeline::log::LogError>()) {
        (Some(_), _) => WRONG_USAGE,
        (_, Some(pipeline::log::LogError::Damaged(_))) => DAMAGED,
        _ => FAILED,
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let error =
            anyhow::anyhow!("no such host").context("get failed: no such host").context("the probe failed");
        assert_eq!(told(&error), "the probe failed: get failed: no such host");
        let error = anyhow::anyhow!("disk full").context("the write failed");
        assert_eq!(told(&error), "the write failed: disk full");
    }
}
