//! The library `hnsw_rs` behind the same trait: a second, independent graph, which measurements and tests hold ours
//! against.
//!
//! What we know of `hnsw_rs` 0.3.5 and rely on: single inserts use no threads and a generator with a fixed seed, so
//! the same sequence gives the same graph; there is no deletion; and its own filtered search can panic when the
//! filter empties the result heap, so filtering happens outside.

use std::collections::BTreeMap;
use std::fmt;

use hnsw_rs::prelude::{Distance, Hnsw};

use super::{Hit, Index, Key};
use crate::vector::{Quantised, Vector, dot};

/// Links of a point in a layer; the bottom layer has twice as many.
const LINKS: usize = 16;
/// Candidates kept while a point is linked.
const SIGHT_OF_LINKING: usize = 200;
/// Layers; 16 are enough for any number of points.
const LAYERS: usize = 16;

/// One minus the cosine of unit vectors, never negative: the library asserts that.
#[derive(Clone, Copy, Debug, Default)]
struct CosineDistance;

impl Distance<f32> for CosineDistance {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// An index over `hnsw_rs`: it only grows, what is taken out stays as a tombstone, and a filter that leaves few may leave
/// a search without.
pub struct HnswRs {
    graph: Hnsw<'static, f32, CosineDistance>,
    sight: usize,
    places: BTreeMap<Key, usize>,
    /// By point; none for a tombstone.
    points: Vec<Option<(Key, Vector)>>,
}

impl HnswRs {
    /// Empty, for about `capacity` vectors, keeping `sight` candidates in a search.
    #[must_use]
    pub fn new(capacity: usize, sight: usize) -> Self {
        let graph = Hnsw::new(LINKS, capacity.max(1), LAYERS, SIGHT_OF_LINKING, CosineDistance);
        Self { graph, sight, places: BTreeMap::new(), points: Vec::new() }
    }

    /// With another number of candidates kept in a search.
    pub fn look(&mut self, sight: usize) {
        self.sight = sight;
    }
}

impl Index for HnswRs {
    fn insert(&mut self, key: Key, vector: &Quantised) {
        self.remove(key);
        let Ok(vector) = Vector::try_from(vector) else { return };
        self.graph.insert((vector.as_slice(), self.points.len()));
        self.places.insert(key, self.points.len());
        self.points.push(Some((key, vector)));
    }

    fn remove(&mut self, key: Key) -> bool {
        self.places.remove(&key).is_some_and(|point| self.points[point].take().is_some())
    }

    fn search(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        let wanted = k * self.points.len().div_ceil(self.places.len().max(1));
        let found = self.graph.search(query.as_slice(), wanted, self.sight.max(wanted));
        let live = found.into_iter().filter_map(|near| self.points[near.d_id].as_ref());
        let mut hits: Vec<Hit> = live
            .filter(|(key, _)| filter(*key))
            .map(|(key, vector)| Hit { key: *key, cosine: vector.cosine(query) })
            .collect();
        hits.sort_by(Hit::order);
        hits.truncate(k);
        hits
    }

    fn len(&self) -> usize {
        self.places.len()
    }
}

impl fmt::Debug for HnswRs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HnswRs({} of {} points)", self.places.len(), self.points.len())
    }
}
