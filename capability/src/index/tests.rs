use std::collections::BTreeSet;

use super::*;

/// A small generator, so that tests need no crate for it (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal, from the sum of four uniforms.
    fn normal(&mut self) -> f32 {
        (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5).sum::<f32>() * 1.7
    }

    fn raw(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.normal()).collect()
    }

    fn near(&mut self, centre: &[f32], spread: f32) -> Vector {
        Vector::new(centre.iter().map(|c| c + spread * self.normal()).collect()).unwrap()
    }
}

const DIMENSION: usize = 32;

fn centres(numbers: &mut Numbers) -> Vec<Vec<f32>> {
    (0..60).map(|_| numbers.raw(DIMENSION)).collect()
}

fn key(agent: usize) -> Key {
    Key { agent: u32::try_from(agent).unwrap(), part: 0 }
}

fn clustered(count: usize, numbers: &mut Numbers, centres: &[Vec<f32>], index: &mut Vectors) {
    for i in 0..count {
        let vector = numbers.near(&centres[i % centres.len()], 0.7);
        index.insert(key(i), vector);
    }
    while index.maintain(500) > 0 {}
}

fn recall(index: &Vectors, queries: &[Vector], filter: &dyn Fn(Key) -> bool) -> (f64, usize) {
    let (mut found, mut wanted, mut walked) = (0, 0, 0);
    for query in queries {
        let truth: BTreeSet<Key> = index.exact.search(query, 10, filter).iter().map(|h| h.key).collect();
        let (hits, engine) = index.nearest(query, 10, index.exact.count(filter), filter);
        assert!(hits.iter().all(|h| filter(h.key)), "a hit that does not pass the filter");
        found += hits.iter().filter(|h| truth.contains(&h.key)).count();
        wanted += truth.len();
        walked += usize::from(engine == Engine::Hnsw);
    }
    (f64::from(found as u32) / f64::from(wanted as u32), walked)
}

#[test]
fn the_graph_finds_nearly_what_the_scan_finds() {
    let mut numbers = Numbers(1);
    let centres = centres(&mut numbers);
    let mut index = Vectors::default();
    clustered(5_000, &mut numbers, &centres, &mut index);
    let queries: Vec<Vector> = (0..100).map(|i| numbers.near(&centres[i % centres.len()], 0.7)).collect();
    let (all, walked) = recall(&index, &queries, &|_| true);
    assert!(all >= 0.95, "recall@10 was {all}");
    assert_eq!(walked, queries.len(), "every search should have walked the graph");

    // Nine in ten pass: still a walk. One in a hundred passes: every one of them is compared, nothing is missed.
    let (most, walked) = recall(&index, &queries, &|k| k.agent % 10 != 0);
    assert!(most >= 0.95 && walked >= 80, "recall@10 was {most}, {walked} walks");
    assert_eq!(recall(&index, &queries, &|k| k.agent % 100 == 0), (1.0, 0));

    // Only one far cluster does not pass: walks that start there starve, and fall back.
    let few = |k: Key| !(k.agent as usize).is_multiple_of(centres.len());
    let inside: Vec<Vector> = (0..10).map(|_| numbers.near(&centres[0], 0.1)).collect();
    let (starved, _) = recall(&index, &inside, &few);
    assert!(starved >= 0.95, "recall@10 was {starved}");

    // Every vector can be found by itself.
    let lost = index.exact.ids().step_by(7).filter(|id| {
        let vector = &index.exact.row(*id).unwrap().vector;
        index.nearest(vector, 1, 5_000, &|_| true).0[0].cosine < 0.999
    });
    assert!(lost.count() <= 2, "vectors that cannot find themselves");
}

#[test]
fn removed_vectors_are_never_found_and_a_worn_graph_is_rebuilt() {
    let mut numbers = Numbers(2);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(300);
    clustered(1_000, &mut numbers, &centres, &mut index);
    assert_eq!(index.engine(1_000), Engine::Hnsw);
    for i in (0..1_000).step_by(3) {
        assert!(index.remove(key(i)));
        assert!(!index.remove(key(i)));
    }
    for i in (0..1_000).step_by(4) {
        index.insert(key(i), numbers.near(&centres[i % centres.len()], 0.7));
    }
    let live = index.len();
    while index.maintain(100) > 0 {}
    let graph = index.graph.as_ref().unwrap();
    assert!(!graph.is_worn() && graph.len() < 1_300, "{graph:?} was not rebuilt");
    let queries: Vec<Vector> = (0..50).map(|i| numbers.near(&centres[i % centres.len()], 0.7)).collect();
    let (all, walked) = recall(&index, &queries, &|_| true);
    assert!(all >= 0.95 && walked >= 45, "recall@10 was {all} over {live}, {walked} walks");

    // What the graph has not seen yet is found all the same.
    let fresh = numbers.near(&centres[0], 0.7);
    index.insert(key(2_000), fresh.clone());
    let (hits, engine) = index.nearest(&fresh, 1, live + 1, &|_| true);
    assert_eq!((hits[0].key, engine), (key(2_000), Engine::Hnsw));

    for i in 0..2_001 {
        index.remove(key(i));
    }
    assert!(index.is_empty() && index.graph.is_none() && index.search(&queries[0], 5, &|_| true).is_empty());
}

#[test]
fn a_scan_orders_by_cosine_then_key() {
    let mut index = Vectors::default();
    let vector = |x: f32, y: f32| Vector::new(vec![x, y]).unwrap();
    for (i, v) in
        [vector(0.0, 1.0), vector(1.0, 0.0), vector(1.0, 0.0), vector(1.0, 1.0)].into_iter().enumerate()
    {
        index.insert(key(i), v);
    }
    let hits = index.search(&vector(1.0, 0.0), 3, &|_| true);
    assert_eq!(hits.iter().map(|h| h.key.agent).collect::<Vec<_>>(), [1, 2, 3]);
    index.insert(key(1), vector(-1.0, 0.0));
    let hits = index.search(&vector(1.0, 0.0), 9, &|k| k.agent != 3);
    assert_eq!(hits.iter().map(|h| h.key.agent).collect::<Vec<_>>(), [2, 0, 1]);
}
