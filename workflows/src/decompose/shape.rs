//! The steps of the merge: groups, support, edges, cycles, limits. See [`super::merge`] for the rules in words.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use foa_capability::Money;

use super::graph::{self, Edges};
use super::linkage::agglomerate;
use super::merge::{
    Basis, DropReason, Dropped, DroppedEdge, EdgeDropReason, MergeInput, Merged, Price, Provenance, Variant,
};
use super::proposal::Proposal;
use crate::plan::{Plan, Subtask, topological};
use crate::work::ProposedSubtask;

/// A checked input with everything that is asked of it more than once.
pub(super) struct Shape<'a> {
    input: &'a MergeInput,
    nodes: Vec<Node<'a>>,
    /// Similarity of every two nodes, ‰.
    similar: Vec<Vec<i64>>,
    /// Weight of each proposal; all 1 if all are zero.
    weight: Vec<u64>,
    /// The nodes that are one subtask, ordered by their first node.
    groups: Vec<Vec<usize>>,
}

/// One subtask of one proposal.
struct Node<'a> {
    name: String,
    proposal: usize,
    position: usize,
    subtask: &'a ProposedSubtask,
    /// Its description without case and spacing.
    words: String,
}

/// A subtask that may be in the plan.
struct Candidate {
    members: Vec<usize>,
    representative: usize,
    support: u64,
}

impl<'a> Shape<'a> {
    pub(super) fn of(input: &'a MergeInput) -> Self {
        let node = |(proposal, p): (usize, &'a Proposal)| {
            let of = move |(position, subtask): (usize, &'a ProposedSubtask)| Node {
                name: p.node(&subtask.key),
                proposal,
                position,
                subtask,
                words: words(&subtask.description),
            };
            p.subtasks.iter().enumerate().map(of)
        };
        let nodes: Vec<Node<'a>> = input.proposals.iter().enumerate().flat_map(node).collect();
        let mut similar = vec![vec![1000; nodes.len()]; nodes.len()];
        for (i, a) in nodes.iter().enumerate() {
            for (j, b) in nodes.iter().enumerate().skip(i + 1) {
                similar[i][j] = similarity(input, a, b);
                similar[j][i] = similar[i][j];
            }
        }
        let given = input.proposals.iter().map(|p| input.weights.get(&p.by).copied().unwrap_or(0));
        let mut weight: Vec<u64> = given.map(u64::from).collect();
        if weight.iter().all(|&w| w == 0) {
            weight.fill(1);
        }
        let groups = agglomerate(
            nodes.len(),
            i64::from(input.merge_sim),
            |i, j| similar[i][j],
            |a, b| a.iter().all(|&i| b.iter().all(|&j| nodes[i].proposal != nodes[j].proposal)),
        );
        Self { input, nodes, similar, weight, groups }
    }

    /// The plan most agree on; `None` when no subtask has a quorum.
    pub(super) fn consensus(&self) -> Option<Merged> {
        let candidates = self.candidates(|_| true, |members| self.representative(members));
        let enough = |c: &Candidate| {
            u128::from(c.support) * 1000 >= u128::from(self.total()) * u128::from(self.input.quorum)
        };
        let quorate: BTreeSet<usize> = (0..candidates.len()).filter(|&i| enough(&candidates[i])).collect();
        if quorate.is_empty() {
            return None;
        }
        let mut draft = Draft::new(self, candidates);
        let rows = graph::reach(draft.candidates.len(), draft.edges.keys().copied());
        let needed = |i: usize| quorate.iter().any(|&k| k == i || rows[i] >> k & 1 == 1);
        for i in (0..draft.candidates.len()).filter(|&i| !needed(i)) {
            draft.drop(i, DropReason::NoQuorum);
        }
        Some(draft.finish(Basis::Consensus))
    }

    /// The plan of one proposal, as it is but for the limits.
    pub(super) fn one_proposal(&self, proposal: usize, basis: Basis) -> Merged {
        let own = |&i: &usize| self.nodes[i].proposal == proposal;
        let candidates = self.candidates(
            |members| members.iter().any(&own),
            |members| members.iter().copied().find(own).expect("only groups with one of its nodes were kept"),
        );
        let mut draft = Draft::of_proposal(self, candidates, proposal);
        for members in self.groups.iter().filter(|members| !members.iter().any(&own)) {
            let representative = self.representative(members);
            draft.note(&self.candidate(members, representative), DropReason::NoQuorum);
        }
        draft.finish(basis)
    }

    pub(super) fn nearest_proposal(&self) -> Merged {
        let proposal = self.medoid_proposal();
        let basis = match self.input.proposals.len() {
            1 => Basis::Single,
            _ => Basis::Medoid { proposal: self.input.proposals[proposal].id.clone() },
        };
        self.one_proposal(proposal, basis)
    }

    /// The proposal whose subtasks have the nearest counterparts in all proposals, and the other way round, by weight.
    /// Its own weight counts too: where nothing is alike, the heaviest is taken.
    pub(super) fn medoid_proposal(&self) -> usize {
        let nodes_of = |p: usize| (0..self.nodes.len()).filter(move |&i| self.nodes[i].proposal == p);
        let covers = |p: usize, q: usize| -> i64 {
            let best = |i: usize| nodes_of(q).map(|j| self.similar[i][j]).max().unwrap_or(0);
            let sum: i64 = nodes_of(p).map(best).sum();
            sum * 1000 / i64::try_from(nodes_of(p).count().max(1)).expect("at most a few hundred")
        };
        let score = |p: usize| -> i128 {
            (0..self.weight.len())
                .map(|q| i128::from(self.weight[q]) * i128::from(covers(p, q) + covers(q, p)))
                .sum()
        };
        (0..self.weight.len()).max_by_key(|&p| (score(p), Reverse(p))).unwrap_or(0)
    }

    fn total(&self) -> u64 {
        self.weight.iter().sum()
    }

    /// A share of the whole weight, ‰, rounded down.
    fn share(&self, weight: u64) -> u32 {
        u32::try_from(u128::from(weight) * 1000 / u128::from(self.total().max(1))).unwrap_or(1000)
    }

    /// The groups that are wanted, in the order in which their representatives' proposals had them.
    fn candidates(
        &self,
        wanted: impl Fn(&[usize]) -> bool,
        representative: impl Fn(&[usize]) -> usize,
    ) -> Vec<Candidate> {
        let groups = self.groups.iter().filter(|members| wanted(members));
        let mut found: Vec<Candidate> = groups.map(|m| self.candidate(m, representative(m))).collect();
        found.sort_by_key(|c| (self.nodes[c.representative].position, c.representative));
        found
    }

    fn candidate(&self, members: &[usize], representative: usize) -> Candidate {
        let support = members.iter().map(|&i| self.weight[self.nodes[i].proposal]).sum();
        Candidate { members: members.to_vec(), representative, support }
    }

    /// The medoid of a group: nearest to all of it by weight, its own included; the first among equals.
    fn representative(&self, members: &[usize]) -> usize {
        let nearness = |i: usize| -> i128 {
            members
                .iter()
                .map(|&j| i128::from(self.weight[self.nodes[j].proposal]) * i128::from(self.similar[i][j]))
                .sum()
        };
        members.iter().copied().max_by_key(|&i| (nearness(i), Reverse(i))).expect("groups are never empty")
    }

    /// What each proposal says comes before what, through however many steps, as pairs of positions.
    fn order_of(&self, proposal: usize) -> Edges {
        let p = &self.input.proposals[proposal];
        let position = |key: &String| p.subtasks.iter().position(|s| s.key == *key);
        let pairs = p.edges.iter().filter_map(|[a, b]| Some((position(a)?, position(b)?)));
        graph::closure(p.subtasks.len(), &pairs.collect())
    }
}

fn similarity(input: &MergeInput, a: &Node<'_>, b: &Node<'_>) -> i64 {
    if a.words == b.words {
        return 1000;
    }
    match (input.vectors.get(&a.name), input.vectors.get(&b.name)) {
        (Some(a), Some(b)) => i64::from(a.cosine_permille(b)),
        _ => 0,
    }
}

/// Pairs of candidates with a weight each.
type Weighted = BTreeMap<(usize, usize), u64>;

/// Words alone, in lower case.
fn words(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// A plan in the making: candidates that are still in, and edges between them.
struct Draft<'s, 'a> {
    shape: &'s Shape<'a>,
    candidates: Vec<Candidate>,
    prices: Vec<Price>,
    alive: BTreeSet<usize>,
    edges: Weighted,
    dropped: Vec<Dropped>,
    dropped_edges: Vec<DroppedEdge>,
}

impl<'s, 'a> Draft<'s, 'a> {
    /// With the edges that most of those who proposed both ends agree on, and no cycle.
    fn new(shape: &'s Shape<'a>, candidates: Vec<Candidate>) -> Self {
        let mut draft = Self::bare(shape, candidates);
        let (votes, both) = draft.edge_votes();
        for (&(a, b), &weight) in &votes {
            // More than half one way leaves less than half the other way, so opposite edges cannot both pass.
            if weight * 2 <= both[&(a.min(b), a.max(b))] {
                draft.note_edge((a, b), EdgeDropReason::Minority);
            } else {
                draft.edges.insert((a, b), weight);
            }
        }
        for edge in graph::break_cycles(draft.candidates.len(), &mut draft.edges) {
            draft.note_edge(edge, EdgeDropReason::Cycle);
        }
        draft
    }

    /// With the edges of one proposal.
    fn of_proposal(shape: &'s Shape<'a>, candidates: Vec<Candidate>, proposal: usize) -> Self {
        let mut draft = Self::bare(shape, candidates);
        let at = |position: usize| {
            let is = |c: &Candidate| shape.nodes[c.representative].position == position;
            draft.candidates.iter().position(is).expect("every subtask of the proposal is a candidate")
        };
        let weight = shape.weight[proposal];
        draft.edges = shape.order_of(proposal).into_iter().map(|(a, b)| ((at(a), at(b)), weight)).collect();
        draft
    }

    fn bare(shape: &'s Shape<'a>, candidates: Vec<Candidate>) -> Self {
        let price = |c: &Candidate| {
            let found = shape.input.prices.get(&shape.nodes[c.representative].name);
            found.map_or_else(Price::default, |p| Price { cost: p.cost.non_negative(), ..*p })
        };
        Self {
            shape,
            prices: candidates.iter().map(price).collect(),
            alive: (0..candidates.len()).collect(),
            candidates,
            edges: Weighted::new(),
            dropped: Vec::new(),
            dropped_edges: Vec::new(),
        }
    }

    /// For each ordered pair of candidates the weight that says "before", and for each pair (smaller first) the weight
    /// that proposed both.
    fn edge_votes(&self) -> (Weighted, Weighted) {
        let (mut votes, mut both) = (Weighted::new(), Weighted::new());
        for proposal in 0..self.shape.weight.len() {
            let weight = self.shape.weight[proposal];
            let order = self.shape.order_of(proposal);
            let mut at: Vec<(usize, usize)> = Vec::new();
            for (candidate, c) in self.candidates.iter().enumerate() {
                let own = c.members.iter().map(|&i| &self.shape.nodes[i]);
                at.extend(own.filter(|n| n.proposal == proposal).map(|n| (candidate, n.position)));
            }
            for &(a, a_position) in &at {
                for &(b, b_position) in &at {
                    if a < b {
                        *both.entry((a, b)).or_default() += weight;
                    }
                    if order.contains(&(a_position, b_position)) {
                        *votes.entry((a, b)).or_default() += weight;
                    }
                }
            }
        }
        (votes, both)
    }

    fn name(&self, candidate: usize) -> String {
        self.shape.nodes[self.candidates[candidate].representative].name.clone()
    }

    fn note_edge(&mut self, (a, b): (usize, usize), reason: EdgeDropReason) {
        self.dropped_edges.push(DroppedEdge { before: self.name(a), after: self.name(b), reason });
    }

    fn note(&mut self, candidate: &Candidate, reason: DropReason) {
        let dropped = Dropped {
            description: self.shape.nodes[candidate.representative].subtask.description.clone(),
            by: self.proposers(candidate),
            support: self.shape.share(candidate.support),
            reason,
        };
        self.dropped.push(dropped);
    }

    fn proposers(&self, candidate: &Candidate) -> BTreeSet<foa_wire::AgentId> {
        let of = |&i: &usize| self.shape.input.proposals[self.shape.nodes[i].proposal].by.clone();
        candidate.members.iter().map(of).collect()
    }

    /// Takes a candidate out. What came before it now comes before what came after it.
    fn drop(&mut self, out: usize, reason: DropReason) {
        let before: Vec<_> =
            self.edges.iter().filter(|((_, b), _)| *b == out).map(|((a, _), w)| (*a, *w)).collect();
        let after: Vec<_> =
            self.edges.iter().filter(|((a, _), _)| *a == out).map(|((_, b), w)| (*b, *w)).collect();
        self.edges.retain(|&(a, b), _| a != out && b != out);
        for &(a, to) in &before {
            for &(b, from) in &after {
                self.edges.entry((a, b)).or_insert(to.min(from));
            }
        }
        self.alive.remove(&out);
        let candidate = Candidate { members: self.candidates[out].members.clone(), ..self.candidates[out] };
        self.note(&candidate, reason);
    }

    /// The candidate that is missed least among `from`: the least supported one that nothing better supported builds
    /// on; among equals one that nothing builds on, then the last.
    fn least(&self, from: impl Iterator<Item = usize>) -> Option<usize> {
        let rows = graph::reach(self.candidates.len(), self.edges.keys().copied());
        let key = |i: usize| {
            let after = self.alive.iter().copied().filter(|&j| rows[i] >> j & 1 == 1);
            let needed = after.map(|j| self.candidates[j].support).max();
            let own = self.candidates[i].support;
            (needed.unwrap_or(0).max(own), own, needed.is_some(), Reverse(i))
        };
        from.min_by_key(|&i| key(i))
    }

    fn cost(&self) -> Money {
        self.alive.iter().map(|&i| self.prices[i].cost).sum()
    }

    /// The longest chain by time, and its time.
    fn critical_path(&self) -> (Vec<usize>, u64) {
        let edges: Edges = self.edges.keys().copied().collect();
        let order = topological(self.candidates.len(), &edges).expect("cycles were broken");
        let order: Vec<usize> = order.into_iter().filter(|i| self.alive.contains(i)).collect();
        let times: Vec<u64> = self.prices.iter().map(|p| p.time_ms).collect();
        graph::critical_path(&order, &edges, &times)
    }

    fn shed(&mut self) {
        let most = self.shape.input.max_subtasks.max(1);
        while self.alive.len() > most {
            let Some(out) = self.least(self.alive.iter().copied()) else { return };
            self.drop(out, DropReason::Limit);
        }
        while self.alive.len() > 1 && self.shape.input.budget.is_some_and(|most| self.cost() > most) {
            let priced = self.alive.iter().copied().filter(|&i| self.prices[i].cost > Money::ZERO);
            let Some(out) = self.least(priced) else { break };
            self.drop(out, DropReason::Budget);
        }
        while self.alive.len() > 1 {
            let (path, time) = self.critical_path();
            if self.shape.input.deadline_ms.is_none_or(|most| time <= most) {
                return;
            }
            let slow = path.into_iter().filter(|&i| self.prices[i].time_ms > 0);
            let Some(out) = self.least(slow) else { return };
            self.drop(out, DropReason::Deadline);
        }
    }

    fn finish(mut self, basis: Basis) -> Merged {
        self.shed();
        let n = self.candidates.len();
        let edges = graph::reduce(n, &self.edges.keys().copied().collect());
        let order = topological(n, &edges).expect("cycles were broken");
        let order: Vec<usize> = order.into_iter().filter(|i| self.alive.contains(i)).collect();
        let key: BTreeMap<usize, String> =
            order.iter().enumerate().map(|(at, &i)| (i, format!("s{}", at + 1))).collect();
        let subtasks = order.iter().map(|&i| self.subtask(&key[&i], &self.candidates[i])).collect();
        let edges: Vec<[String; 2]> = edges.iter().map(|(a, b)| [key[a].clone(), key[b].clone()]).collect();
        Merged {
            plan: Plan::new(subtasks, &edges).expect("fresh keys, and cycles were broken"),
            basis,
            provenance: order.iter().map(|&i| self.provenance(&key[&i], &self.candidates[i])).collect(),
            cost: self.cost(),
            time_ms: self.critical_path().1,
            dropped: self.dropped,
            dropped_edges: self.dropped_edges,
        }
    }

    fn subtask(&self, key: &str, candidate: &Candidate) -> Subtask {
        let words = self.shape.nodes[candidate.representative].subtask;
        let policies = candidate.members.iter().flat_map(|&i| &self.shape.nodes[i].subtask.policies);
        Subtask {
            key: key.to_owned(),
            description: words.description.clone(),
            skills: words.skills.clone(),
            policies: policies.cloned().collect(),
            needs: words.needs.clone(),
            done_when: words.done_when.clone(),
            proposers: self.proposers(candidate),
        }
    }

    fn provenance(&self, key: &str, candidate: &Candidate) -> Provenance {
        let variant = |&i: &usize| {
            let node = &self.shape.nodes[i];
            Variant {
                node: node.name.clone(),
                by: self.shape.input.proposals[node.proposal].by.clone(),
                description: node.subtask.description.clone(),
            }
        };
        Provenance {
            key: key.to_owned(),
            support: self.shape.share(candidate.support),
            representative: self.shape.nodes[candidate.representative].name.clone(),
            variants: candidate.members.iter().map(variant).collect(),
        }
    }
}
