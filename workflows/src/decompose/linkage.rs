//! Average-linkage agglomeration in integers: puts near things into groups, the same way on every machine.
//!
//! Used for the subtasks of proposals (algorithms §4.2) and for clusters of agents (§6). Similarities are integers in
//! whatever unit the threshold is in; averages are compared by cross-multiplication, so no rounding decides. Cost is
//! cubic in the number of items: meant for at most a few hundred.

/// Groups `0..n` by repeatedly joining the two groups whose average similarity is highest, as long as it is at least
/// `threshold` and `may_join` allows it. Ties are broken by the smallest indices. Groups come out ordered by their
/// smallest member, members ascending.
///
/// `similarity(i, j)` is asked once for every `i < j`.
#[must_use]
pub fn agglomerate(
    n: usize,
    threshold: i64,
    similarity: impl Fn(usize, usize) -> i64,
    may_join: impl Fn(&[usize], &[usize]) -> bool,
) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
    // sums[a][b], a < b: the sum of similarities between the members of two groups.
    let mut sums: Vec<Vec<i64>> =
        (0..n).map(|a| (0..n).map(|b| if a < b { similarity(a, b) } else { 0 }).collect()).collect();
    loop {
        let mut best: Option<(usize, usize, i64, i64)> = None;
        for a in 0..groups.len() {
            for b in a + 1..groups.len() {
                let sum = sums[a][b];
                let pairs = pairs(&groups[a], &groups[b]);
                let near = i128::from(sum) >= i128::from(threshold) * i128::from(pairs);
                let better = best.is_none_or(|(_, _, s, p)| {
                    i128::from(sum) * i128::from(p) > i128::from(s) * i128::from(pairs)
                });
                if near && better && may_join(&groups[a], &groups[b]) {
                    best = Some((a, b, sum, pairs));
                }
            }
        }
        let Some((a, b, _, _)) = best else { return groups };
        for c in (0..groups.len()).filter(|&c| c != a && c != b) {
            let moved = sums[b.min(c)][b.max(c)];
            sums[a.min(c)][a.max(c)] += moved;
        }
        let joined = groups.remove(b);
        sums.remove(b);
        for row in &mut sums {
            row.remove(b);
        }
        groups[a].extend(joined);
        groups[a].sort_unstable();
    }
}

fn pairs(a: &[usize], b: &[usize]) -> i64 {
    i64::try_from(a.len() * b.len()).expect("groups of a few hundred")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(i: usize, j: usize) -> i64 {
        let place = [0i64, 1, 2, 10, 11, 30];
        1000 - 100 * (place[i] - place[j]).abs()
    }

    #[test]
    fn near_things_join_and_far_things_do_not() {
        assert_eq!(agglomerate(6, 500, near, |_, _| true), [vec![0, 1, 2], vec![3, 4], vec![5]]);
        assert_eq!(agglomerate(0, 500, near, |_, _| true), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn the_average_decides_not_the_nearest_pair() {
        // 0–1 at 900, 1–2 at 900, 0–2 at 0: once 0 and 1 are joined, 2 is at 450 on average.
        let chain = |i: usize, j: usize| if j - i == 1 { 900 } else { 0 };
        assert_eq!(agglomerate(3, 500, chain, |_, _| true), [vec![0, 1], vec![2]]);
        assert_eq!(agglomerate(3, 450, chain, |_, _| true), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_refused_pair_stays_apart_and_the_next_best_is_taken() {
        let apart = |a: &[usize], b: &[usize]| !(a.contains(&0) && b.contains(&1));
        assert_eq!(agglomerate(3, 500, near, apart), [vec![0], vec![1, 2]]);
        let small = |a: &[usize], b: &[usize]| a.len() + b.len() <= 2;
        assert_eq!(agglomerate(6, 500, near, small), [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
    }
}
