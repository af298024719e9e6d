//! The newest ids, in memory.

use super::{Entry, Key, Micros, Offset, Seen};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

/// What one slot and its place in the table take.
const SLOT_BYTES: usize = size_of::<Slot>() + 7;

/// When a memtable is full: at `ids` ids or at `key_bytes` bytes of keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    ids: usize,
    key_bytes: usize,
}

impl Size {
    /// At most `ids` ids, and about `bytes` in all.
    pub(super) fn of(ids: usize, bytes: usize) -> Self {
        let ids = ids.min(bytes / 2 / SLOT_BYTES).max(1);
        Self { ids, key_bytes: bytes.saturating_sub(ids * SLOT_BYTES) }
    }

    /// How many full memtables a run of `ids` ids and `bytes` bytes comes to, doubled, as some are
    /// spilled a little early and merging leaves out what has expired.
    pub(super) fn halves(&self, ids: u64, bytes: u64) -> u64 {
        (2 * ids / self.ids as u64).max(2 * bytes / self.key_bytes.max(1) as u64)
    }
}

/// A hash table over an arena of keys. It grows beyond its size when more is inserted.
pub(super) struct Memtable {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    keys: Vec<u8>,
    size: Size,
}

struct Slot {
    hash: u64,
    offset: Offset,
    received_at: Micros,
    /// Where the key begins in the arena; it ends where the next one begins.
    start: usize,
}

impl Memtable {
    pub(super) fn new(size: Size) -> Self {
        Self {
            table: HashTable::with_capacity(size.ids),
            slots: Vec::with_capacity(size.ids),
            keys: Vec::with_capacity(size.key_bytes),
            size,
        }
    }

    /// How many ids it holds.
    pub(super) fn ids(&self) -> usize {
        self.slots.len()
    }

    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.keys.capacity() + self.table.allocation_size()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.size.ids || self.keys.len() >= self.size.key_bytes
    }

    pub(super) fn find(&self, hash: u64, key: Key<'_>) -> Option<Seen> {
        let same = |&slot: &u32| is(&self.slots, &self.keys, slot as usize, hash, key);
        let slot = &self.slots[*self.table.find(hash, same)? as usize];
        Some(Seen { offset: slot.offset, received_at: slot.received_at })
    }

    /// Keeps the later of two places of one id.
    pub(super) fn insert(&mut self, hash: u64, key: Key<'_>, seen: Seen) {
        let Self { table, slots, keys, .. } = self;
        let same = |&slot: &u32| is(slots, keys, slot as usize, hash, key);
        match table.entry(hash, same, |&slot| slots[slot as usize].hash) {
            Place::Occupied(place) => {
                let slot = &mut slots[*place.get() as usize];
                if slot.offset < seen.offset {
                    (slot.offset, slot.received_at) = (seen.offset, seen.received_at);
                }
            }
            Place::Vacant(place) => {
                let next = u32::try_from(slots.len()).expect("four billion ids do not fit in memory");
                place.insert(next);
                let Seen { offset, received_at } = seen;
                slots.push(Slot { hash, offset, received_at, start: keys.len() });
                key.write(keys);
            }
        }
    }

    /// The entries by hash and key, as a run holds them.
    pub(super) fn sorted(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut order: Vec<(u64, u32)> = (0_u32..).zip(&self.slots).map(|(n, slot)| (slot.hash, n)).collect();
        let key = |n: u32| key(&self.slots, &self.keys, n as usize);
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
        order.into_iter().map(move |(hash, n)| {
            let slot = &self.slots[n as usize];
            Entry { hash, received_at: slot.received_at, offset: slot.offset, key: key(n) }
        })
    }
}

fn key<'a>(slots: &[Slot], keys: &'a [u8], slot: usize) -> &'a [u8] {
    let end = slots.get(slot + 1).map_or(keys.len(), |next| next.start);
    &keys[slots[slot].start..end]
}

fn is(slots: &[Slot], keys: &[u8], slot: usize, hash: u64, wanted: Key<'_>) -> bool {
    slots[slot].hash == hash && wanted.is(key(slots, keys, slot))
}
