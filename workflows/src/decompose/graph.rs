//! Directed graphs of at most [`MAX_NODES`] nodes: reachability, cycles, transitive reduction. Integers only.

use std::collections::{BTreeMap, BTreeSet};

/// Most nodes a graph may have: one bit each in a row of the reachability table.
pub(crate) const MAX_NODES: usize = 128;

/// Edges `(before, after)`.
pub(crate) type Edges = BTreeSet<(usize, usize)>;

/// For each node, the nodes that some non-empty path leads to, as bits.
pub(crate) fn reach(n: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Vec<u128> {
    debug_assert!(n <= MAX_NODES, "one bit per node");
    let mut rows = vec![0u128; n];
    for (a, b) in edges {
        rows[a] |= 1 << b;
    }
    for via in 0..n {
        let through = rows[via];
        for row in &mut rows {
            if *row >> via & 1 == 1 {
                *row |= through;
            }
        }
    }
    rows
}

/// All pairs between which there is a path.
pub(crate) fn closure(n: usize, edges: &Edges) -> Edges {
    let rows = reach(n, edges.iter().copied());
    (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|&(a, b)| rows[a] >> b & 1 == 1).collect()
}

/// Removes the lightest edge that lies on a cycle until there is none; among equals the one with the largest ids.
/// Returns what was removed, in that order.
pub(crate) fn break_cycles(n: usize, weighted: &mut BTreeMap<(usize, usize), u64>) -> Vec<(usize, usize)> {
    let mut removed = Vec::new();
    loop {
        let rows = reach(n, weighted.keys().copied());
        let on_cycle = weighted.iter().filter(|&(&(a, b), _)| rows[b] >> a & 1 == 1 || a == b);
        let Some(lightest) =
            on_cycle.min_by_key(|&(&edge, &w)| (w, std::cmp::Reverse(edge))).map(|(e, _)| *e)
        else {
            return removed;
        };
        weighted.remove(&lightest);
        removed.push(lightest);
    }
}

/// The fewest edges of an acyclic graph that leave the same paths.
pub(crate) fn reduce(n: usize, edges: &Edges) -> Edges {
    let rows = reach(n, edges.iter().copied());
    let detour = |a: usize, b: usize| {
        edges.range((a, 0)..=(a, usize::MAX)).any(|&(_, c)| c != b && rows[c] >> b & 1 == 1)
    };
    edges.iter().copied().filter(|&(a, b)| !detour(a, b)).collect()
}

/// The heaviest path: its nodes from first to last, and its weight.
pub(crate) fn critical_path(order: &[usize], edges: &Edges, weight: &[u64]) -> (Vec<usize>, u64) {
    let mut best: BTreeMap<usize, (u64, Option<usize>)> = BTreeMap::new();
    for &node in order {
        let before = edges
            .iter()
            .filter(|&&(_, b)| b == node)
            .filter_map(|&(a, _)| best.get(&a).map(|&(w, _)| (w, a)))
            .max_by_key(|&(w, a)| (w, std::cmp::Reverse(a)));
        let (so_far, from) = before.map_or((0, None), |(w, a)| (w, Some(a)));
        best.insert(node, (so_far.saturating_add(weight[node]), from));
    }
    let last = best.iter().max_by_key(|&(&node, &(w, _))| (w, std::cmp::Reverse(node)));
    let total = last.map_or(0, |(_, &(w, _))| w);
    let mut path: Vec<usize> =
        std::iter::successors(last.map(|(&node, _)| node), |node| best[node].1).collect();
    path.reverse();
    (path, total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::topological;

    #[test]
    fn the_lightest_edge_of_a_cycle_goes_and_ties_go_by_id() {
        let mut edges = BTreeMap::from([((0, 1), 5), ((1, 2), 3), ((2, 0), 4), ((2, 3), 1)]);
        assert_eq!(break_cycles(4, &mut edges), [(1, 2)]);
        let mut equal = BTreeMap::from([((0, 1), 1), ((1, 0), 1)]);
        assert_eq!(break_cycles(2, &mut equal), [(1, 0)]);
        let mut own = BTreeMap::from([((0, 0), 9)]);
        assert_eq!(break_cycles(1, &mut own), [(0, 0)]);
    }

    #[test]
    fn the_critical_path_is_the_heaviest() {
        let edges = Edges::from([(0, 2), (1, 2), (2, 3)]);
        assert_eq!(critical_path(&[0, 1, 2, 3], &edges, &[5, 7, 1, 1]), (vec![1, 2, 3], 9));
        assert_eq!(critical_path(&[0, 1], &Edges::new(), &[3, 3]), (vec![0], 3));
        assert_eq!(critical_path(&[], &Edges::new(), &[]), (vec![], 0));
    }

    proptest! {
        #[test]
        fn what_is_left_has_no_cycle_and_reduction_keeps_every_path(
            given in prop::collection::btree_map((0usize..8, 0usize..8), 0u64..4, 0..30),
        ) {
            let mut weighted = given;
            break_cycles(8, &mut weighted);
            let edges: Edges = weighted.keys().copied().collect();
            prop_assert!(topological(8, &edges).is_ok());
            let reduced = reduce(8, &edges);
            prop_assert_eq!(closure(8, &reduced), closure(8, &edges));
            for edge in &reduced {
                let mut fewer = reduced.clone();
                fewer.remove(edge);
                prop_assert_ne!(closure(8, &fewer), closure(8, &edges));
            }
        }
    }
}
