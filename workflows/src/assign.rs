//! Who does what: the best teams for all subtasks at once, exactly.
//!
//! Source: algorithms §5. The paper (arXiv 2509.20175) states the assignment as an integer program: maximise the sum of
//! alignment scores α over all seats, each agent within its capacity, each team within its size. That is a min-cost
//! flow with lower bounds, which is solved here by successive shortest paths: source → subtask (one arc per seat) →
//! agent → sink. Scores are integers (micro), so the optimum is exact.
//!
//! A seat beyond a team's first costs `margin` ‰ of the best score on offer for that subtask, so that a further member
//! must be nearly as good as the best to be worth its messages. 0 is the paper's program.
//!
//! Limits: meant for tens of subtasks and hundreds of agents; time is (seats) × (arcs) × (nodes) at worst.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foa_wire::AgentId;
use serde::{Deserialize, Serialize};

/// What one subtask wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Its key in the plan.
    pub subtask: String,
    /// Fewest members of its team.
    pub min: u32,
    /// Most members of its team.
    pub max: u32,
    /// Who could do it, with α in millionths. A score of zero or less means "may not": such an option is ignored.
    pub options: Vec<(AgentId, i64)>,
}

/// A subtask that cannot be given to anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("subtask {subtask:?} cannot be assigned: {why}")]
pub struct Infeasible {
    /// The first subtask that is left short.
    pub subtask: String,
    /// Why.
    pub why: Why,
}

/// Why a subtask cannot be given to anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// It wants more members than it allows.
    #[error("wanted a team of at least {min}, found that it allows at most {max}")]
    Bounds {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// Too few agents can do it at all.
    #[error("wanted {wanted} suitable agents, found {found}")]
    TooFew {
        /// How many it needs.
        wanted: u32,
        /// How many there are.
        found: u32,
    },
    /// Enough agents can do it, but other subtasks need them too.
    #[error("wanted {wanted} agents, found {seated} free: the others are needed for {rivals:?}")]
    Contended {
        /// How many it needs.
        wanted: u32,
        /// How many it could be given.
        seated: u32,
        /// The subtasks that have its other agents.
        rivals: Vec<String>,
    },
}

/// The teams with the highest sum of scores, best member first (ties by id). An agent that `capacity` does not name
/// takes one subtask. `margin` is the price of a further member, ‰ of the subtask's best score.
///
/// # Errors
/// When some subtask cannot have its fewest members, whatever is done.
pub fn assign(
    demands: &[Demand],
    capacity: &BTreeMap<AgentId, u32>,
    margin: u32,
) -> Result<BTreeMap<String, Vec<AgentId>>, Infeasible> {
    let demands: Vec<Wanted> = demands.iter().map(Wanted::of).collect();
    for wanted in &demands {
        wanted.check(capacity)?;
    }
    let teams = solve(&demands, capacity, margin);
    for (wanted, team) in demands.iter().zip(&teams) {
        if team.len() < wanted.min as usize {
            return Err(contended(wanted, team, &demands, &teams));
        }
    }
    let best_first = |(wanted, mut team): (&Wanted, Vec<AgentId>)| {
        team.sort_by_key(|agent| (Reverse(wanted.options[agent]), agent.clone()));
        (wanted.subtask.clone(), team)
    };
    Ok(demands.iter().zip(teams).map(best_first).collect())
}

/// A demand with each agent once, at its best score, and only if it may.
struct Wanted {
    subtask: String,
    min: u32,
    max: u32,
    options: BTreeMap<AgentId, i64>,
}

impl Wanted {
    fn of(demand: &Demand) -> Self {
        let mut options = BTreeMap::new();
        for (agent, score) in demand.options.iter().filter(|(_, score)| *score > 0) {
            let best = options.entry(agent.clone()).or_insert(*score);
            *best = (*best).max(*score);
        }
        Self { subtask: demand.subtask.clone(), min: demand.min, max: demand.max, options }
    }

    fn check(&self, capacity: &BTreeMap<AgentId, u32>) -> Result<(), Infeasible> {
        let fail = |why| Err(Infeasible { subtask: self.subtask.clone(), why });
        if self.min > self.max {
            return fail(Why::Bounds { min: self.min, max: self.max });
        }
        let free = self.options.keys().filter(|agent| room(capacity, agent) > 0).count();
        let found = u32::try_from(free).unwrap_or(u32::MAX);
        if found < self.min {
            return fail(Why::TooFew { wanted: self.min, found });
        }
        Ok(())
    }
}

fn room(capacity: &BTreeMap<AgentId, u32>, agent: &AgentId) -> u32 {
    capacity.get(agent).copied().unwrap_or(1)
}

fn contended(wanted: &Wanted, team: &[AgentId], demands: &[Wanted], teams: &[Vec<AgentId>]) -> Infeasible {
    let shares = |(other, members): &(&Wanted, &Vec<AgentId>)| {
        other.subtask != wanted.subtask && members.iter().any(|agent| wanted.options.contains_key(agent))
    };
    let rivals = demands.iter().zip(teams).filter(shares).map(|(other, _)| other.subtask.clone()).collect();
    let seated = u32::try_from(team.len()).unwrap_or(u32::MAX);
    Infeasible { subtask: wanted.subtask.clone(), why: Why::Contended { wanted: wanted.min, seated, rivals } }
}

/// One direction of an arc; its opposite is at the index with the last bit flipped.
struct Arc {
    to: usize,
    room: u32,
    cost: i128,
}

/// A network with costs, for flows of at most a few thousand units.
#[derive(Default)]
struct Network {
    arcs: Vec<Arc>,
    out: Vec<Vec<usize>>,
}

impl Network {
    fn node(&mut self) -> usize {
        self.out.push(Vec::new());
        self.out.len() - 1
    }

    fn arc(&mut self, from: usize, to: usize, room: u32, cost: i128) -> usize {
        let id = self.arcs.len();
        self.arcs.push(Arc { to, room, cost });
        self.arcs.push(Arc { to: from, room: 0, cost: -cost });
        self.out[from].push(id);
        self.out[to].push(id + 1);
        id
    }

    /// Sends unit after unit along the cheapest path for as long as that pays.
    fn minimise(&mut self, source: usize, sink: usize) {
        while let Some(path) = self.cheapest(source, sink) {
            for arc in path {
                self.arcs[arc].room -= 1;
                self.arcs[arc ^ 1].room += 1;
            }
        }
    }

    /// The arcs of the cheapest path, if its cost is negative. Bellman and Ford, with a queue.
    fn cheapest(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut cost: Vec<Option<i128>> = vec![None; self.out.len()];
        let mut by: Vec<Option<usize>> = vec![None; self.out.len()];
        let mut waiting = vec![false; self.out.len()];
        let mut queue = std::collections::VecDeque::from([source]);
        cost[source] = Some(0);
        while let Some(node) = queue.pop_front() {
            waiting[node] = false;
            let so_far = cost[node].expect("only reached nodes are queued");
            for &id in self.out[node].iter().filter(|&&id| self.arcs[id].room > 0) {
                let arc = &self.arcs[id];
                let through = so_far + arc.cost;
                if cost[arc.to].is_none_or(|known| through < known) {
                    cost[arc.to] = Some(through);
                    by[arc.to] = Some(id);
                    if !std::mem::replace(&mut waiting[arc.to], true) {
                        queue.push_back(arc.to);
                    }
                }
            }
        }
        cost[sink].filter(|&total| total < 0)?;
        let mut path = Vec::new();
        let mut at = sink;
        while at != source {
            let id = by[at].expect("a reached node has an arc that reached it");
            path.push(id);
            at = self.arcs[id ^ 1].to;
        }
        Some(path)
    }
}

/// The cheapest flow in which as many wanted seats as possible are taken: each is worth more than all scores together.
fn solve(demands: &[Wanted], capacity: &BTreeMap<AgentId, u32>, margin: u32) -> Vec<Vec<AgentId>> {
    let scores = demands.iter().flat_map(|d| d.options.values());
    let sum: i128 = scores.map(|&score| i128::from(score)).sum();
    let must = (sum + 1) * (1 + i128::from(margin));
    let mut network = Network::default();
    let (source, sink) = (network.node(), network.node());
    let mut agents: BTreeMap<&AgentId, usize> = BTreeMap::new();
    for agent in demands.iter().flat_map(|d| d.options.keys()) {
        agents.entry(agent).or_default();
    }
    for (agent, node) in &mut agents {
        *node = network.node();
        network.arc(*node, sink, room(capacity, agent), 0);
    }
    let mut seats: Vec<Vec<(usize, &AgentId)>> = Vec::new();
    for demand in demands {
        let node = network.node();
        let best = demand.options.values().copied().max().unwrap_or(0);
        let further = i128::from(best) * i128::from(margin) / 1000;
        let most = u32::try_from(demand.options.len()).unwrap_or(u32::MAX).min(demand.max);
        for seat in 0..most {
            let price = if seat == 0 { 0 } else { further };
            let worth = if seat < demand.min { must } else { 0 };
            network.arc(source, node, 1, price - worth);
        }
        let seat = |(agent, &score): (&'_ AgentId, &i64)| (agents[agent], i128::from(score));
        let arcs = demand.options.iter().map(|option| {
            let (to, score) = seat(option);
            (network.arc(node, to, 1, -score), option.0)
        });
        seats.push(arcs.collect());
    }
    network.minimise(source, sink);
    let taken = |&&(arc, _): &&(usize, &AgentId)| network.arcs[arc].room == 0;
    let team =
        |arcs: &Vec<(usize, &AgentId)>| arcs.iter().filter(taken).map(|&(_, agent)| agent.clone()).collect();
    seats.iter().map(team).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(n: usize) -> AgentId {
        format!("a{n}@node.aaaaaaaaaaaaaaaa").parse().unwrap()
    }

    fn demand(key: &str, min: u32, max: u32, options: &[(usize, i64)]) -> Demand {
        let options = options.iter().map(|&(n, score)| (agent(n), score)).collect();
        Demand { subtask: key.to_owned(), min, max, options }
    }

    fn teams(of: &[(&str, &[usize])]) -> BTreeMap<String, Vec<AgentId>> {
        of.iter().map(|(key, team)| ((*key).to_owned(), team.iter().copied().map(agent).collect())).collect()
    }

    #[test]
    fn the_sum_decides_not_the_first_come() {
        // Greedy would give agent 0 to s1 and leave s2 with nobody good.
        let demands = [demand("s1", 1, 1, &[(0, 900), (1, 800)]), demand("s2", 1, 1, &[(0, 700), (1, 100)])];
        assert_eq!(assign(&demands, &BTreeMap::new(), 0).unwrap(), teams(&[("s1", &[1]), ("s2", &[0])]));
        let two = BTreeMap::from([(agent(0), 2)]);
        assert_eq!(assign(&demands, &two, 0).unwrap(), teams(&[("s1", &[0]), ("s2", &[0])]));
    }

    #[test]
    fn a_further_member_must_be_worth_its_seat() {
        let demands = [demand("s1", 1, 3, &[(0, 500), (1, 1000), (2, 800)])];
        let team = |margin| assign(&demands, &BTreeMap::new(), margin).unwrap()["s1"].clone();
        assert_eq!(team(0), [1, 2, 0].map(agent));
        assert_eq!(team(600), [1, 2].map(agent));
        assert_eq!(team(900), [1].map(agent));
        let two = [Demand { min: 2, ..demands[0].clone() }];
        assert_eq!(assign(&two, &BTreeMap::new(), 900).unwrap()["s1"], [1, 2].map(agent));
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let none = BTreeMap::new();
        let fails = |demands: &[Demand], capacity| assign(demands, capacity, 0).unwrap_err();
        let infeasible = |subtask: &str, why| Infeasible { subtask: subtask.to_owned(), why };
        assert_eq!(
            fails(&[demand("s1", 1, 2, &[])], &none),
            infeasible("s1", Why::TooFew { wanted: 1, found: 0 })
        );
        assert_eq!(
            fails(&[demand("s1", 1, 2, &[(0, 0), (1, -5)])], &none),
            infeasible("s1", Why::TooFew { wanted: 1, found: 0 })
        );
        assert_eq!(
            fails(&[demand("s1", 2, 1, &[(0, 5)])], &none),
            infeasible("s1", Why::Bounds { min: 2, max: 1 })
        );
        let busy = BTreeMap::from([(agent(0), 0)]);
        assert_eq!(
            fails(&[demand("s1", 1, 1, &[(0, 5)])], &busy),
            infeasible("s1", Why::TooFew { wanted: 1, found: 0 })
        );
        let both = [demand("s1", 1, 1, &[(0, 9)]), demand("s2", 1, 1, &[(0, 5)])];
        let rivals = vec!["s1".to_owned()];
        let found = fails(&both, &none);
        assert_eq!(found, infeasible("s2", Why::Contended { wanted: 1, seated: 0, rivals }));
        assert!(found.to_string().contains("s1"), "{found}");
    }

    /// The best sum over all assignments, by trying them all; `None` when there is none.
    fn brute_force(demands: &[Demand], room: &mut BTreeMap<AgentId, u32>, margin: i64) -> Option<i64> {
        let Some((first, rest)) = demands.split_first() else { return Some(0) };
        let options: Vec<_> = first.options.iter().filter(|(_, score)| *score > 0).collect();
        let best_score = options.iter().map(|(_, score)| *score).max().unwrap_or(0);
        let mut best = None;
        for subset in 0u32..1 << options.len() {
            let team: Vec<_> =
                (0..options.len()).filter(|i| subset >> i & 1 == 1).map(|i| options[i]).collect();
            let size = u32::try_from(team.len()).unwrap();
            if size < first.min || size > first.max || team.iter().any(|(agent, _)| room[agent] == 0) {
                continue;
            }
            for (agent, _) in &team {
                *room.get_mut(agent).unwrap() -= 1;
            }
            let further = best_score * margin / 1000 * i64::from(size.saturating_sub(1));
            let value = team.iter().map(|(_, score)| score).sum::<i64>() - further;
            best = best.max(brute_force(rest, room, margin).map(|others| value + others));
            for (agent, _) in &team {
                *room.get_mut(agent).unwrap() += 1;
            }
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn no_assignment_is_better(
            scores in prop::collection::vec(prop::collection::vec(-2i64..12, 4), 1..4),
            bounds in prop::collection::vec((0u32..3, 0u32..3), 3),
            rooms in prop::collection::vec(0u32..3, 4),
            margin in 0u32..1000,
        ) {
            let demands: Vec<Demand> = scores.iter().zip(&bounds).enumerate().map(|(i, (row, &(min, more)))| {
                let options: Vec<_> = row.iter().enumerate().map(|(n, &s)| (n, s * 1000)).collect();
                demand(&format!("s{i}"), min, min + more, &options)
            }).collect();
            let mut room: BTreeMap<AgentId, u32> = rooms.iter().enumerate().map(|(n, &r)| (agent(n), r)).collect();
            let best = brute_force(&demands, &mut room, i64::from(margin));
            match assign(&demands, &room, margin) {
                Err(_) => prop_assert_eq!(best, None),
                Ok(found) => {
                    let mut used: BTreeMap<&AgentId, u32> = BTreeMap::new();
                    let mut value = 0;
                    for d in &demands {
                        let score: BTreeMap<_, _> = d.options.iter().cloned().collect();
                        let team = &found[&d.subtask];
                        prop_assert!((d.min as usize..=d.max as usize).contains(&team.len()));
                        prop_assert!(team.windows(2).all(|two| score[&two[0]] >= score[&two[1]]));
                        let best = score.values().copied().filter(|s| *s > 0).max().unwrap_or(0);
                        let further = best * i64::from(margin) / 1000 * (team.len() as i64 - 1).max(0);
                        value += team.iter().map(|a| score[a]).sum::<i64>() - further;
                        for a in team {
                            prop_assert!(score[a] > 0);
                            *used.entry(a).or_default() += 1;
                        }
                    }
                    prop_assert!(used.iter().all(|(a, &n)| n <= room[*a]));
                    prop_assert_eq!(Some(value), best);
                }
            }
        }
    }
}
