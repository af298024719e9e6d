//! The message ids of the group being gathered, which the index does not know yet.

use crate::Micros;
use crate::log::Offset;
use crate::log::dedup::IdHash;
use hashbrown::HashTable;
use std::ops::Range;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct GroupIds {
    table: HashTable<u32>,
    ids: Vec<NewId>,
    text: String,
}

struct NewId {
    hash: IdHash,
    source: Arc<str>,
    id: Range<usize>,
    offset: Offset,
    received_at: Micros,
}

impl GroupIds {
    pub(super) fn contains(&self, hash: IdHash, source: &str, id: &str) -> bool {
        let same = |&at: &u32| {
            let new = &self.ids[at as usize];
            new.hash == hash && *new.source == *source && self.text[new.id.clone()] == *id
        };
        self.table.find(hash.0, same).is_some()
    }

    pub(super) fn insert(
        &mut self,
        hash: IdHash,
        source: &Arc<str>,
        id: &str,
        offset: Offset,
        received_at: Micros,
    ) {
        let start = self.text.len();
        self.text.push_str(id);
        let at = self.ids.len() as u32;
        let id = start..self.text.len();
        self.ids.push(NewId { hash, source: Arc::clone(source), id, offset, received_at });
        let ids = &self.ids;
        self.table.insert_unique(hash.0, at, |&at| ids[at as usize].hash.0);
    }

    /// Hands out all ids in the order of their offsets, and is empty afterwards.
    pub(super) fn drain(&mut self, mut each: impl FnMut(IdHash, &str, &str, Offset, Micros)) {
        for new in &self.ids {
            each(new.hash, &new.source, &self.text[new.id.clone()], new.offset, new.received_at);
        }
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.ids.clear();
        self.text.clear();
    }
}
