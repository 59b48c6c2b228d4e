use std::collections::BTreeSet;

use super::*;
use crate::saved::Unreadable;
use crate::testing::Numbers;

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
        index.insert(key(i), &vector.quantise());
    }
    while index.maintain(500) > 0 {}
}

/// The `k` nearest by comparing all.
fn exactly(index: &Vectors, query: &Vector, k: usize, filter: &dyn Fn(Key) -> bool) -> Vec<Hit> {
    index.snapshot().exactly(query, k, filter)
}

/// Recall@10 and how many of the searches walked.
fn recall(index: &Vectors, queries: &[Vector], filter: &dyn Fn(Key) -> bool) -> (f64, usize) {
    let (mut found, mut wanted, mut walked) = (0, 0, 0);
    for query in queries {
        let truth: BTreeSet<Key> = exactly(index, query, 10, filter).iter().map(|h| h.key).collect();
        let (hits, engine) = index.nearest(query, 10, index.now.count(filter), filter);
        assert!(hits.iter().all(|h| filter(h.key)), "a hit that does not pass the filter");
        assert_eq!(hits.len(), truth.len(), "fewer hits than there are");
        found += hits.iter().filter(|h| truth.contains(&h.key)).count();
        wanted += truth.len();
        walked += usize::from(engine == Engine::Hnsw);
    }
    (f64::from(found as u32) / f64::from(wanted as u32), walked)
}

fn queries(count: usize, numbers: &mut Numbers, centres: &[Vec<f32>]) -> Vec<Vector> {
    (0..count).map(|i| numbers.near(&centres[i % centres.len()], 0.7)).collect()
}

#[test]
fn a_scan_finds_what_comparing_one_by_one_finds() {
    let mut numbers = Numbers(7);
    let centres = centres(&mut numbers);
    let vectors = queries(300, &mut numbers, &centres);
    let mut index = Vectors::default();
    for (i, vector) in vectors.iter().enumerate() {
        index.insert(key(i), &vector.quantise());
    }
    for query in queries(20, &mut numbers, &centres) {
        let received = |v: &Vector| Vector::try_from(&v.quantise()).unwrap();
        let mut wanted: Vec<(f64, u32)> =
            (0..).zip(&vectors).map(|(i, v)| (received(v).cosine(&query), i)).collect();
        wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hits = index.search(&query, 300, &|_| true);
        assert_eq!(hits.len(), 300);
        for (hit, (cosine, _)) in hits.iter().zip(&wanted) {
            assert!((hit.cosine - cosine).abs() < 1e-5, "{hit:?}, wanted {cosine}");
        }
        assert_eq!(hits[0].key, key(wanted[0].1 as usize));
    }
}

#[test]
fn a_scan_by_bytes_misses_nobody_who_is_nearer_exactly() {
    let mut numbers = Numbers(9);
    let centre = numbers.raw(DIMENSION);
    let mut index = Vectors::default();
    // So close together that their bytes hardly differ.
    let vectors: Vec<Vector> = (0..2_000).map(|_| numbers.near(&centre, 0.02)).collect();
    for (i, vector) in vectors.iter().enumerate() {
        index.insert(key(i), &vector.quantise());
    }
    for one_in in [1, 3, 50] {
        let passes = |k: Key| k.agent.is_multiple_of(one_in);
        for _ in 0..20 {
            let query = numbers.near(&centre, 0.02);
            let mut wanted: Vec<Hit> = (0..2_000)
                .map(key)
                .filter(|k| passes(*k))
                .map(|k| Hit { key: k, cosine: index.cosine(index.slot(k).unwrap(), &Probe::new(&query)) })
                .collect();
            wanted.sort_by(Hit::order);
            wanted.truncate(7);
            assert_eq!(index.search(&query, 7, &passes), wanted);
        }
    }
}

#[test]
fn the_graph_finds_nearly_what_the_scan_finds() {
    let mut numbers = Numbers(1);
    let centres = centres(&mut numbers);
    let mut index = Vectors::default();
    clustered(5_000, &mut numbers, &centres, &mut index);
    let queries = queries(100, &mut numbers, &centres);
    let (all, walked) = recall(&index, &queries, &|_| true);
    assert!(all >= 0.98, "recall@10 was {all}");
    assert_eq!(walked, queries.len(), "every search should have walked the graph");

    // Nine in ten pass: still a walk. One in a hundred passes: every one of them is compared, nothing is missed.
    let (most, walked) = recall(&index, &queries, &|k| k.agent % 10 != 0);
    assert!(most >= 0.98 && walked >= 80, "recall@10 was {most}, {walked} walks");
    assert_eq!(recall(&index, &queries, &|k| k.agent % 100 == 0), (1.0, 0));

    // Only one far cluster does not pass: walks that start there find their way out of it.
    let few = |k: Key| !(k.agent as usize).is_multiple_of(centres.len());
    let inside: Vec<Vector> = (0..10).map(|_| numbers.near(&centres[0], 0.1)).collect();
    let (starved, _) = recall(&index, &inside, &few);
    assert!(starved >= 0.98, "recall@10 was {starved}");
}

#[test]
fn filters_neither_starve_nor_lie() {
    let mut numbers = Numbers(3);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(200);
    clustered(8_000, &mut numbers, &centres, &mut index);
    let queries = queries(60, &mut numbers, &centres);
    for one_in in [2, 4, 10, 100, 1_000] {
        // Those that pass lie all over the space,
        let (spread, _) = recall(&index, &queries, &|k| splitmix(k.agent).is_multiple_of(one_in));
        assert!(spread >= 0.98, "one in {one_in} anywhere: recall@10 was {spread}");
        // or where the question is not, so that the walk meets nobody for a long time.
        let far = |k: Key| k.agent as usize % 60 >= 60 - (60 / one_in as usize).max(1);
        let near_others: Vec<Vector> = queries[..20].to_vec();
        let (far, _) = recall(&index, &near_others, &far);
        assert!(far >= 0.98, "one in {one_in} far away: recall@10 was {far}");
    }
}

fn splitmix(number: u32) -> u64 {
    Numbers(u64::from(number)).next()
}

#[test]
fn the_library_and_we_agree() {
    let mut numbers = Numbers(5);
    let centres = centres(&mut numbers);
    let vectors = queries(2_000, &mut numbers, &centres);
    let (mut ours, mut theirs) = (Vectors::with_crossing(100), HnswRs::new(2_000, 96));
    for (i, vector) in vectors.iter().enumerate() {
        ours.insert(key(i), &vector.quantise());
        theirs.insert(key(i), &vector.quantise());
    }
    assert!(theirs.remove(key(0)) && !theirs.remove(key(0)) && ours.remove(key(0)));
    while ours.maintain(500) > 0 {}
    let mut same = 0;
    for query in queries(50, &mut numbers, &centres) {
        let hits = ours.search(&query, 10, &|_| true);
        let beside: BTreeSet<Key> = theirs.search(&query, 10, &|_| true).iter().map(|h| h.key).collect();
        same += hits.iter().filter(|h| beside.contains(&h.key)).count();
    }
    assert!(same >= 485, "of 500, {same} were the same");
    assert_eq!((ours.len(), theirs.len()), (1_999, 1_999));
}

#[test]
fn removed_vectors_are_never_found_and_leave_no_tombstone() {
    let mut numbers = Numbers(2);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(300);
    clustered(1_000, &mut numbers, &centres, &mut index);
    assert_eq!(index.engine(1_000), Engine::Hnsw);
    for i in (0..1_000).step_by(3) {
        assert!(index.remove(key(i)));
        assert!(!index.remove(key(i)));
    }
    let everything = index.search(&queries(1, &mut numbers, &centres)[0], 1_000, &|_| true);
    assert_eq!(everything.len(), index.len(), "each that is left, once, while tombstones are in the graph");
    assert!(!index.dead.is_empty());
    for i in (0..1_000).step_by(4) {
        index.insert(key(i), &numbers.near(&centres[i % centres.len()], 0.7).quantise());
    }
    let live = index.len();
    while index.maintain(100) > 0 {}
    assert!(index.dead.is_empty() && index.now.fresh.is_empty());
    assert_eq!(index.free.len() + live, index.now.rows.slots(), "every slot is in use or free");
    let slots = index.now.rows.slots();
    for i in 0..50 {
        index.insert(key(5_000 + i), &numbers.near(&centres[i % 60], 0.7).quantise());
    }
    assert_eq!(index.now.rows.slots(), slots, "slots are used again");
    for i in 0..50 {
        index.remove(key(5_000 + i));
    }
    while index.maintain(100) > 0 {}
    let asked = queries(50, &mut numbers, &centres);
    let (all, walked) = recall(&index, &asked, &|_| true);
    assert!(all >= 0.98 && walked >= 45, "recall@10 was {all} over {live}, {walked} walks");

    // What the graph has not seen yet is found all the same.
    let fresh = numbers.near(&centres[0], 0.7);
    index.insert(key(2_000), &fresh.quantise());
    let (hits, engine) = index.nearest(&fresh, 1, live + 1, &|_| true);
    assert_eq!((hits[0].key, engine), (key(2_000), Engine::Hnsw));

    for i in 0..2_001 {
        index.remove(key(i));
    }
    assert!(index.is_empty() && index.now.graph.is_none());
    assert!(index.search(&asked[0], 5, &|_| true).is_empty());
    assert_eq!(index.free.len(), index.now.rows.slots());
}

#[test]
fn a_federation_replaced_bit_by_bit_is_found_as_well_as_before() {
    let mut numbers = Numbers(4);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(200);
    clustered(2_000, &mut numbers, &centres, &mut index);
    // Everybody three times over, in no order, and new meanings drift away from the old.
    for i in 0..6_000 {
        let who = (numbers.next() % 2_000) as usize;
        index.insert(key(who), &numbers.near(&centres[i % 30], 0.7).quantise());
        index.maintain(2);
    }
    while index.maintain(100) > 0 {}
    let asked = queries(60, &mut numbers, &centres);
    let (all, walked) = recall(&index, &asked, &|_| true);
    assert!(all >= 0.98 && walked >= 20, "recall@10 was {all}, {walked} walks");
    assert!(index.now.rows.slots() < 2_500, "{} slots for 2 000 rows", index.now.rows.slots());
}

#[test]
fn a_row_that_cannot_be_reached_is_found_and_linked_anew() {
    let mut numbers = Numbers(6);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(200);
    clustered(1_000, &mut numbers, &centres, &mut index);
    let before = index.lost();
    let hidden = index.slot(key(777)).unwrap();
    index.now.graph.as_mut().unwrap().hide(hidden);
    index.unchecked = index.now.rows.slots();
    while index.maintain(100) > 0 {}
    assert_eq!(index.lost(), before + 1);
    let row = index.now.rows.row(hidden).0.to_vec();
    let itself = Vector::new(row.iter().map(|x| f32::from(*x)).collect()).unwrap();
    assert_eq!(index.nearest(&itself, 1, 1_000, &|_| true).0[0].key, key(777));
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut numbers = Numbers(8);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(200);
    clustered(1_000, &mut numbers, &centres, &mut index);
    let asked = queries(20, &mut numbers, &centres);
    let answers = |view: &Snapshot| -> Vec<Vec<Hit>> {
        asked.iter().map(|query| view.nearest(query, 10, usize::MAX, &|_| true).0).collect()
    };
    let snapshot = index.snapshot();
    let before = answers(&snapshot);
    for i in 0..600 {
        index.remove(key(i));
        index.insert(key(3_000 + i), &numbers.near(&centres[i % 60], 0.7).quantise());
        index.maintain(3);
    }
    assert_eq!(answers(&snapshot), before);
    assert_ne!(answers(&index.snapshot()), before);
}

#[test]
fn vectors_of_another_dimension_are_left_out() {
    let mut index = Vectors::default();
    let vector = |raw: &[f32]| Vector::new(raw.to_vec()).unwrap();
    index.insert(key(1), &vector(&[1.0, 0.0]).quantise());
    index.insert(key(2), &vector(&[1.0, 0.0, 0.0]).quantise());
    assert_eq!((index.len(), index.slot(key(2))), (1, None));
    let hits = index.search(&vector(&[0.0, 0.0, 1.0]), 5, &|_| true);
    assert_eq!(hits, [Hit { key: key(1), cosine: 0.0 }]);
}

#[test]
fn a_scan_orders_by_cosine_then_key() {
    let mut index = Vectors::default();
    let vector = |x: f32, y: f32| Vector::new(vec![x, y]).unwrap();
    for (i, v) in
        [vector(0.0, 1.0), vector(1.0, 0.0), vector(1.0, 0.0), vector(1.0, 1.0)].into_iter().enumerate()
    {
        index.insert(key(i), &v.quantise());
    }
    assert_eq!((index.len(), index.distinct()), (4, 3), "equal vectors are kept once");
    let hits = index.search(&vector(1.0, 0.0), 3, &|_| true);
    assert_eq!(hits.iter().map(|h| h.key.agent).collect::<Vec<_>>(), [1, 2, 3]);
    index.insert(key(1), &vector(-1.0, 0.0).quantise());
    let hits = index.search(&vector(1.0, 0.0), 9, &|k| k.agent != 3);
    assert_eq!(hits.iter().map(|h| h.key.agent).collect::<Vec<_>>(), [2, 0, 1]);
}

#[test]
fn what_was_saved_answers_as_before() {
    let mut numbers = Numbers(10);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(200);
    clustered(1_500, &mut numbers, &centres, &mut index);
    // Tombstones, empty slots, a shared vector, and some the graph has not seen.
    for i in (0..300).step_by(2) {
        index.remove(key(i));
    }
    index.maintain(100);
    let twin = numbers.near(&centres[3], 0.7).quantise();
    for i in 0..40 {
        index.insert(key(2_000 + i), &numbers.near(&centres[i % 60], 0.7).quantise());
    }
    index.insert(key(3_000), &twin);
    index.insert(key(3_001), &twin);
    assert!(!index.dead.is_empty() && !index.now.fresh.is_empty() && !index.free.is_empty());

    let saved = index.snapshot().save();
    let mut loaded = Vectors::load(&saved).unwrap();
    assert_eq!(loaded.snapshot().save(), saved);
    assert_eq!((loaded.len(), loaded.distinct()), (index.len(), index.distinct()));
    let asked = queries(60, &mut numbers, &centres);
    for query in &asked {
        assert_eq!(exactly(&loaded, query, 10, &|_| true), exactly(&index, query, 10, &|_| true));
    }
    let (all, walked) = recall(&loaded, &asked, &|_| true);
    assert!(all >= 0.98 && walked >= 50, "recall@10 was {all}, {walked} walks");

    // It goes on from there.
    while loaded.maintain(100) > 0 {}
    assert!(loaded.now.fresh.is_empty());
    assert!(loaded.remove(key(1)) && loaded.insert_and_find(key(9), &asked[0]));
    assert_eq!(Vectors::load(&Vectors::default().snapshot().save()).unwrap().len(), 0);
}

#[test]
fn bytes_that_are_no_index_are_refused() {
    let mut numbers = Numbers(12);
    let centres = centres(&mut numbers);
    let mut index = Vectors::with_crossing(20);
    clustered(60, &mut numbers, &centres, &mut index);
    let saved = index.snapshot().save();
    assert_eq!(Vectors::load(b"something else").unwrap_err(), Unreadable::Mark);
    for end in [14, 40, saved.len() / 2, saved.len() - 1] {
        assert_eq!(Vectors::load(&saved[..end]).unwrap_err(), Unreadable::Checksum);
    }
    let mut changed = saved.clone();
    changed[saved.len() / 2] ^= 1;
    assert_eq!(Vectors::load(&changed).unwrap_err(), Unreadable::Checksum);
}

impl Vectors {
    fn insert_and_find(&mut self, key: Key, vector: &Vector) -> bool {
        self.insert(key, &vector.quantise());
        self.nearest(vector, 1, usize::MAX, &|_| true).0.first().is_some_and(|hit| hit.key == key)
    }
}
