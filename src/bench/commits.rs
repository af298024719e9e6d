//! Whether a commit takes longer the more there were before it.

use super::BenchArgs;
use super::sheet::{Bound, Sheet};
use pipeline::Clock;
use pipeline::event::{Event, Kind};
use pipeline::log::{Batch, Log, LogConfig, Origin};
use std::time::{Duration, Instant};

/// Events in each commit.
const EVENTS: u32 = 100;
/// The early commit that a late one is compared with; of each, the median of so many up to it.
const EARLY: u32 = 100;
const WINDOW: u32 = 20;
/// A late commit takes less than so many times as long as an early one.
const RATIO: f64 = 1.5;

/// Makes many commits, one after the other, and notes how long early and late ones took.
pub(crate) fn measure(args: &BenchArgs, repeat: u32, sheet: &mut Sheet) -> anyhow::Result<()> {
    if args.commits < EARLY + WINDOW {
        return Ok(());
    }
    let dir = args.data.join(format!("commits-{repeat}"));
    let took = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let log = Log::open(config(&dir)?, Clock::system()).await?;
        let mut took = Vec::new();
        for commit in 0..args.commits {
            log.append(batch(commit)).await?;
            let begun = Instant::now();
            log.flush().await?;
            took.push(begun.elapsed());
        }
        log.close().await?;
        anyhow::Ok(took)
    })?;
    let [early, late] = [EARLY, args.commits].map(|last| {
        let mut window = took[(last - WINDOW) as usize..last as usize].to_vec();
        window.sort();
        window[window.len() / 2].as_secs_f64() * 1000.0
    });
    sheet.note(&format!("commit {EARLY}"), "ms", Bound::None, early);
    sheet.note(&format!("commit {}", args.commits), "ms", Bound::None, late);
    let name = format!("commit {} to commit {EARLY}", args.commits);
    sheet.note(&name, "", Bound::Below(RATIO), late / early);
    Ok(std::fs::remove_dir_all(&dir)?)
}

/// Commits are made when they are asked for, and not before.
fn config(dir: &std::path::Path) -> anyhow::Result<LogConfig> {
    std::fs::create_dir_all(dir)?;
    let tables = std::path::absolute(dir.join("tables"))?;
    Ok(LogConfig {
        dir: dir.to_owned(),
        store: url::Url::from_directory_path(&tables)
            .map_err(|()| anyhow::anyhow!("a path for tables"))?
            .into(),
        durability: Default::default(),
        wal_bytes_max: 1 << 30,
        segment_bytes: 64 << 20,
        commit_age: Duration::from_secs(3600),
        commit_bytes: 512 << 20,
        dedup_window: Duration::from_secs(7 * 24 * 3600),
        dedup_memory_bytes_max: 128 << 20,
        promotion: Default::default(),
    })
}

fn batch(commit: u32) -> Batch {
    let mut batch = Batch::new(Origin { source: "bench".into(), test: false }, EVENTS);
    for nth in 0..EVENTS {
        let mut event = Event::new(Kind::Track, format!("commit-{commit}-{nth}"));
        event.user_id = Some(format!("u{nth}").into());
        event.event = Some("Product Added".into());
        event.properties = Some(r#"{"price":24.9,"currency":"EUR"}"#.into());
        batch.push_event(&event);
    }
    batch
}
