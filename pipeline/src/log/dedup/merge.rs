//! Keeps the runs few: adjacent runs of one size become one, runs outside of the window nothing.

use super::format::Footer;
use super::run::{Cursor, Run};
use super::runs::Runs;
use super::writer::{self, RunWriter};
use super::{Entry, Micros};
use crate::log::LogError;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What a merge came to.
pub(super) enum Merged {
    /// The runs have changed; there may be more to do.
    Some,
    /// There is nothing to do.
    Nothing,
    /// It was told to stop.
    Stopped,
}

/// Does the most urgent merge.
///
/// # Errors
/// When a run is damaged or the disk fails; the runs stay as they are.
pub(super) fn merge(runs: &Runs, window: Micros, stop: impl Fn() -> bool) -> Result<Merged, LogError> {
    let list = runs.list();
    // Counted from what is durable, so that nothing is dropped on the word of a lost group.
    let newest = list.iter().map(|run| run.file.footer.received.1).max().unwrap_or(i64::MIN);
    let cutoff = newest.saturating_sub(window);
    let Some(chosen) = expired(&list, cutoff).or_else(|| crowded(&list, runs)) else {
        return Ok(Merged::Nothing);
    };
    let inputs = list[chosen].to_vec();
    drop(list);
    let path = write(runs, &inputs, cutoff, &stop)?;
    drop(inputs);
    let Some(path) = path else { return Ok(Merged::Stopped) };
    runs.replace(runs.open(&path)?)?;
    Ok(Merged::Some)
}

/// The oldest runs, if there is any of which all ids are outside of the window.
///
/// They become one empty run, so that the chain goes on to begin at offset 0 and a run that is
/// missing shows.
fn expired(list: &[Arc<Run>], cutoff: Micros) -> Option<Range<usize>> {
    let count = list.iter().take_while(|run| run.file.footer.received.1 < cutoff).count();
    list[..count].iter().any(|run| run.file.footer.ids > 0).then_some(0..count)
}

/// From the first to the last of `fanout` or more runs of one tier, with the smaller ones between.
fn crowded(list: &[Arc<Run>], runs: &Runs) -> Option<Range<usize>> {
    let tiers: Vec<Option<u32>> =
        list.iter().map(|run| (!run.file.is_damaged()).then(|| tier(&run.file.footer, runs))).collect();
    let highest = tiers.iter().flatten().max()?;
    (0..=*highest).find_map(|tier| stretch(&tiers, tier, runs.shape.fanout))
}

fn stretch(tiers: &[Option<u32>], tier: u32, fanout: usize) -> Option<Range<usize>> {
    let (mut count, mut first) = (0, 0);
    for (n, &of_run) in tiers.iter().enumerate() {
        match of_run {
            Some(lower) if lower < tier => {}
            Some(same) if same == tier => {
                first = if count == 0 { n } else { first };
                count += 1;
                if count == fanout {
                    return Some(first..n + 1);
                }
            }
            // A larger run, or a damaged one that no merge may touch.
            _ => count = 0,
        }
    }
    None
}

/// 0 for a memtable's run, one more for each factor of `fanout`.
fn tier(footer: &Footer, runs: &Runs) -> u32 {
    runs.size.halves(footer.ids, footer.directory).max(1).ilog(runs.shape.fanout as u64)
}

/// Writes the run that takes the place of `inputs`; `None` when told to stop.
fn write(
    runs: &Runs,
    inputs: &[Arc<Run>],
    cutoff: Micros,
    stop: &impl Fn() -> bool,
) -> Result<Option<PathBuf>, LogError> {
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(None) };
    let offsets = first.file.footer.offsets.start..last.file.footer.offsets.end;
    let live = || inputs.iter().filter(|run| run.file.footer.received.1 >= cutoff);
    let ids_max = live().map(|run| run.file.footer.ids).sum();
    let mut stopped = false;
    let written = writer::write(&runs.dir, offsets, ids_max, runs.shape, |writer| {
        let cursors = live().map(|run| Cursor::new(Arc::clone(&run.file))).collect::<Result<Vec<_>, _>>()?;
        stopped = !copy(cursors, cutoff, stop, writer)?;
        // An error takes the unfinished file away.
        if stopped { Err(LogError::Damaged("the merge was stopped".into())) } else { Ok(()) }
    });
    match written {
        Err(_) if stopped => Ok(None),
        written => written.map(Some),
    }
}

/// Copies the latest entry of each id that is in the window; `false` when told to stop.
fn copy(
    mut cursors: Vec<Cursor>,
    cutoff: Micros,
    stop: &impl Fn() -> bool,
    writer: &mut RunWriter,
) -> Result<bool, LogError> {
    let order = |entry: &Entry<'_>, other: &Entry<'_>| (entry.hash, entry.key).cmp(&(other.hash, other.key));
    let mut lowest = Vec::new();
    for count in 0_u64.. {
        if count % 4096 == 0 && stop() {
            return Ok(false);
        }
        // Of entries of one id the last is the latest, as the cursors stand oldest first.
        let mut best: Option<Entry<'_>> = None;
        lowest.clear();
        for (n, cursor) in cursors.iter().enumerate() {
            let Some(entry) = cursor.entry() else { continue };
            match best.as_ref().map(|best| order(&entry, best)) {
                Some(std::cmp::Ordering::Greater) => continue,
                Some(std::cmp::Ordering::Equal) => {}
                Some(std::cmp::Ordering::Less) | None => lowest.clear(),
            }
            lowest.push(n);
            best = Some(entry);
        }
        let Some(entry) = best else { break };
        if entry.received_at >= cutoff {
            writer.push(entry)?;
        }
        for &n in &lowest {
            cursors[n].step()?;
        }
    }
    Ok(true)
}
