use std::collections::BTreeMap;

use super::*;
use crate::testing::{Numbers, node};

const DIMENSION: usize = 48;

/// Agents in clusters, and tasks like them.
fn federation(agents: usize) -> (Vec<Vector>, Vec<Vector>) {
    let mut numbers = Numbers(11);
    let centres: Vec<Vec<f32>> = (0..agents / 50).map(|_| numbers.raw(DIMENSION)).collect();
    let mut draw = |count: usize| -> Vec<Vector> {
        (0..count).map(|i| numbers.near(&centres[i * 7 % centres.len()], 0.6)).collect()
    };
    (draw(agents), draw(100))
}

fn nodes(count: u8) -> BTreeSet<NodeId> {
    (1..=count).map(|number| node(number).0).collect()
}

#[test]
fn a_few_shards_of_many_hold_nearly_all_that_is_near() {
    let (agents, tasks) = federation(10_000);
    let map = ShardMap::learn(1, &agents[..4_000], 40, 3).unwrap();
    let homes: Vec<BTreeSet<u32>> =
        agents.iter().map(|vector| map.shards_of(std::iter::once(&vector.quantise()))).collect();
    let largest = (0..40).map(|shard| homes.iter().filter(|home| home.contains(&shard)).count()).max();
    assert!(largest.unwrap() < 10_000 / 8, "the largest shard has {largest:?} of 10 000 agents");

    let (mut found, mut asked) = (0, 0);
    for task in &tasks {
        let shards: BTreeSet<u32> = map.asked(task, Reach::default()).into_iter().collect();
        asked += shards.len();
        let mut all: Vec<usize> = (0..agents.len()).collect();
        all.sort_by(|a, b| agents[*b].cosine(task).total_cmp(&agents[*a].cosine(task)));
        found += all[..10].iter().filter(|agent| !homes[**agent].is_disjoint(&shards)).count();
    }
    assert!(found >= 980, "of the 1000 nearest, {found} were in shards that were asked");
    assert!(asked <= tasks.len() * Reach::default().most, "{asked} shards for {} tasks", tasks.len());
}

#[test]
fn the_same_sample_gives_the_same_map_and_it_survives_the_wire() {
    let (agents, tasks) = federation(500);
    let map = ShardMap::learn(7, &agents, 8, 2).unwrap();
    assert_eq!(ShardMap::learn(7, &agents, 8, 2).unwrap(), map);
    let read: ShardMap = serde_json::from_str(&serde_json::to_string(&map).unwrap()).unwrap();
    assert_eq!((read.version(), read.len(), read.is_empty()), (7, 8, false));
    for task in &tasks {
        assert_eq!(read.asked(task, Reach::default()), map.asked(task, Reach::default()));
    }
    assert_eq!(ShardMap::learn(1, &agents[..3], 8, 2).unwrap().len(), 3, "no more shards than vectors");
    assert!(ShardMap::learn(1, &[], 8, 2).is_none() && ShardMap::learn(1, &agents, 0, 2).is_none());
}

#[test]
fn a_node_that_leaves_moves_only_its_own_shards() {
    let (agents, _) = federation(500);
    let map = ShardMap::learn(1, &agents, 10, 3).unwrap();
    let (all, gone) = (nodes(20), node(7).0);
    let left: BTreeSet<NodeId> = all.iter().filter(|node| **node != gone).cloned().collect();
    let mut load: BTreeMap<&NodeId, usize> = BTreeMap::new();
    for shard in 0..200 {
        let (before, after) = (map.holders(shard, all.iter()), map.holders(shard, left.iter()));
        assert_eq!((before.len(), after.len()), (3, 3));
        let kept = before.iter().filter(|node| ***node != gone);
        assert!(kept.clone().all(|node| after.contains(node)), "shard {shard} moved without need");
        assert_eq!(before == after, !before.contains(&&gone));
        before.into_iter().for_each(|node| *load.entry(node).or_default() += 1);
    }
    // 600 places over 20 nodes: 30 each on average.
    assert!(load.len() == 20 && load.values().all(|shards| (10..60).contains(shards)), "{load:?}");
    assert_eq!(map.holders(1, nodes(2).iter()).len(), 2, "as many as there are");
}
