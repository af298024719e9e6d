//! Which properties are frequent enough for a column of their own.
//!
//! A census looks at a sample of the rows that were committed lately, within fixed memory: of each
//! new file the first rows of its last row group, a few thousand. It is taken in the background and
//! decides when it has seen enough of an event.

use super::LogError;
use super::stored::Rows;
use super::table::TableSnapshot;
use super::table::promoted::{Promoted, PromotedColumn, PromotedType, Votes, each_property};
use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, HashMap, HashSet};

/// So many rows of one file are looked at.
const FILE_ROWS_MAX: usize = 5_000;

/// After so many rows of an event it is decided about its keys, and counting begins anew.
const EVENT_ROWS: u32 = 1_000;

/// A key is frequent when more than one in so many rows of an event has it.
const RARE: u32 = 100;

/// So many events, and keys of all of them, are counted at once; others wait for a later stretch.
const EVENTS_MAX: usize = 1_000;
const KEYS_MAX: usize = 50_000;

/// After so many rows an event that is still undecided gives its place to others.
const STRETCH_ROWS: u64 = 1_000_000;

/// Which properties get columns of their own in `events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Promotion {
    /// Those that are frequent, and those that are pinned.
    #[default]
    Automatic,
    /// Those that are pinned. Columns that there are stay, and keep being filled; what is frequent and has none is
    /// told as [`NotPromoted`].
    Pinned,
}

/// A frequent key that gets no column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotPromoted {
    /// The key.
    pub key: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// Counts of keys by event.
#[derive(Debug, Default)]
pub(super) struct Census {
    events: HashMap<String, EventKeys>,
    keys: usize,
    rows: u64,
    seen: HashSet<String>,
}

#[derive(Debug, Default)]
struct EventKeys {
    rows: u32,
    keys: HashMap<String, Key>,
}

#[derive(Debug, Default)]
struct Key {
    rows: u32,
    votes: Votes,
}

impl Census {
    /// Looks at the newest file that it has not seen, and returns the keys that are frequent, the most
    /// frequent first.
    pub(super) async fn look(
        &mut self,
        events: &TableSnapshot,
    ) -> Result<Vec<(String, PromotedType)>, LogError> {
        let new = |file: &&super::table::DataFile| !self.seen.contains(&file.path);
        let Some(file) = events.files.iter().filter(new).max_by_key(|file| file.offsets.1) else {
            return Ok(Vec::new());
        };
        let mut rows = Rows::open(events, file, &["type", "event", "properties"], file.offsets.1).await?;
        let mut left = FILE_ROWS_MAX;
        while let Some(batch) = rows.next().await? {
            self.count(&batch.slice(0, batch.num_rows().min(left)));
            left = left.saturating_sub(batch.num_rows());
            if left == 0 {
                break;
            }
        }
        // Older files that nobody looked at tell nothing about recent rows.
        self.seen = events.files.iter().map(|file| file.path.clone()).collect();
        Ok(self.frequent())
    }

    fn count(&mut self, batch: &RecordBatch) {
        let column = |name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (Some(kinds), Some(names), Some(properties)) =
            (column("type"), column("event"), column("properties"))
        else {
            return;
        };
        for row in 0..batch.num_rows() {
            let name = if names.is_valid(row) { names.value(row) } else { kinds.value(row) };
            self.count_row(name, properties.is_valid(row).then(|| properties.value(row)));
        }
    }

    fn count_row(&mut self, name: &str, properties: Option<&str>) {
        self.rows += 1;
        if self.rows > STRETCH_ROWS {
            self.forget();
        }
        if !self.events.contains_key(name) {
            if self.events.len() >= EVENTS_MAX {
                return;
            }
            self.events.insert(name.to_owned(), EventKeys::default());
        }
        let Some(event) = self.events.get_mut(name) else { return };
        event.rows += 1;
        let Some(properties) = properties else { return };
        let (keys, all) = (&mut event.keys, &mut self.keys);
        each_property(properties, |key, value| {
            if let Some(key) = keys.get_mut(key) {
                key.rows += 1;
                key.votes.add(value);
            } else if *all < KEYS_MAX {
                *all += 1;
                let mut votes = Votes::default();
                votes.add(value);
                keys.insert(key.to_owned(), Key { rows: 1, votes });
            }
        });
    }

    fn forget(&mut self) {
        (self.events, self.keys, self.rows) = (HashMap::new(), 0, 0);
    }

    /// Takes out the events that were seen often enough, and gives their frequent keys.
    fn frequent(&mut self) -> Vec<(String, PromotedType)> {
        let mut found: BTreeMap<String, (u32, PromotedType)> = BTreeMap::new();
        let keys = &mut self.keys;
        self.events.retain(|_, event| {
            if event.rows < EVENT_ROWS {
                return true;
            }
            *keys -= event.keys.len();
            for (name, key) in event.keys.drain() {
                let share = u64::from(key.rows) * u64::from(u32::MAX) / u64::from(event.rows);
                let share = u32::try_from(share).unwrap_or(u32::MAX);
                if u64::from(key.rows) * u64::from(RARE) > u64::from(event.rows)
                    && let Some(kind) = key.votes.decide()
                {
                    let known = found.entry(name).or_insert((share, kind));
                    *known = if known.0 >= share { *known } else { (share, kind) };
                }
            }
            false
        });
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by(|(_, (one, _)), (_, (other, _))| other.cmp(one));
        found.into_iter().map(|(name, (_, kind))| (name, kind)).collect()
    }
}

/// Sorts frequent keys into those that get a column and those that do not, with the reason.
pub(super) fn sorted(
    promotion: Promotion,
    promoted: &Promoted,
    keys: Vec<(String, PromotedType)>,
) -> (Vec<(String, PromotedType)>, Vec<NotPromoted>) {
    let mut taken: HashMap<String, Vec<String>> = HashMap::new();
    for column in promoted.columns() {
        taken.entry(column.name.clone()).or_default().push(column.key.clone());
    }
    let name = |key: &str| PromotedColumn::new(key, PromotedType::Text, false).map(|column| column.name);
    for (key, _) in &keys {
        let holders = name(key).map(|name| taken.entry(name).or_default());
        holders
            .filter(|holders| !holders.contains(key))
            .into_iter()
            .for_each(|holders| holders.push(key.clone()));
    }
    let (mut free, mut not) = (Vec::new(), Vec::new());
    for (key, kind) in keys {
        if promoted.of_key(&key).is_some() || promoted.unpinned().contains_key(&key) {
            continue;
        }
        let reason = match name(&key) {
            None => "it makes no name for a column".to_owned(),
            Some(name) => match taken[&name].iter().find(|other| **other != key) {
                Some(other) => format!("its column `{name}` would be that of `{other}` too"),
                None if promotion == Promotion::Automatic => {
                    free.push((key, kind));
                    continue;
                }
                None => "it is not pinned, and only pinned properties get a column here".to_owned(),
            },
        };
        not.push(NotPromoted { key, reason });
    }
    (free, not)
}

#[cfg(test)]
mod tests;
