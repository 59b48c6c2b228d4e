//! Nearest vectors among many: every vector compared while they are few, a navigable graph beside it when they are
//! many.
//!
//! [`Vectors`] is what the directory uses. Nothing here has a thread: the graph is built and rebuilt in small steps
//! ([`Vectors::maintain`]), what it has not seen yet is scanned, and a rebuilt one is swapped in whole. Below the crossing results are exact and the same on every run; above it they are the same for the same
//! sequence of calls.

mod exact;
mod hnsw;

pub(crate) use exact::Cosines;
pub use exact::Exact;
pub use hnsw::Graph;

use crate::route::Engine;
use crate::vector::Vector;

/// Up to so many vectors are scanned. Measured at 384 components: a scan takes 35 µs at 1 000 and 1 ms at 10 000, a
/// walk 90 to 200 µs and 300 to 600 µs; they cross between, and below there is no graph to build.
pub const CROSSING: usize = 4_000;

/// So many changes may wait for [`Vectors::maintain`], scanned meanwhile; beyond, every change does a step of its own.
const WAITING: usize = 512;

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

/// A set of vectors that can be asked for the nearest.
pub trait Index {
    /// Puts a vector in, in place of the one that had its key.
    fn insert(&mut self, key: Key, vector: Vector);

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
    exact: Exact,
    crossing: usize,
    /// Searched, with a scan of what it has not seen yet.
    graph: Option<Graph>,
    /// Under construction; takes the other's place when it has seen everything.
    next: Option<Graph>,
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
        Self { exact: Exact::default(), crossing, graph: None, next: None }
    }

    /// Which way a search over so many vectors that pass its filter would go.
    #[must_use]
    pub fn engine(&self, passing: usize) -> Engine {
        match &self.graph {
            Some(graph) if passing > self.crossing && graph.unseen().len() <= self.crossing => Engine::Hnsw,
            Some(_) | None => Engine::Exact,
        }
    }

    /// Shows the graphs what they have not seen, at most `steps` vectors of about a millisecond each; says how many are
    /// left.
    pub fn maintain(&mut self, steps: usize) -> usize {
        if self.exact.distinct() <= self.crossing / 2 {
            // Hysteresis: a federation that breathes around the crossing does not rebuild all day.
            (self.graph, self.next) = (None, None);
            return 0;
        }
        let wanted = match &self.graph {
            None => self.exact.distinct() > self.crossing,
            Some(graph) => graph.is_worn(),
        };
        if self.next.is_none() && wanted {
            self.next = Some(Graph::new(self.exact.ids()));
        }
        let mut steps = steps;
        for graph in [&mut self.graph, &mut self.next].into_iter().flatten() {
            steps = graph.learn(&self.exact, steps);
        }
        if self.next.as_ref().is_some_and(|n| n.unseen().is_empty()) {
            self.graph = self.next.take();
        }
        [&self.graph, &self.next].into_iter().flatten().map(|g| g.unseen().len()).sum()
    }

    /// The cosine of every vector with the query, to be looked up by [`Vectors::slot`].
    pub(crate) fn cosines(&self, query: &Vector) -> Cosines {
        self.exact.cosines(query)
    }

    /// Where the vector of a key is.
    pub(crate) fn slot(&self, key: Key) -> Option<usize> {
        self.exact.slot(key)
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
        if let (Engine::Hnsw, Some(graph)) = (self.engine(passing), &self.graph) {
            let wanted = k.min(passing);
            // Enough that `wanted` of them pass, were passing spread evenly over the space.
            let ask = wanted * self.exact.len().div_ceil(passing.max(1)) * 5 / 4 + 8;
            if ask < self.crossing {
                let seen = graph.search(query, ask);
                let mut hits: Vec<Hit> = seen
                    .into_iter()
                    .chain(graph.unseen().iter().copied())
                    .flat_map(|id| self.exact.hits(id, query))
                    .filter(|h| filter(h.key))
                    .collect();
                hits.sort_by(Hit::order);
                hits.truncate(wanted);
                // What passes may sit where the walk does not go; then every one is compared.
                if hits.len() >= wanted {
                    return (hits, Engine::Hnsw);
                }
            }
        }
        (self.exact.search(query, k, filter), Engine::Exact)
    }
}

impl Index for Vectors {
    fn insert(&mut self, key: Key, vector: Vector) {
        self.bury(key);
        let Some(id) = self.exact.put(key, vector) else { return };
        let mut waiting = 0;
        for graph in [&mut self.graph, &mut self.next].into_iter().flatten() {
            graph.announce(id);
            waiting = waiting.max(graph.unseen().len());
        }
        self.maintain(usize::from(waiting > WAITING));
    }

    fn remove(&mut self, key: Key) -> bool {
        let removed = self.bury(key);
        self.maintain(0);
        removed
    }

    fn search(&self, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
        let passing = self.exact.count(filter);
        self.nearest(query, k, passing, filter).0
    }

    fn len(&self) -> usize {
        self.exact.len()
    }
}

impl Vectors {
    fn bury(&mut self, key: Key) -> bool {
        let Ok(emptied) = self.exact.take(key) else { return false };
        if let Some(id) = emptied {
            for graph in [&mut self.graph, &mut self.next].into_iter().flatten() {
                graph.bury(id);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
