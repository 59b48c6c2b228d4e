//! Nearest vectors among many: every vector compared while they are few, a navigable graph beside them when they are
//! many.
//!
//! [`Vectors`] is what the directory uses, a [`Snapshot`] what a search looks at. Vectors are kept as the bytes they
//! arrived in, equal ones once. A change is cheap: a new vector is compared beside the graph, one that is gone stays as a
//! tombstone that leads the way, and [`Vectors::maintain`] links and unlinks them in small steps. Nothing here has a
//! thread. Below the crossing results are exact; above it they are the same for the same sequence of calls.
//!
//! [`HnswRs`] is the same over the library `hnsw_rs`, to compare with.

mod chunked;
mod graph;
mod hnsw;
mod kernel;
mod rows;
mod save;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use hnsw::HnswRs;
pub(crate) use rows::Probe;
pub use snapshot::Snapshot;

use self::graph::{Graph, Seen, Walk};
use self::rows::Rows;
use crate::route::Engine;
use crate::vector::{Quantised, Vector};

/// Up to so many vectors are scanned: about as fast as a walk, and there is no graph to build.
pub const CROSSING: usize = 4_000;

/// So many changes may wait for [`Vectors::maintain`], or one vector in [`WAITING_SHARE`]; they are scanned meanwhile.
/// Beyond, every change does a step of its own.
const WAITING: usize = 1_024;
const WAITING_SHARE: usize = 10;
/// Rows kept in sight when it is checked whether a row finds itself.
const SIGHT_OF_CHECK: usize = 48;

/// Whose vector: the agent by its number in the directory, and which of its vectors, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The agent's number in the directory.
    pub agent: u32,
    /// Which of the agent's vectors.
    pub part: u32,
}

/// A vector that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Whose it is.
    pub key: Key,
    /// Its cosine with the query.
    pub cosine: f64,
}

impl Hit {
    /// Nearest first, ties by key.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.cosine.total_cmp(&self.cosine).then_with(|| self.key.cmp(&other.key))
    }
}

/// A set of vectors of one dimension that can be asked for the nearest.
pub trait Index {
    /// Puts a vector in, in place of the one that had its key.
    fn insert(&mut self, key: Key, vector: &Quantised);

    /// Takes a vector out; `false` when there is none.
    fn remove(&mut self, key: Key) -> bool;

    /// The `k` nearest whose key passes the filter, nearest first, ties by key.
    fn search(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit>;

    /// How many vectors there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Exact below the crossing, a graph above, with what falls between the two handled: changes the graph has not seen,
/// filters that leave few, walks that find too little.
#[derive(Debug)]
pub struct Vectors {
    now: Snapshot,
    places: BTreeMap<Key, u32>,
    /// Slots of rows somebody holds, by a hash of their bytes.
    contents: BTreeSet<(u64, u32)>,
    /// Slots without a row.
    free: Vec<u32>,
    /// Rows nobody holds that the graph still has.
    dead: BTreeSet<u32>,
    /// The next row to be checked, and how many are to be.
    checked: u32,
    unchecked: usize,
    /// Rows that could not be found where they were, and were linked anew.
    lost: u64,
}

impl Default for Vectors {
    fn default() -> Self {
        Self::with_crossing(CROSSING)
    }
}

impl Vectors {
    /// With another crossing than [`CROSSING`].
    #[must_use]
    pub fn with_crossing(crossing: usize) -> Self {
        Self {
            now: Snapshot::new(crossing),
            places: BTreeMap::new(),
            contents: BTreeSet::new(),
            free: Vec::new(),
            dead: BTreeSet::new(),
            checked: 0,
            unchecked: 0,
            lost: 0,
        }
    }

    /// The vectors as they are now, to be searched elsewhere.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// Which way a search over so many vectors that pass its filter would go.
    #[must_use]
    pub fn engine(&self, passing: usize) -> Engine {
        self.now.engine(passing)
    }

    /// The `k` nearest of those that pass, `passing` many, nearest first; and how they were found.
    #[must_use]
    pub fn nearest(
        &self,
        query: &Vector,
        k: usize,
        passing: usize,
        filter: &dyn Fn(Key) -> bool,
    ) -> (Vec<Hit>, Engine) {
        self.now.nearest(query, k, passing, filter)
    }

    /// How many different vectors there are.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.now.held
    }

    /// How many vectors could not be found by themselves so far, and were linked anew.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The cosine of every vector with the query, by [`Vectors::slot`].
    pub(crate) fn cosines(&self, probe: &Probe) -> Vec<f32> {
        self.now.cosines(probe)
    }

    /// The cosine of the vector in a slot with the query.
    pub(crate) fn cosine(&self, slot: u32, probe: &Probe) -> f64 {
        self.now.rows.cosine(slot, probe)
    }

    /// Takes out what does not pass.
    pub(crate) fn retain(&mut self, passes: impl Fn(Key) -> bool) {
        let gone: Vec<Key> = self.places.keys().copied().filter(|key| !passes(*key)).collect();
        for key in gone {
            self.remove(key);
        }
    }

    /// Where the vector of a key is.
    pub(crate) fn slot(&self, key: Key) -> Option<u32> {
        self.places.get(&key).copied()
    }

    /// Does what can wait, at most `steps` of less than a millisecond each: links new vectors, takes tombstones out, then
    /// checks, in turn, that vectors find themselves. Says how many steps are left to do.
    pub fn maintain(&mut self, steps: usize) -> usize {
        if self.now.held <= self.now.crossing / 2 {
            // Hysteresis: a federation that breathes around the crossing does not rebuild all day.
            self.now.graph = None;
            self.now.fresh = Arc::default();
            for slot in std::mem::take(&mut self.dead) {
                self.release(slot);
            }
            self.unchecked = 0;
            return 0;
        }
        if self.now.graph.is_none() {
            if self.now.held <= self.now.crossing {
                return 0;
            }
            self.now.graph = Some(Graph::new());
            self.now.fresh = Arc::new(self.contents.iter().map(|(_, slot)| *slot).collect());
        }
        for _ in 0..steps {
            if !self.step() {
                break;
            }
        }
        self.waiting() + self.unchecked
    }

    /// Changes the graph has not taken in.
    fn waiting(&self) -> usize {
        self.now.fresh.len() + self.dead.len()
    }

    /// One step of upkeep; `false` when there is nothing to do.
    fn step(&mut self) -> bool {
        let Some(graph) = &mut self.now.graph else { return false };
        let holders = &self.now.holders;
        let lives = |slot: u32| !holders.get(slot)[0].is_empty();
        if self.dead.len() > self.now.fresh.len()
            && let Some(slot) = self.dead.pop_first()
        {
            graph.unlink(&self.now.rows, slot);
            self.release(slot);
        } else if let Some(slot) = Arc::make_mut(&mut self.now.fresh).pop_first() {
            graph.link(&self.now.rows, slot, &lives);
            self.unchecked = self.now.rows.slots().min(self.unchecked + 1);
        } else if let Some(slot) = self.dead.pop_first() {
            graph.unlink(&self.now.rows, slot);
            self.release(slot);
        } else if self.unchecked > 0 {
            self.unchecked -= 1;
            self.check();
        } else {
            return false;
        }
        true
    }

    /// Checks whether the next row finds itself, and links it anew if not.
    fn check(&mut self) {
        let slot = self.checked;
        self.checked = if slot as usize + 1 < self.now.rows.slots() { slot + 1 } else { 0 };
        let Some(graph) = &mut self.now.graph else { return };
        let (rows, holders) = (&self.now.rows, &self.now.holders);
        let lives = |slot: u32| !holders.get(slot)[0].is_empty();
        if !lives(slot) {
            return;
        }
        let walk = Walk { sight: SIGHT_OF_CHECK, budget: usize::MAX, wanted: &lives };
        let found = graph.walk(rows, rows.row(slot).0, &walk, &mut Seen::new(rows.slots()));
        if !found.is_some_and(|found| found.iter().any(|near| near.slot == slot)) {
            self.lost += 1;
            graph.unlink(rows, slot);
            graph.link(rows, slot, &lives);
        }
    }

    /// The slot of this vector, which is new to the index or has other keys already.
    fn place(&mut self, vector: &Quantised) -> u32 {
        let hash = hash(vector);
        let same = self.contents.range((hash, 0)..=(hash, u32::MAX));
        if let Some((_, slot)) = same.into_iter().find(|(_, slot)| self.now.rows.holds(*slot, vector)) {
            return *slot;
        }
        let slot = self
            .free
            .pop()
            .unwrap_or_else(|| u32::try_from(self.now.rows.slots()).expect("slots are numbered in 32 bits"));
        self.now.rows.put(slot, vector.values());
        self.now.holders.grow(self.now.rows.slots());
        self.now.held += 1;
        self.contents.insert((hash, slot));
        if self.now.graph.is_some() {
            Arc::make_mut(&mut self.now.fresh).insert(slot);
        }
        slot
    }

    /// Takes a key out; `false` when it is not in.
    fn bury(&mut self, key: Key) -> bool {
        let Some(slot) = self.places.remove(&key) else { return false };
        self.now.keys -= 1;
        let holders = &mut self.now.holders.get_mut(slot)[0];
        holders.remove(key);
        if !holders.is_empty() {
            return true;
        }
        self.now.held -= 1;
        let (row, _) = self.now.rows.row(slot);
        self.contents.remove(&(hash_of(row), slot));
        if self.now.graph.is_none() || Arc::make_mut(&mut self.now.fresh).remove(&slot) {
            self.release(slot);
        } else {
            self.dead.insert(slot);
        }
        true
    }

    fn release(&mut self, slot: u32) {
        self.now.rows.clear(slot);
        self.free.push(slot);
    }
}

impl Index for Vectors {
    /// A vector of another dimension than the others, or without length, is not taken in.
    fn insert(&mut self, key: Key, vector: &Quantised) {
        self.bury(key);
        if self.now.rows.slots() == 0 {
            self.now.rows = Rows::new(vector.dimension());
        }
        let is_zero = vector.values().iter().all(|x| *x == 0);
        if vector.dimension() != self.now.rows.dimension() || is_zero {
            return;
        }
        let slot = self.place(vector);
        self.now.holders.get_mut(slot)[0].add(key);
        self.now.keys += 1;
        self.places.insert(key, slot);
        self.maintain(usize::from(self.waiting() > WAITING.max(self.now.held / WAITING_SHARE)));
    }

    fn remove(&mut self, key: Key) -> bool {
        let removed = self.bury(key);
        self.maintain(0);
        removed
    }

    fn search(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        let passing = self.now.count(filter);
        self.nearest(query, k, passing, filter).0
    }

    fn len(&self) -> usize {
        self.now.keys
    }
}

fn hash(vector: &Quantised) -> u64 {
    hash_of(vector.values())
}

/// FNV-1a over a row's bytes, eight at a time.
fn hash_of(row: &[i8]) -> u64 {
    let word = |bytes: &[i8]| bytes.iter().fold(0_u64, |word, x| word << 8 | u64::from(x.cast_unsigned()));
    let fold =
        |hash: u64, bytes: &[i8]| (hash ^ word(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    row.chunks(8).fold(0xcbf2_9ce4_8422_2325, fold)
}

#[cfg(test)]
mod tests;
