//! A plan: subtasks in a directed acyclic graph. A [`Plan`] cannot hold a cycle.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::{Needs, Policy};
use foa_wire::AgentId;
use serde::{Deserialize, Serialize};

/// One subtask of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subtask {
    /// Unique within the plan: `s1`, `s2`, …; also a level of the cluster's topic.
    pub key: String,
    /// What is to be done, readable alone.
    pub description: String,
    /// Skills it takes.
    #[serde(default)]
    pub skills: BTreeSet<String>,
    /// Policies its agents must be authorised for.
    #[serde(default)]
    pub policies: BTreeSet<Policy>,
    /// Resources it takes.
    #[serde(default)]
    pub needs: Needs,
    /// How one can tell that it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_when: Option<String>,
    /// The agents that proposed it, in order of id.
    #[serde(default)]
    pub proposers: BTreeSet<AgentId>,
}

/// Subtasks and what must come before what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPlan", into = "RawPlan")]
pub struct Plan {
    subtasks: Vec<Subtask>,
    edges: BTreeSet<(usize, usize)>,
}

/// Why a list of subtasks and edges is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// There is nothing to do.
    #[error("wanted at least one subtask, found none")]
    Empty,
    /// A key is not usable.
    #[error("wanted a key of 1 to 32 characters a-z, 0-9, _ and -, found {key:?}")]
    BadKey {
        /// The key found.
        key: String,
    },
    /// Two subtasks share a key.
    #[error("wanted unique keys, found {key:?} twice")]
    DuplicateKey {
        /// The key found twice.
        key: String,
    },
    /// An edge names a subtask that does not exist.
    #[error("wanted edges between subtasks of the plan, found {key:?}")]
    UnknownKey {
        /// The key that is no subtask.
        key: String,
    },
    /// The graph has a cycle.
    #[error("wanted an acyclic graph, found a cycle through {key:?}")]
    Cycle {
        /// A subtask on the cycle.
        key: String,
    },
}

impl Plan {
    /// A plan of these subtasks, with `edges` as pairs of keys `[before, after]`. Order of subtasks is kept among those
    /// that could run at once; otherwise the subtasks come out in an order that respects the edges.
    ///
    /// # Errors
    /// When the parts make no acyclic graph with unique keys.
    pub fn new(subtasks: Vec<Subtask>, edges: &[[String; 2]]) -> Result<Self, InvalidPlan> {
        if subtasks.is_empty() {
            return Err(InvalidPlan::Empty);
        }
        let mut position = BTreeMap::new();
        for (i, subtask) in subtasks.iter().enumerate() {
            if !is_key(&subtask.key) {
                return Err(InvalidPlan::BadKey { key: subtask.key.chars().take(64).collect() });
            }
            if position.insert(subtask.key.clone(), i).is_some() {
                return Err(InvalidPlan::DuplicateKey { key: subtask.key.clone() });
            }
        }
        let find = |key: &String| {
            position.get(key).copied().ok_or_else(|| InvalidPlan::UnknownKey { key: key.clone() })
        };
        let mut given = BTreeSet::new();
        for [before, after] in edges {
            given.insert((find(before)?, find(after)?));
        }
        let order = topological(subtasks.len(), &given)
            .map_err(|i| InvalidPlan::Cycle { key: subtasks[i].key.clone() })?;
        let mut rank = vec![0; order.len()];
        for (to, &from) in order.iter().enumerate() {
            rank[from] = to;
        }
        let edges = given.into_iter().map(|(a, b)| (rank[a], rank[b])).collect();
        let mut slots: Vec<Option<Subtask>> = subtasks.into_iter().map(Some).collect();
        let subtasks =
            order.iter().map(|&i| slots[i].take().expect("an order names every subtask once")).collect();
        Ok(Self { subtasks, edges })
    }

    /// The plan that does the whole task as one subtask.
    #[must_use]
    pub fn solo(task: &str) -> Self {
        let subtask = Subtask {
            key: "s1".to_owned(),
            description: task.to_owned(),
            skills: BTreeSet::new(),
            policies: BTreeSet::new(),
            needs: Needs::default(),
            done_when: None,
            proposers: BTreeSet::new(),
        };
        Self { subtasks: vec![subtask], edges: BTreeSet::new() }
    }

    /// The same plan, with every subtask requiring these policies too.
    #[must_use]
    pub fn requiring(mut self, policies: &BTreeSet<Policy>) -> Self {
        for subtask in &mut self.subtasks {
            subtask.policies.extend(policies.iter().cloned());
        }
        self
    }

    /// How many subtasks the longest chain has.
    #[must_use]
    pub fn depth(&self) -> usize {
        let mut depth = vec![1; self.subtasks.len()];
        for &(before, after) in &self.edges {
            depth[after] = depth[after].max(depth[before] + 1);
        }
        depth.into_iter().max().unwrap_or(1)
    }

    /// The subtasks, in an order that respects the edges.
    #[must_use]
    pub fn subtasks(&self) -> &[Subtask] {
        &self.subtasks
    }

    /// The subtask of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Subtask> {
        self.subtasks.iter().find(|s| s.key == key)
    }

    /// The dependencies, as pairs of keys (before, after), ordered.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.edges.iter().map(|&(a, b)| (self.subtasks[a].key.as_str(), self.subtasks[b].key.as_str()))
    }

    /// The keys of what must be done before `key`, in plan order.
    #[must_use]
    pub fn before(&self, key: &str) -> Vec<&str> {
        self.edges().filter(|(_, after)| *after == key).map(|(before, _)| before).collect()
    }

    /// The keys of all that leads to `key`, through however many steps, in plan order.
    #[must_use]
    pub fn ancestors(&self, key: &str) -> Vec<&str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = self.subtasks.iter().position(|s| s.key == key).into_iter().collect();
        while let Some(at) = open.pop() {
            let before = self.edges.iter().filter(|&&(_, b)| b == at).map(|&(a, _)| a);
            open.extend(before.filter(|&a| found.insert(a)));
        }
        found.into_iter().map(|i| self.subtasks[i].key.as_str()).collect()
    }

    /// The subtask that builds on all others, if there is one. A plan of one subtask has none.
    #[must_use]
    pub fn sink(&self) -> Option<&str> {
        let last = self.subtasks.last().filter(|_| self.subtasks.len() > 1)?;
        (self.ancestors(&last.key).len() + 1 == self.subtasks.len()).then_some(last.key.as_str())
    }

    /// The subtasks that are not in `started` and wait for nothing that is not in `done`, in plan order.
    #[must_use]
    pub fn ready(&self, done: &BTreeSet<String>, started: &BTreeSet<String>) -> Vec<&Subtask> {
        let free = |s: &&Subtask| {
            !started.contains(&s.key)
                && !done.contains(&s.key)
                && self.before(&s.key).iter().all(|k| done.contains(*k))
        };
        self.subtasks.iter().filter(free).collect()
    }

    /// The keys of what waits for `key`, in plan order.
    #[must_use]
    pub fn after(&self, key: &str) -> Vec<&str> {
        self.edges().filter(|(before, _)| *before == key).map(|(_, after)| after).collect()
    }
}

pub(crate) fn is_key(text: &str) -> bool {
    let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=32).contains(&text.len()) && text.bytes().all(legal)
}

/// Kahn's algorithm, smallest index first; on a cycle, the smallest index that is left.
pub(crate) fn topological(n: usize, edges: &BTreeSet<(usize, usize)>) -> Result<Vec<usize>, usize> {
    let mut waits = vec![0usize; n];
    for &(_, after) in edges {
        waits[after] += 1;
    }
    let mut ready: BTreeSet<usize> = (0..n).filter(|&i| waits[i] == 0).collect();
    let mut order = Vec::with_capacity(n);
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for &(_, after) in edges.range((i, 0)..=(i, usize::MAX)) {
            waits[after] -= 1;
            if waits[after] == 0 {
                ready.insert(after);
            }
        }
    }
    if order.len() == n { Ok(order) } else { Err((0..n).find(|&i| waits[i] > 0).unwrap_or(0)) }
}

#[derive(Serialize, Deserialize)]
struct RawPlan {
    subtasks: Vec<Subtask>,
    #[serde(default)]
    edges: Vec<[String; 2]>,
}

impl TryFrom<RawPlan> for Plan {
    type Error = InvalidPlan;

    fn try_from(raw: RawPlan) -> Result<Self, Self::Error> {
        Self::new(raw.subtasks, &raw.edges)
    }
}

impl From<Plan> for RawPlan {
    fn from(plan: Plan) -> Self {
        let edges = plan.edges().map(|(a, b)| [a.to_owned(), b.to_owned()]).collect();
        Self { subtasks: plan.subtasks, edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subtask(key: &str) -> Subtask {
        Subtask { key: key.to_owned(), ..Plan::solo(key).subtasks()[0].clone() }
    }

    fn edge(a: &str, b: &str) -> [String; 2] {
        [a.to_owned(), b.to_owned()]
    }

    #[test]
    fn subtasks_come_out_in_an_order_that_respects_the_edges() {
        let plan =
            Plan::new(vec![subtask("c"), subtask("b"), subtask("a")], &[edge("a", "c"), edge("b", "c")])
                .unwrap();
        let keys: Vec<&str> = plan.subtasks().iter().map(|s| s.key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "c"]);
        assert_eq!(plan.before("c"), ["b", "a"]);
        assert_eq!(plan.after("a"), ["c"]);
    }

    #[test]
    fn a_plan_knows_what_leads_where_and_what_can_start() {
        let all = ["a", "b", "c", "d"].map(subtask).to_vec();
        let edges = [edge("a", "c"), edge("b", "c"), edge("c", "d")];
        let plan = Plan::new(all.clone(), &edges).unwrap();
        assert_eq!(plan.ancestors("d"), ["a", "b", "c"]);
        assert_eq!(plan.ancestors("a"), [""; 0]);
        assert_eq!(plan.sink(), Some("d"));
        assert_eq!(Plan::new(all, &edges[..2]).unwrap().sink(), None);
        assert_eq!(Plan::solo("x").sink(), None);
        let keys = |done: &[&str], started: &[&str]| {
            let set = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
            plan.ready(&set(done), &set(started)).iter().map(|s| s.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[], &[]), ["a", "b"]);
        assert_eq!(keys(&["a"], &["b"]), [""; 0]);
        assert_eq!(keys(&["a", "b"], &[]), ["c"]);
    }

    #[test]
    fn a_plan_cannot_hold_a_cycle() {
        let cycle = Plan::new(vec![subtask("a"), subtask("b")], &[edge("a", "b"), edge("b", "a")]);
        assert_eq!(cycle, Err(InvalidPlan::Cycle { key: "a".to_owned() }));
        let own = Plan::new(vec![subtask("a")], &[edge("a", "a")]);
        assert_eq!(own, Err(InvalidPlan::Cycle { key: "a".to_owned() }));
    }

    #[test]
    fn bad_parts_are_named() {
        assert_eq!(Plan::new(vec![], &[]), Err(InvalidPlan::Empty));
        let twice = Plan::new(vec![subtask("a"), subtask("a")], &[]);
        assert_eq!(twice, Err(InvalidPlan::DuplicateKey { key: "a".to_owned() }));
        let unknown = Plan::new(vec![subtask("a")], &[edge("a", "z")]);
        assert_eq!(unknown, Err(InvalidPlan::UnknownKey { key: "z".to_owned() }));
    }

    #[test]
    fn a_cyclic_plan_is_refused_on_the_wire_too() {
        let plan = Plan::new(vec![subtask("a"), subtask("b")], &[edge("a", "b")]).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        let cyclic = text.replace(r#"[["a","b"]]"#, r#"[["a","b"],["b","a"]]"#);
        assert!(serde_json::from_str::<Plan>(&cyclic).unwrap_err().to_string().contains("cycle"));
    }
}
