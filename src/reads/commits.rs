//! Commits to the tables.

use console::{Commits, CommitsOf, ReadError};
use queries::Engine;

/// A page looks at no more commits than this.
const COMMITS_MAX: u64 = 1_000;
/// Delta's word for a compaction.
const COMPACTION: &str = "OPTIMIZE";

pub(super) async fn page(engine: &Engine, of: CommitsOf) -> Result<Commits, ReadError> {
    let CommitsOf { table, before, compactions, limit } = of;
    let nothing = Commits { commits: Vec::new(), next: None };
    // A directory that nothing was ever delivered from has no table of deliveries.
    let Some(table) = engine.table(table) else { return Ok(nothing) };
    let Some(newest) = before.unwrap_or(u64::MAX).checked_sub(1) else { return Ok(nothing) };
    let newest = newest.min(table.version);
    let look = if compactions { COMMITS_MAX } else { limit };
    let read = table.commits(newest, look).await;
    let mut commits = read.map_err(|error| ReadError::Failed(error.to_string()))?;
    let is_cleaned = (commits.len() as u64) < look.min(newest + 1);
    let oldest = commits.last().map(|commit| commit.version);
    commits.retain(|commit| !compactions || commit.operation == COMPACTION);
    let is_full = commits.len() as u64 > limit;
    commits.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = if is_full { commits.last().map(|commit| commit.version) } else { oldest };
    let next = last.filter(|&version| version > 0 && (is_full || !is_cleaned));
    Ok(Commits { commits, next })
}
