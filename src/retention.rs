//! `flowstate retention`: what the tables keep, what is due, and what was removed. It changes nothing.

use crate::cli::RetentionArgs;
use crate::output::print;
use crate::reads::retention::day;
use crate::settings::Settings;
use pipeline::Clock;
use pipeline::clock::DAY;
use pipeline::control::sqlite::Sqlite;
use pipeline::delivery::needs::DestinationNeeds;
use pipeline::event::format_timestamp;
use pipeline::log;
use pipeline::log::retention::{Need, Needs, Overview};
use std::fmt::Write;
use std::sync::Arc;

pub(crate) async fn run(args: RetentionArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    let node = log::wal::partition(log::wal::fs::RealFs, &settings.data.join("wal"))?;
    let (needs, now) = (needs_here(&settings).await?, Clock::system().now());
    let overview = Overview::read(&settings.store()?, settings.retention, node.as_ref(), needs, now).await?;
    Ok(print(text(&overview)?)?)
}

/// What the destinations of this data directory need; nothing where it has no control store.
async fn needs_here(settings: &Settings) -> anyhow::Result<Vec<Need>> {
    let path = settings.control_path();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let sqlite = Arc::new(Sqlite::open(&path).await?);
    let needs = DestinationNeeds { connections: Arc::clone(&sqlite) as _, lanes: Arc::clone(&sqlite) as _ };
    let found = needs.needs().await;
    sqlite.close().await;
    Ok(found?)
}

fn text(overview: &Overview) -> Result<String, std::fmt::Error> {
    let mut lines = format!("{:10}  {:>8}  {:>12}  OLDEST DAY\n", "TABLE", "KEPT FOR", "ROWS");
    for table in &overview.tables {
        let kept = overview.limits.of(table.kind).map_or("ever".into(), |limit| format!("{}d", limit / DAY));
        let rows: u64 = table.files.iter().map(|file| file.rows).sum();
        let oldest = table.files.iter().map(|file| file.received_date).min();
        let oldest = oldest.map_or("-".into(), day);
        writeln!(lines, "{:10}  {kept:>8}  {rows:>12}  {oldest}", table.kind.name())?;
    }
    for due in &overview.due {
        let (table, partition, rows, bytes) = (due.table.name(), &due.partition, due.rows(), due.bytes());
        let (first, last) = (day(due.days.0), day(due.days.1));
        write!(
            lines,
            "\ndue: {rows} rows of `{table}` in partition {partition}, {first} to {last}, {bytes} bytes"
        )?;
        match due.waits_for.is_empty() {
            true => write!(lines, "; the server removes them within a minute")?,
            false => write!(lines, "; they wait for {}", due.waits_for.join(", "))?,
        }
        for who in &due.missed_by {
            write!(lines, "\n     not waited for: {who}")?;
        }
    }
    for table in &overview.tables {
        for hole in table.holes.iter() {
            write!(
                lines,
                "\nremoved: {} rows of `{}` in partition {}, {} to {}, offsets {} to {}, by {}, last at {}",
                hole.rows,
                table.kind.name(),
                hole.partition,
                day(hole.first_day),
                day(hole.last_day),
                hole.first,
                hole.last,
                hole.reason.as_str(),
                format_timestamp(hole.at)
            )?;
        }
    }
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    Ok(lines)
}
