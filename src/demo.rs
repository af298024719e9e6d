//! `flowstate demo`: the life of a small company, sent to a real server, and what comes of it.
//!
//! Nothing here is staged: the events go over HTTP, the numbers come from the log and from the fake
//! vendors they are delivered to, and the books are checked against what was sent.

mod accounts;
mod answers;
mod company;
mod destinations;
mod send;
mod server;

use crate::output::{print, shell_word, this_program};
use company::{Message, Origin};
use destinations::Destinations;
use pipeline::Clock;
use send::{Tally, Target};
use server::Server;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// `flowstate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// How many events the company makes
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=900_000))]
    events: u32,
    /// Another seed tells another story
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the demo keeps its data; each run makes a directory of its own in it
    #[arg(long, default_value = "./flowstate-demo")]
    data: PathBuf,
    /// End after the answers, instead of leaving the server to try things on
    #[arg(long)]
    exit: bool,
}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let clock = Clock::system();
    let destinations = Destinations::start(&clock)?;
    let (server, mut running) = Server::start(&args.data, &clock).await?;
    let told = tokio::select! {
        told = tell(&args, &server, &destinations, clock) => told,
        // Ctrl-C before the end.
        ended = running.ended() => return ended,
    };
    if told.is_err() || args.exit {
        running.stop().await?;
        return told;
    }
    print(next_steps(&server))?;
    running.ended().await?;
    print("\nThe demo has ended; its data stay where they are.\n")?;
    Ok(())
}

/// Sends everything, shows what came of it, and fails when that does not add up.
async fn tell(
    args: &DemoArgs,
    server: &Server,
    destinations: &Destinations,
    clock: Clock,
) -> anyhow::Result<()> {
    let messages = company::life(args.seed, args.events as usize, clock.now());
    print(opening(&messages, server))?;
    let connected = destinations.connect(server).await?;
    print(connected.shown())?;

    let target = Target { url: server.url.clone(), keys: server.write_keys.clone(), clock };
    let begun = Instant::now();
    let outage = connected.outage(&messages);
    let (tally, outage) = tokio::join!(send::send(&messages, &target, args.seed), outage);
    let tally = tally?;
    print(sent(&tally, begun.elapsed()))?;
    print(connected.trouble(&outage, begun).await?)?;
    print(connected.replay().await?)?;

    let accounts = accounts::Accounts::take(server, tally).await?;
    let deliveries = connected.books().await?;
    print(accounts.table())?;
    print(deliveries.table())?;
    print(answers::all(server).await?)?;
    accounts.check()?;
    deliveries.check()
}

fn opening(messages: &[Message], server: &Server) -> String {
    format!(
        "\nA coffee shop sends its last six weeks: {} events, from its website and its backend.\n\
         Flowstate listens on {}, keeps its data in `{}`,\n\
         and delivers to four fake vendors on this machine.\n\n",
        accounts::grouped(messages.len() as u64),
        server.url,
        server.data.display(),
    )
}

fn sent(tally: &Tally, took: Duration) -> String {
    format!(
        "Sent {} events in {:.1} s, {} a second; every answer came after its fsync.\n",
        accounts::grouped(tally.sent),
        took.as_secs_f64(),
        accounts::grouped((tally.sent as f64 / took.as_secs_f64()) as u64),
    )
}

fn next_steps(server: &Server) -> String {
    let (url, data) = (&server.url, shell_word(&server.data.display().to_string()));
    let (key, flowstate) = (server.write_key(Origin::Backend), this_program());
    let event = r#"{"event":"Order Completed","userId":"u00001","properties":{"total":42}}"#;
    format!(
        "The server is still running. Try it from another terminal in this directory:\n\n  \
         curl {url}/v1/track -u {key}: \\\n    -H 'content-type: application/json' \\\n    -d '{event}'\n\n  \
         {flowstate} sql --data {data} \\\n    \"SELECT event, count(*) AS events FROM events GROUP BY event\"\n  \
         {flowstate} sql --data {data} \\\n    \"SELECT code, message, body FROM rejected LIMIT 5\"\n  \
         {flowstate} sql --data {data} \\\n    \"SELECT at, attempt, status, next_at FROM deliveries WHERE outcome = 'retry'\"\n\n\
         Ctrl-C ends it.\n"
    )
}
