//! What a search looks at: rows, who holds them, and the graph, all in shared pieces.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::chunked::Chunked;
use super::graph::{Best, Graph, Near, Seen, Walk};
use super::rows::{Probe, Rows};
use super::{Hit, Key};
use crate::route::Engine;
use crate::vector::Vector;

/// Fewest rows kept in sight of a walk; measured at 100 000 clustered vectors.
const SIGHT: usize = 40;
/// What a walk compares for each row in sight, against comparing rows one after the other.
const WALKING: usize = 8;
/// When fewer than one in so many pass, only they are compared.
const FEW: usize = 8;
/// A walk that has compared a row in so many is given up, and all are compared.
const GIVE_UP: usize = 2;

/// Who has a vector.
#[derive(Clone, Debug, Default)]
pub(super) enum Holders {
    /// Nobody.
    #[default]
    None,
    /// One, as is usual.
    One(Key),
    /// Several, of a kind.
    Many(Arc<BTreeSet<Key>>),
}

impl Holders {
    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Key> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(key) => (Some(*key), None),
            Self::Many(keys) => (None, Some(keys.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether one of them passes.
    #[inline(always)]
    pub(super) fn any(&self, passes: &dyn Fn(Key) -> bool) -> bool {
        match self {
            Self::None => false,
            Self::One(key) => passes(*key),
            Self::Many(keys) => keys.iter().any(|key| passes(*key)),
        }
    }

    /// One more.
    pub(super) fn add(&mut self, key: Key) {
        match self {
            Self::None => *self = Self::One(key),
            Self::One(other) => *self = Self::Many(Arc::new(BTreeSet::from([*other, key]))),
            Self::Many(keys) => {
                Arc::make_mut(keys).insert(key);
            }
        }
    }

    /// One less.
    pub(super) fn remove(&mut self, key: Key) {
        match self {
            Self::None => {}
            Self::One(other) if *other == key => *self = Self::None,
            Self::One(_) => {}
            Self::Many(keys) => {
                Arc::make_mut(keys).remove(&key);
                if let (1, Some(last)) = (keys.len(), keys.first().copied()) {
                    *self = Self::One(last);
                }
            }
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// The vectors as they were at one moment. Taking one copies a pointer for some hundred vectors; it can be searched on
/// any thread while the original changes, and neither waits for the other.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) rows: Rows,
    pub(super) holders: Chunked<Holders>,
    pub(super) graph: Option<Graph>,
    /// Rows the graph does not know yet: compared one by one beside it.
    pub(super) fresh: Arc<BTreeSet<u32>>,
    pub(super) crossing: usize,
    /// Fewest rows kept in sight of a walk.
    sight: usize,
    /// How many keys there are.
    pub(super) keys: usize,
    /// How many rows somebody holds.
    pub(super) held: usize,
}

impl Snapshot {
    pub(super) fn new(crossing: usize) -> Self {
        Self {
            rows: Rows::new(0),
            holders: Chunked::new(1),
            graph: None,
            fresh: Arc::default(),
            crossing,
            sight: SIGHT,
            keys: 0,
            held: 0,
        }
    }

    /// Keeps at least so many vectors in sight of a search: the more, the surer and the slower.
    pub fn look(&mut self, sight: usize) {
        self.sight = sight;
    }

    /// Which way a search over so many vectors that pass its filter would go: comparing those, or walking past others too.
    #[must_use]
    pub fn engine(&self, passing: usize) -> Engine {
        let passing = passing.min(self.keys);
        // A walk meets one that passes among so many others: the fewer pass, the longer it is, and the shorter a scan.
        let is_walk_short =
            passing * 2 >= self.keys || passing.saturating_mul(passing) > WALKING * SIGHT * self.keys;
        if passing > self.crossing
            && is_walk_short
            && self.graph.is_some()
            && self.fresh.len() <= self.held / 2
        {
            Engine::Hnsw
        } else {
            Engine::Exact
        }
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
        let probe = Probe::new(query);
        let engine = self.engine(passing);
        if let (Engine::Hnsw, Some(graph)) = (engine, &self.graph)
            && let Some(hits) = self.walk(graph, &probe, k, passing.min(self.keys), filter)
        {
            return (hits, Engine::Hnsw);
        }
        (self.scan(&probe, k, passing, filter), Engine::Exact)
    }

    /// The `k` nearest of those that pass, nearest first, by comparing every one of them.
    #[must_use]
    pub fn exactly(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        self.scan(&Probe::new(query), k, self.keys, filter)
    }

    /// The cosine of every slot's vector; −1 where there is none.
    pub(super) fn cosines(&self, probe: &Probe) -> Vec<f32> {
        self.rows.cosines(probe)
    }

    /// How many keys pass a filter.
    pub(super) fn count(&self, filter: &dyn Fn(Key) -> bool) -> usize {
        self.held().map(|slot| self.holders_of(slot).iter().filter(|key| filter(*key)).count()).sum()
    }

    pub(super) fn holders_of(&self, slot: u32) -> &Holders {
        &self.holders.get(slot)[0]
    }

    /// The slots somebody holds.
    fn held(&self) -> impl Iterator<Item = u32> {
        let slots = u32::try_from(self.rows.slots()).expect("slots are numbered in 32 bits");
        (0..slots).filter(|slot| !self.holders_of(*slot).is_empty())
    }

    fn hits(&self, slot: u32, cosine: f64) -> impl Iterator<Item = Hit> {
        self.holders_of(slot).iter().map(move |key| Hit { key, cosine })
    }

    fn walk(
        &self,
        graph: &Graph,
        probe: &Probe,
        k: usize,
        passing: usize,
        filter: &dyn Fn(Key) -> bool,
    ) -> Option<Vec<Hit>> {
        if probe.bytes.len() != self.rows.dimension() {
            return None;
        }
        let mut seen = Seen::new(self.rows.slots());
        for slot in &*self.fresh {
            seen.add(*slot);
        }
        let passes = |slot: u32| self.holders_of(slot).any(filter);
        let sight = self.sight.max(k);
        let k = k.min(passing);
        let budget = if passing * 2 < self.keys { self.held / GIVE_UP } else { usize::MAX };
        let walk = Walk { sight, budget, wanted: &passes };
        let found = graph.walk(&self.rows, &probe.bytes, &walk, &mut seen)?;
        let slots: Vec<u32> = self.fresh.iter().copied().collect();
        let similarities = self.rows.similarities_of(probe, &slots);
        let similarities = slots.iter().copied().zip(similarities.iter().copied());
        let mut slots = nearest_slots(similarities, k, probe.margin(), &passes);
        slots.extend(found.into_iter().map(|near| near.slot));
        let hits = slots.into_iter().flat_map(|slot| self.hits(slot, self.rows.cosine(slot, probe)));
        let hits = first(hits.filter(|hit| filter(hit.key)).collect(), k);
        // What passes may sit where the walk does not go; then every one is compared.
        (hits.len() >= k).then_some(hits)
    }

    /// Compares those that pass: when few do, exactly; else all by their bytes, then exactly those that may be among the
    /// `k` nearest.
    fn scan(&self, probe: &Probe, k: usize, passing: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        let k = k.min(self.keys);
        if k == 0 {
            return Vec::new();
        }
        if passing.saturating_mul(FEW) < self.keys {
            let passing = self.held().filter(|slot| self.holders_of(*slot).any(filter));
            let hits = passing.flat_map(|slot| self.hits(slot, self.rows.cosine(slot, probe)));
            return first(hits.filter(|hit| filter(hit.key)).collect(), k);
        }
        let similarities = self.rows.similarities(probe);
        let similarities = (0..).zip(similarities.iter().copied());
        let passes = |slot: u32| self.holders_of(slot).any(filter);
        let slots = nearest_slots(similarities, k, probe.margin(), &passes).into_iter();
        let hits = slots.flat_map(|slot| self.hits(slot, self.rows.cosine(slot, probe)));
        first(hits.filter(|hit| filter(hit.key)).collect(), k)
    }
}

/// Of slots and their cosines by bytes, those that pass and may be among the `k` nearest when such a cosine may be off by
/// the margin.
fn nearest_slots(
    similarities: impl Iterator<Item = (u32, f32)> + Clone,
    k: usize,
    margin: f32,
    passes: &dyn Fn(u32) -> bool,
) -> Vec<u32> {
    let mut best = Best::new(k);
    for (slot, similarity) in similarities.clone() {
        let near = Near { similarity, slot };
        if best.takes(near) && passes(slot) {
            best.put(near);
        }
    }
    // Both the `k`th of these and whoever takes its place may be off, in opposite directions.
    let bar = best.worst().map_or(f32::MIN, |worst| worst.similarity - 2.0 * margin);
    let candidates = similarities.filter(|(slot, similarity)| *similarity >= bar && passes(*slot));
    candidates.map(|(slot, _)| slot).collect()
}

/// The `k` best of these, in order.
fn first(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
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
