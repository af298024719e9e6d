//! The command line.

mod adopt;
mod backup;
mod flags;
#[cfg(test)]
mod tests;

pub(crate) use adopt::AdoptArgs;
pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use flags::Flags;

use crate::{bench, demo, doctor};
use clap::{Args, Parser, Subcommand, ValueEnum};
use pipeline::control::Scope;

const EXAMPLES: &str = "\
Examples:
  flowstate serve                                   take events in; prints the keys once
  flowstate source add web --kind browser           add a source and print its write key
  flowstate sql \"SELECT event, count(*) FROM events GROUP BY event\"
  flowstate import 2024.ndjson.gz --source history  take in events from files
  flowstate backup /mnt/backup                      copy everything, while the server runs
  flowstate verify                                  check that nothing is damaged or missing
  flowstate doctor --store s3://bucket/tables       check disk, store, clock and ports before a start

Settings come from `flowstate.toml` in the working directory (or --config FILE), then from the
environment (FLOWSTATE_…), then from flags; later ones win. `flowstate serve --help` lists them all.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 the log is damaged.";

/// A customer data platform in one binary: every event is accounted for, anything can be replayed.
#[derive(Debug, Parser)]
#[command(name = "flowstate", bin_name = "flowstate", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take events in, store them, answer SQL, and forward them
    ///
    /// The first start makes a source `default` and an API key and prints both keys, once. The server
    /// ends with SIGTERM or SIGINT: it finishes its requests, commits, and exits with 0.
    Serve(ServeArgs),
    /// Try it out with made-up events
    Demo(demo::DemoArgs),
    /// Ask the log in SQL
    ///
    /// Asks the server that runs on the data directory; without one, reads the directory itself, or the
    /// tables alone where there is no directory. Without a query: a shell on a terminal, else the
    /// statements that stand on standard input, each ended by `;`.
    Sql(SqlArgs),
    /// Take in events from files
    ///
    /// Each line is one event as JSON, in Segment's words; plain, gzip or zstd, told by the content. Lines
    /// are held to the rules of the tracking API: one that breaks a rule is kept aside with code and reason.
    ///
    /// Goes through the server that runs on the data directory; without one, writes to the log itself.
    /// An import that was interrupted goes on where it stopped when it is run again.
    Import(ImportArgs),
    /// Add and list the sources that may send events
    Source(SourceArgs),
    /// Give properties columns of their own, which queries use by themselves
    Column(ColumnArgs),
    /// Add, list and revoke the keys to the management API
    ApiKey(ApiKeyArgs),
    /// Seal the credentials of connections under a new key
    Keys(KeysArgs),
    /// Take over the partition of a node that is lost for good
    ///
    /// For nodes with `durability = "object"`: everything they acknowledged moves into the tables, each
    /// event once. Without PARTITION, lists the partitions. May be repeated, and run anywhere that
    /// reaches the store.
    Adopt(AdoptArgs),
    /// Copy everything that a server keeps to a directory or a bucket, while it runs
    ///
    /// The tables, the control store (sources, connections, keys, cursors) and the records of imports, all of one
    /// moment: everything acknowledged before it is in the backup. A further backup to the same place copies
    /// only what is new, and one that was broken off goes on when it is run again within twelve hours. Where
    /// the tables are in a bucket they are left out, unless --tables asks for them. Without --keep nothing is
    /// ever removed from the place.
    Backup(BackupArgs),
    /// Make a data directory from a backup
    ///
    /// Refuses a data directory that is not empty, and a backup that is damaged or not complete. The server gets
    /// a partition of its own: the old one ends, and what its destinations had not got is delivered by the new
    /// server. Ends with the proof that `verify` gives; exits with 3 when that finds damage.
    ///
    /// Message ids of the last days are known again, the newest as far as the memory for deduplication goes.
    Restore(RestoreArgs),
    /// Show how long the tables keep their rows, what is due, what that waits for, and what was removed
    ///
    /// Changes nothing: the server removes what is due, within a minute. Give it the settings that `serve`
    /// gets, or others to see what they would remove.
    Retention(RetentionArgs),
    /// Check that nothing in the log is damaged or missing; exits with 3 when something is
    Verify(VerifyArgs),
    /// Look for what is wrong around the log: settings, disk, store, clock, ports, server
    ///
    /// Changes nothing. Give it the settings that `serve` gets. Each line says ok, warn or FAIL, and what to
    /// do; exits with 1 when a check failed.
    Doctor(DoctorArgs),
    /// Measure
    Bench(BenchArgs),
}

/// `flowstate serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<true>,
}

/// `flowstate sql`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowstate sql \"SELECT * FROM events ORDER BY received_at DESC LIMIT 10\"
  flowstate sql --format csv \"SELECT user_id, count(*) FROM events GROUP BY user_id\" > users.csv
  flowstate sql --format parquet -o orders.parquet \"SELECT * FROM events WHERE event = 'Order Completed'\"
  flowstate sql                                     a shell; \\? in it tells its commands
  flowstate sql < statements.sql
  flowstate sql --store /mnt/backup/tables \"SELECT count(*) FROM events\"")]
pub(crate) struct SqlArgs {
    /// The query; without it, a shell
    pub(crate) query: Option<String>,
    /// How to write the rows
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// Write the rows to this file, which appears when it is whole
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<std::path::PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<false>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Table,
    /// One JSON object for each row
    Json,
    /// Comma-separated values with a line of names
    Csv,
    /// Parquet, for other programs
    Parquet,
    /// Arrow's stream of record batches, for other programs
    Arrow,
}

impl Format {
    /// The same in the management API's words.
    pub(crate) fn of_rows(self) -> console::Format {
        match self {
            Self::Table => console::Format::Table,
            Self::Json => console::Format::Json,
            Self::Csv => console::Format::Csv,
            Self::Parquet => console::Format::Parquet,
            Self::Arrow => console::Format::Arrow,
        }
    }
}

/// `flowstate import`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  flowstate source add history --kind server
  flowstate import 2023.ndjson.gz 2024.ndjson.zst --source history
  pg_dump_events | flowstate import - --source history
  flowstate sql \"SELECT code, count(*) FROM rejected WHERE source = 'history' GROUP BY code\"

What is different from events that come by HTTP:
  ids        an event without a messageId gets one that is a hash of the file's content, its line number
             and the line, so that another run finds it again
  times      `timestamp` stands as it is: no correction by `sentAt`. Only one that lies more than 24 hours
             ahead becomes the time of the import, as always
  delivery   the events are flagged `imported`, and no destination gets them; --deliver lets them go out, and
             a replay sends them later
  order      lines are stored in the order of the file")]
pub(crate) struct ImportArgs {
    /// Files of newline-delimited JSON; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<std::path::PathBuf>,
    /// The source that the events are of; `flowstate source add` makes one
    #[arg(long)]
    pub(crate) source: String,
    /// Let destinations get the events, as if they came in now
    #[arg(long)]
    pub(crate) deliver: bool,
    /// Send all lines, those too that an earlier run has taken in; what is stored is found to be duplicate
    #[arg(long)]
    pub(crate) again: bool,
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<false>,
}

/// `flowstate source`.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// What to do with sources.
    #[command(subcommand)]
    pub(crate) command: SourceCommand,
}

/// What can be done with sources; a running server sees it within a second.
#[derive(Debug, Subcommand)]
pub(crate) enum SourceCommand {
    /// Add a source and print its write key, once
    #[command(after_help = "\
Examples:
  flowstate source add web --kind browser
  flowstate source add shop-backend --kind server
  flowstate source add staging --kind server --test")]
    Add {
        /// 1 to 64 of a-z, 0-9, `-` and `_`; it stands in the `source` column for ever
        name: String,
        /// Whether the key is public, in a page or an app, or kept on your servers
        #[arg(long, value_enum)]
        kind: Kind,
        /// For tests: kept apart from profiles and destinations
        #[arg(long)]
        test: bool,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// List all sources
    List {
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// Take no more events from a source
    Disable {
        /// The source's name
        name: String,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// Take events from a disabled source again
    Enable {
        /// The source's name
        name: String,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
}

/// How far a source's key is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The key is public
    Browser,
    /// The key is secret
    Server,
}

/// `flowstate column`.
#[derive(Debug, Args)]
pub(crate) struct ColumnArgs {
    /// What to do with columns.
    #[command(subcommand)]
    pub(crate) command: ColumnCommand,
}

/// What can be done with columns; the server that runs does it.
#[derive(Debug, Subcommand)]
pub(crate) enum ColumnCommand {
    /// Give a property a column; new rows fill it at once, older ones by and by
    ///
    /// Properties that more than one in a hundred rows of an event have get a column by themselves, unless the server
    /// has `promote_columns = "pinned"`.
    #[command(after_help = "\
Examples:
  flowstate column pin price --type double
  flowstate column pin coupon")]
    Pin {
        /// The key in `properties`
        key: String,
        /// What the column holds; without it the values tell
        #[arg(long = "type", value_enum)]
        kind: Option<ColumnType>,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// Take the column of a property away; it stays in `properties`, and gets no column by itself again
    Unpin {
        /// The key in `properties`
        key: String,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// List the columns, how far they are filled, and which properties got none
    List {
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColumnType {
    /// Strings
    Text,
    /// Numbers
    Double,
    /// Whole numbers
    Bigint,
    /// True and false
    Boolean,
}

impl ColumnType {
    /// The word for it in the management API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Double => "double",
            Self::Bigint => "bigint",
            Self::Boolean => "boolean",
        }
    }
}

/// `flowstate api-key`.
#[derive(Debug, Args)]
pub(crate) struct ApiKeyArgs {
    /// What to do with API keys.
    #[command(subcommand)]
    pub(crate) command: ApiKeyCommand,
}

/// What can be done with API keys; a running server sees it within a second.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Add an API key and print it, once
    #[command(after_help = "\
Scopes:
  read               how things stand: sources, connections, replays, accounts; nothing of a person
  events:read        what people did: events, SQL, rejected events, dead letters, suppressions
  events:write       put events into the log: admit rejected ones
  sources:write      add, enable and disable sources
  connections:write  decide what goes out: connections, replays, dead letters, suppressions
  admin              all of it, and API keys

Examples:
  flowstate api-key add analyst --scope events:read --expires 2027-01-01T00:00:00Z
  flowstate api-key add deploy --scope read --scope sources:write")]
    Add {
        /// 1 to 64 of a-z, 0-9, `-` and `_`
        name: String,
        /// What it may do; may be given several times
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scopes())]
        scopes: Vec<String>,
        /// When it ends, as RFC 3339; never when not given
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// List all API keys
    List {
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
    /// Take an API key back, at once
    Revoke {
        /// The key's name
        name: String,
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
}

fn scopes() -> clap::builder::PossibleValuesParser {
    Scope::ALL.map(Scope::as_str).into()
}

/// `flowstate keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// What to do with keys.
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a new master key, seal every credential under it, and forget the old one
    ///
    /// Stop the server first. Where FLOWSTATE_MASTER_KEY gives the keys, put the new one before the
    /// old one and run this: everything is then sealed under the first.
    Rotate {
        /// Settings.
        #[command(flatten)]
        flags: Flags<false>,
    },
}

/// `flowstate retention`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowstate retention
  flowstate retention --retention-events 90d --retention-deliveries 30d")]
pub(crate) struct RetentionArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<true>,
}

/// `flowstate verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<false>,
}

/// `flowstate doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: doctor::ReportFormat,
    /// Settings.
    #[command(flatten)]
    pub(crate) flags: Flags<true>,
}

/// `flowstate bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// How many events a second are taken in, durably
    Ingest(bench::BenchArgs),
    /// How fast events are read back: all in order, one by its id, and by a rare property
    Read(bench::read::ReadArgs),
    /// How many events a second are delivered, and what a bad destination does to the others
    Deliver(bench::deliver::DeliverArgs),
    /// Whether memory, files and latency stay what they are over a long time
    Soak(bench::soak::SoakArgs),
}
