//! Every vector compared: exact, and the fastest way while there are few. Also the truth about which rows are live.

use std::collections::BTreeMap;

use super::{Hit, Index, Key};
use crate::vector::Vector;

/// Identifies one occupation of one slot: a slot that is used again has another id, so a graph's old ids are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowId(pub(super) usize);

const GENERATION_SHIFT: u32 = 32;
const _: () = assert!(usize::BITS == 64, "a row id is a slot and a generation of 32 bits each");

impl RowId {
    fn new(slot: usize, generation: u32) -> Self {
        Self(slot | (generation as usize) << GENERATION_SHIFT)
    }

    fn slot(self) -> usize {
        self.0 & u32::MAX as usize
    }
}

#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    row: Option<(Key, Vector)>,
}

/// All vectors, scanned on every search.
#[derive(Clone, Debug, Default)]
pub struct Exact {
    slots: Vec<Slot>,
    free: Vec<usize>,
    places: BTreeMap<Key, usize>,
}

impl Exact {
    /// Puts a vector into a free slot; its key must not be in.
    pub(super) fn put(&mut self, key: Key, vector: Vector) -> RowId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[at].row = Some((key, vector));
        self.places.insert(key, at);
        RowId::new(at, self.slots[at].generation)
    }

    /// Empties the slot of a key and says which row that was.
    pub(super) fn take(&mut self, key: Key) -> Option<RowId> {
        let at = self.places.remove(&key)?;
        let id = RowId::new(at, self.slots[at].generation);
        self.slots[at].row = None;
        self.slots[at].generation = self.slots[at].generation.wrapping_add(1);
        self.free.push(at);
        Some(id)
    }

    /// The rows there are, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = RowId> {
        let live = self.slots.iter().enumerate().filter(|(_, slot)| slot.row.is_some());
        live.map(|(at, slot)| RowId::new(at, slot.generation))
    }

    /// A row, unless it is gone.
    pub(super) fn row(&self, id: RowId) -> Option<&(Key, Vector)> {
        let slot = self.slots.get(id.slot())?;
        slot.row.as_ref().filter(|_| RowId::new(id.slot(), slot.generation) == id)
    }

    /// The row of an id with its cosine, unless it is gone.
    pub(super) fn hit(&self, id: RowId, query: &Vector) -> Option<Hit> {
        self.row(id).map(|(key, vector)| Hit { key: *key, cosine: vector.cosine(query) })
    }

    /// How many rows pass a filter.
    pub(super) fn count(&self, filter: &dyn Fn(Key) -> bool) -> usize {
        self.places.keys().filter(|k| filter(**k)).count()
    }
}

impl Index for Exact {
    fn insert(&mut self, key: Key, vector: Vector) {
        self.take(key);
        self.put(key, vector);
    }

    fn remove(&mut self, key: Key) -> bool {
        self.take(key).is_some()
    }

    fn search(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        let rows = self.slots.iter().filter_map(|s| s.row.as_ref()).filter(|(key, _)| filter(*key));
        let mut hits: Vec<Hit> =
            rows.map(|(key, vector)| Hit { key: *key, cosine: vector.cosine(query) }).collect();
        if k == 0 {
            return Vec::new();
        }
        if hits.len() > k {
            hits.select_nth_unstable_by(k - 1, Hit::order);
            hits.truncate(k);
        }
        hits.sort_by(Hit::order);
        hits
    }

    fn len(&self) -> usize {
        self.places.len()
    }
}
