//! A hierarchical navigable small world graph (Malkov and Yashunin, arXiv 1603.09320) over `hnsw_rs`.
//!
//! What we know of `hnsw_rs` 0.3.5 and rely on: single inserts use no threads and a generator with a fixed seed, so
//! the same sequence gives the same graph; there is no deletion; and its own filtered search can panic when the
//! filter empties the result heap, so filtering happens outside.

use std::collections::BTreeSet;
use std::fmt;

use hnsw_rs::prelude::{Distance, Hnsw};

use super::exact::{Exact, RowId};
use crate::vector::{Vector, dot};

/// Links of a point in a layer; the bottom layer has twice as many. 16 to 24 suit sentence embeddings.
const LINKS: usize = 20;
/// Candidates kept while a point is linked.
const EF_CONSTRUCTION: usize = 160;
/// Fewest candidates kept in a search.
const EF_SEARCH: usize = 96;
/// Layers; 16 are enough for any number of points.
const LAYERS: usize = 16;
/// Of dead points in a hundred, from when on a rebuild pays.
const WORN_PERCENT: usize = 25;

/// One minus the cosine of unit vectors, never negative: the library asserts that.
#[derive(Clone, Copy, Debug, Default)]
struct CosineDistance;

impl Distance<f32> for CosineDistance {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// A graph that only grows; rows that are gone stay as tombstones until it is rebuilt.
pub struct Graph {
    graph: Hnsw<'static, f32, CosineDistance>,
    points: usize,
    dead: usize,
    unseen: BTreeSet<RowId>,
}

impl Graph {
    /// A graph that has yet to see these rows.
    pub(super) fn new(rows: impl Iterator<Item = RowId>) -> Self {
        let unseen: BTreeSet<RowId> = rows.collect();
        let graph = Hnsw::new(LINKS, unseen.len().max(1), LAYERS, EF_CONSTRUCTION, CosineDistance);
        Self { graph, points: 0, dead: 0, unseen }
    }

    /// The rows it does not know yet, for the caller to scan.
    pub(super) fn unseen(&self) -> &BTreeSet<RowId> {
        &self.unseen
    }

    /// Notes a row for [`Graph::learn`].
    pub(super) fn announce(&mut self, id: RowId) {
        self.unseen.insert(id);
    }

    /// Links in at most `steps` of the rows it has not seen; says how many of the steps are left.
    pub(super) fn learn(&mut self, rows: &Exact, mut steps: usize) -> usize {
        while steps > 0
            && let Some(id) = self.unseen.pop_first()
        {
            let row = rows.row(id).expect("a row that goes is taken out of the unseen");
            self.graph.insert((row.vector.as_slice(), id.0));
            self.points += 1;
            steps -= 1;
        }
        steps
    }

    /// Notes that a row is gone.
    pub(super) fn bury(&mut self, id: RowId) {
        if !self.unseen.remove(&id) {
            self.dead += 1;
        }
    }

    /// Whether so many points are dead that a rebuild pays.
    pub(super) fn is_worn(&self) -> bool {
        self.dead * 100 > self.points * WORN_PERCENT
    }

    /// How many points it has, dead ones included.
    pub(super) fn len(&self) -> usize {
        self.points
    }

    /// About the `k` nearest live rows it has seen, and dead ones among them.
    pub(super) fn search(&self, query: &Vector, k: usize) -> Vec<RowId> {
        let wanted = k + k * self.dead / self.points.max(1);
        let found = self.graph.search(query.as_slice(), wanted, EF_SEARCH.max(wanted + wanted / 2));
        found.into_iter().map(|n| RowId(n.d_id)).collect()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} points, {} dead)", self.len(), self.dead)
    }
}
