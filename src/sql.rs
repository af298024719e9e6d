//! `flowstate sql`: asks the running server, or reads the log itself.

mod output;
mod shell;
mod statements;
mod target;

use crate::cli::SqlArgs;
use output::Output;
use statements::Statements;
use std::io::{IsTerminal, Read};
pub(crate) use target::Target;

/// Statements on standard input may have this many bytes in all.
const INPUT_BYTES_MAX: u64 = 16 << 20;

pub(crate) async fn run(args: SqlArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let format = args.format.of_rows();
    let output = Output::new(args.output);
    let is_shell = args.query.is_none() && std::io::stdin().is_terminal();
    if !is_shell {
        output.check(format)?;
    }
    let target = Target::open(&settings).await?;
    match args.query {
        Some(query) => {
            eprintln!("{}", target.shown());
            output.write(target.rows(&query, format).await?).await
        }
        None if is_shell => shell::run(target, &settings, format, output).await,
        None => {
            for statement in piped().await? {
                output.write(target.rows(&statement, format).await?).await?;
            }
            Ok(())
        }
    }
}

/// The statements on standard input; the last needs no `;`.
async fn piped() -> anyhow::Result<Vec<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text).map(|_| text)
    });
    let text = read.await??;
    if text.len() as u64 > INPUT_BYTES_MAX {
        anyhow::bail!("the statements have more than {INPUT_BYTES_MAX} bytes");
    }
    let Statements { whole, rest } = Statements::of(&text);
    let last = (!statements::is_blank(&rest)).then_some(rest);
    Ok(whole.into_iter().chain(last).collect())
}
