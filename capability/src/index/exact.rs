//! Every vector compared: exact, and the fastest way while there are few. Also the truth about which rows are live.

use std::collections::{BTreeMap, BTreeSet};

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
    row: Option<Row>,
}

/// One vector and all who have it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) vector: Vector,
    keys: BTreeSet<Key>,
}

/// All vectors, scanned on every search. Agents of one kind say the same of themselves, so equal vectors are kept, and
/// compared, once.
#[derive(Clone, Debug, Default)]
pub struct Exact {
    slots: Vec<Slot>,
    free: Vec<usize>,
    places: BTreeMap<Key, usize>,
    /// The slots of vectors by a hash of their components.
    contents: BTreeMap<u64, Vec<usize>>,
}

/// What a search has computed of the distance to each row.
#[derive(Debug, Default)]
pub(crate) struct Cosines(Vec<f64>);

impl Cosines {
    /// That of the vector in this slot.
    pub(crate) fn of(&self, slot: usize) -> f64 {
        self.0.get(slot).copied().unwrap_or(-1.0)
    }
}

impl Exact {
    /// Puts a vector in, beside the keys that have the same one; its key must not be in. The row, if it is new.
    pub(super) fn put(&mut self, key: Key, vector: Vector) -> Option<RowId> {
        let same = self.contents.entry(vector.content_hash()).or_default();
        let is_same =
            |at: &usize| self.slots[*at].row.as_ref().is_some_and(|row| row.vector.same_as(&vector));
        if let Some(at) = same.iter().copied().find(is_same) {
            if let Some(row) = &mut self.slots[at].row {
                row.keys.insert(key);
            }
            self.places.insert(key, at);
            return None;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        same.push(at);
        self.slots[at].row = Some(Row { vector, keys: BTreeSet::from([key]) });
        self.places.insert(key, at);
        Some(RowId::new(at, self.slots[at].generation))
    }

    /// Takes a key out and says which row that leaves empty; `Err` when the key is not in.
    pub(super) fn take(&mut self, key: Key) -> Result<Option<RowId>, NotIn> {
        let at = self.places.remove(&key).ok_or(NotIn)?;
        let id = RowId::new(at, self.slots[at].generation);
        let Some(row) = &mut self.slots[at].row else { return Err(NotIn) };
        row.keys.remove(&key);
        if !row.keys.is_empty() {
            return Ok(None);
        }
        let hash = row.vector.content_hash();
        if let Some(same) = self.contents.get_mut(&hash) {
            same.retain(|slot| *slot != at);
            if same.is_empty() {
                self.contents.remove(&hash);
            }
        }
        self.slots[at].row = None;
        self.slots[at].generation = self.slots[at].generation.wrapping_add(1);
        self.free.push(at);
        Ok(Some(id))
    }

    /// The slot of a key's vector.
    pub(super) fn slot(&self, key: Key) -> Option<usize> {
        self.places.get(&key).copied()
    }

    /// How many different vectors there are.
    pub(super) fn distinct(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The cosine of every vector with the query.
    pub(super) fn cosines(&self, query: &Vector) -> Cosines {
        let cosine = |slot: &Slot| slot.row.as_ref().map_or(-1.0, |row| row.vector.cosine(query));
        Cosines(self.slots.iter().map(cosine).collect())
    }

    /// The rows there are, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = RowId> {
        let live = self.slots.iter().enumerate().filter(|(_, slot)| slot.row.is_some());
        live.map(|(at, slot)| RowId::new(at, slot.generation))
    }

    /// A row, unless it is gone.
    pub(super) fn row(&self, id: RowId) -> Option<&Row> {
        let slot = self.slots.get(id.slot())?;
        slot.row.as_ref().filter(|_| RowId::new(id.slot(), slot.generation) == id)
    }

    /// The keys of a row with their cosine; none when it is gone.
    pub(super) fn hits(&self, id: RowId, query: &Vector) -> impl Iterator<Item = Hit> {
        self.row(id).into_iter().flat_map(|row| row.hits(query))
    }

    /// How many keys pass a filter.
    pub(super) fn count(&self, filter: &dyn Fn(Key) -> bool) -> usize {
        self.places.keys().filter(|k| filter(**k)).count()
    }
}

/// There is no vector of this key.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotIn;

impl Row {
    fn hits(&self, query: &Vector) -> impl Iterator<Item = Hit> {
        let cosine = self.vector.cosine(query);
        self.keys.iter().map(move |key| Hit { key: *key, cosine })
    }
}

impl Index for Exact {
    fn insert(&mut self, key: Key, vector: Vector) {
        let _ = self.take(key);
        self.put(key, vector);
    }

    fn remove(&mut self, key: Key) -> bool {
        self.take(key).is_ok()
    }

    fn search(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        let rows = self.slots.iter().filter_map(|s| s.row.as_ref());
        let mut hits: Vec<Hit> = rows.flat_map(|row| row.hits(query)).filter(|hit| filter(hit.key)).collect();
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
