//! A federation too large for one directory: which part of the space of meanings an agent belongs to, which nodes keep
//! that part, and which parts a task asks.
//!
//! A [`ShardMap`] is made of centroids. An agent belongs to the shard nearest to each of its vectors; rendezvous hashing
//! (Thaler and Ravishankar, 1998) picks the nodes that hold a shard, so a node that leaves moves only its own shards; and
//! a task asks the shards whose centroids are near. Comparisons are in integers: with one map, all machines agree.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use foa_wire::NodeId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::vector::{Quantised, Vector};

mod answers;

pub use self::answers::{merge, merged};

/// Most shards of a map, so that it fits one message.
pub const MAX_SHARDS: usize = 256;
/// Most nodes that hold one shard.
const MAX_REPLICAS: usize = 16;
/// Rounds of k-means; by then hardly any vector changes its shard.
const ROUNDS: usize = 8;

/// How far a task looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Fewest shards it asks.
    pub fewest: usize,
    /// Most shards it asks.
    pub most: usize,
    /// Beyond the fewest, only shards whose centroid is at most this much less near than the nearest one, as a cosine.
    pub margin: f64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { fewest: 6, most: 16, margin: 0.2 }
    }
}

/// The parts of the space of meanings; the one with the higher version counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardMap {
    version: u64,
    /// Nodes that hold each shard.
    replicas: usize,
    centroids: Vec<Quantised>,
}

impl ShardMap {
    /// A map of at most `shards` shards, each held by `replicas` nodes, for agents that lie like this sample; `None` when
    /// the sample is empty or no shard is wanted. The same sample in the same order gives the same map.
    #[must_use]
    pub fn learn(version: u64, sample: &[Vector], shards: usize, replicas: usize) -> Option<Self> {
        let shards = shards.min(sample.len()).min(MAX_SHARDS);
        if shards == 0 {
            return None;
        }
        let mut centroids = spread(sample, shards);
        for _ in 0..ROUNDS {
            let mut sums: Vec<Vec<f32>> = centroids.iter().map(|c| vec![0.0; c.dimension()]).collect();
            for vector in sample {
                let sum = &mut sums[nearest(&centroids, vector)];
                sum.iter_mut().zip(vector.as_slice()).for_each(|(sum, x)| *sum += x);
            }
            // Where nobody is near, the centroid stays.
            for (centroid, sum) in centroids.iter_mut().zip(sums) {
                if let Ok(mean) = Vector::new(sum) {
                    *centroid = mean;
                }
            }
        }
        let centroids = centroids.iter().map(Vector::quantise).collect();
        Some(Self { version, replicas: replicas.clamp(1, MAX_REPLICAS), centroids })
    }

    /// Which of two maps counts: the one with the higher version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether this map counts, not the other. Two of one version were made by nodes that did not hear of each other; all
    /// agree on the one whose centroids come later.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        let bytes = |map: &Self| map.centroids.iter().map(|c| c.values().to_vec()).collect::<Vec<_>>();
        self.version > other.version || (self.version == other.version && bytes(self) > bytes(other))
    }

    /// Whether a map from elsewhere makes sense for vectors of this dimension.
    #[must_use]
    pub fn is_sound(&self, dimension: usize) -> bool {
        (1..=MAX_SHARDS).contains(&self.len())
            && (1..=MAX_REPLICAS).contains(&self.replicas)
            && self.centroids.iter().all(|centroid| centroid.dimension() == dimension)
    }

    /// How many nodes hold each shard, if there are so many.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// How many shards there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.centroids.len()
    }

    /// Whether there are none; never, for a map that was learnt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.centroids.is_empty()
    }

    /// The shards an agent with these vectors belongs to.
    pub fn shards_of<'a>(&self, vectors: impl Iterator<Item = &'a Quantised>) -> BTreeSet<u32> {
        vectors.filter_map(|vector| self.ranked(vector).first().map(|near| near.shard)).collect()
    }

    /// The nodes that hold a shard, the first to be asked first; fewer than the replicas when there are fewer nodes.
    #[must_use]
    pub fn holders<'a>(&self, shard: u32, nodes: impl Iterator<Item = &'a NodeId>) -> Vec<&'a NodeId> {
        let mut ranked: Vec<([u8; 32], &NodeId)> =
            nodes.map(|node| (Sha256::digest(format!("{shard} {node}").as_bytes()).into(), node)).collect();
        ranked.sort_by(|a, b| b.cmp(a));
        ranked.into_iter().take(self.replicas).map(|(_, node)| node).collect()
    }

    /// The shards a task of several parts asks: those near the whole, and the nearest of each part.
    #[must_use]
    pub fn asked_for(&self, task: &Vector, parts: &[Vector], reach: Reach) -> BTreeSet<u32> {
        let nearest = Reach { fewest: 1, most: 1, margin: 0.0 };
        let of_parts = parts.iter().flat_map(|part| self.asked(part, nearest));
        self.asked(task, reach).into_iter().chain(of_parts).collect()
    }

    /// The shards a task asks, nearest first.
    #[must_use]
    pub fn asked(&self, task: &Vector, reach: Reach) -> Vec<u32> {
        let ranked = self.ranked(&task.quantise());
        let Some(nearest) = ranked.first().map(Near::cosine) else { return Vec::new() };
        let within = |(place, near): &(usize, &Near)| {
            *place < reach.fewest || (*place < reach.most && near.cosine() >= nearest - reach.margin)
        };
        ranked.iter().enumerate().take_while(within).map(|(_, near)| near.shard).collect()
    }

    /// All shards, nearest to this vector first, ties by number.
    fn ranked(&self, vector: &Quantised) -> Vec<Near> {
        let mut ranked: Vec<Near> =
            (0..).zip(&self.centroids).map(|(shard, centroid)| Near::new(shard, centroid, vector)).collect();
        ranked.sort_by(|a, b| b.cmp(a));
        ranked
    }
}

/// How near a shard is to a vector, in integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Near {
    shard: u32,
    dot: i64,
    /// Squared lengths of the centroid and of the vector.
    lengths: (i64, i64),
}

impl Near {
    fn new(shard: u32, centroid: &Quantised, vector: &Quantised) -> Self {
        let product = |a: &Quantised, b: &Quantised| -> i64 {
            a.values().iter().zip(b.values()).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum()
        };
        let lengths = (product(centroid, centroid).max(1), product(vector, vector).max(1));
        Self { shard, dot: product(centroid, vector), lengths }
    }

    fn cosine(&self) -> f64 {
        self.dot as f64 / ((self.lengths.0 as f64) * (self.lengths.1 as f64)).sqrt()
    }
}

impl Ord for Near {
    /// The nearer is the greater; of equals the lower shard. At most 8192 × 127² each: three of them fit 128 bits.
    fn cmp(&self, other: &Self) -> Ordering {
        let signed =
            |near: &Self, length: i64| i128::from(near.dot) * i128::from(near.dot).abs() * i128::from(length);
        signed(self, other.lengths.0)
            .cmp(&signed(other, self.lengths.0))
            .then_with(|| other.shard.cmp(&self.shard))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Vectors of a sample that are far from one another: each next is the one farthest from all before.
fn spread(sample: &[Vector], count: usize) -> Vec<Vector> {
    let mut chosen = vec![sample[0].clone()];
    let mut nearest: Vec<f64> = sample.iter().map(|vector| vector.cosine(&sample[0])).collect();
    while chosen.len() < count {
        let farthest = (0..sample.len())
            .min_by(|a, b| nearest[*a].total_cmp(&nearest[*b]))
            .expect("the sample is not empty");
        let next = sample[farthest].clone();
        for (near, vector) in nearest.iter_mut().zip(sample) {
            *near = near.max(vector.cosine(&next));
        }
        chosen.push(next);
    }
    chosen
}

fn nearest(centroids: &[Vector], vector: &Vector) -> usize {
    let cosines = centroids.iter().map(|centroid| centroid.cosine(vector));
    let best = cosines.enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
    best.expect("there is a centroid").0
}

#[cfg(test)]
mod tests;
