//! One agent's idea of how to break a task down, checked.
//!
//! A proposal comes from an agent and through the network, so everything about it may be wrong: [`check`] names what.
//! Source: algorithms §4.1. Limits: [`MAX_SUBTASKS`] subtasks, [`MAX_TEXT`] characters in any text.

use std::collections::{BTreeMap, BTreeSet};

use foa_wire::{AgentId, WorkId};
use serde::{Deserialize, Serialize};

use crate::plan;
use crate::work::{ProposeLimits, ProposedSubtask};

/// Most subtasks any proposal may have, whatever the job allows.
pub const MAX_SUBTASKS: usize = 64;
/// Most characters in a description or a `done_when`.
pub const MAX_TEXT: usize = 2000;
/// Most skills, and most policies, of one subtask.
pub const MAX_LABELS: usize = 32;
/// Most characters in the name of a skill.
pub const MAX_LABEL: usize = 64;

/// A checked proposal and who made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The work that asked for it.
    pub id: WorkId,
    /// The proposer.
    pub by: AgentId,
    /// The subtasks, in the proposer's order.
    pub subtasks: Vec<ProposedSubtask>,
    /// Dependencies between keys, `[before, after]`.
    #[serde(default)]
    pub edges: Vec<[String; 2]>,
}

/// Why an answer is no proposal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProposal {
    /// There is nothing in it.
    #[error("wanted at least one subtask, found none")]
    Empty,
    /// More subtasks than the job allows.
    #[error("wanted at most {most} subtasks, found {found}")]
    TooMany {
        /// The job's limit.
        most: usize,
        /// How many there were.
        found: usize,
    },
    /// More edges than subtasks can have between them.
    #[error("wanted at most {most} edges, found {found}")]
    TooManyEdges {
        /// The most there can be.
        most: usize,
        /// How many there were.
        found: usize,
    },
    /// A key is not usable.
    #[error("wanted a key of 1 to 32 characters a-z, 0-9, _ and -, found {key:?}")]
    BadKey {
        /// The key, shortened.
        key: String,
    },
    /// Two subtasks share a key.
    #[error("wanted unique keys, found {key:?} twice")]
    DuplicateKey {
        /// The key found twice.
        key: String,
    },
    /// An edge names no subtask.
    #[error("wanted edges between subtasks of the proposal, found {key:?}")]
    UnknownKey {
        /// The key that is no subtask, shortened.
        key: String,
    },
    /// Subtasks wait for each other.
    #[error("wanted an acyclic graph, found a cycle through {key:?}")]
    Cycle {
        /// A subtask on the cycle.
        key: String,
    },
    /// A subtask does not say what is to be done.
    #[error("wanted a description of subtask {key:?}, found only white space")]
    NoDescription {
        /// The subtask.
        key: String,
    },
    /// A text is longer than anybody should have to read.
    #[error("wanted at most {most} characters in {field} of subtask {key:?}, found {found}")]
    TooLong {
        /// The subtask.
        key: String,
        /// Which text.
        field: &'static str,
        /// The limit in characters.
        most: usize,
        /// How many there were.
        found: usize,
    },
    /// A subtask asks for more skills or policies than make sense.
    #[error("wanted at most {most} {field} in subtask {key:?}, found {found}")]
    TooManyLabels {
        /// The subtask.
        key: String,
        /// `skills` or `policies`.
        field: &'static str,
        /// The limit.
        most: usize,
        /// How many there were.
        found: usize,
    },
}

impl Proposal {
    /// A proposal made of an agent's answer, checked by [`check`].
    ///
    /// # Errors
    /// When the answer is no proposal.
    pub fn new(
        id: WorkId,
        by: AgentId,
        subtasks: Vec<ProposedSubtask>,
        edges: Vec<[String; 2]>,
        limits: ProposeLimits,
    ) -> Result<Self, InvalidProposal> {
        check(&subtasks, &edges, limits)?;
        Ok(Self { id, by, subtasks, edges })
    }

    /// The name of one of its subtasks among all proposals: `{work id}/{key}`. Vectors and prices of a
    /// [`super::MergeInput`] go by it.
    #[must_use]
    pub fn node(&self, key: &str) -> String {
        format!("{}/{key}", self.id)
    }
}

/// Whether these parts of an answer make a proposal within the limits. `limits.min` is a wish, not a rule: one subtask
/// is always a proposal.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    subtasks: &[ProposedSubtask],
    edges: &[[String; 2]],
    limits: ProposeLimits,
) -> Result<(), InvalidProposal> {
    if subtasks.is_empty() {
        return Err(InvalidProposal::Empty);
    }
    let most = limits.max.clamp(1, MAX_SUBTASKS);
    if subtasks.len() > most {
        return Err(InvalidProposal::TooMany { most, found: subtasks.len() });
    }
    let mut position = BTreeMap::new();
    for (i, subtask) in subtasks.iter().enumerate() {
        let key = &subtask.key;
        if !plan::is_key(key) {
            return Err(InvalidProposal::BadKey { key: shortened(key) });
        }
        if position.insert(key.as_str(), i).is_some() {
            return Err(InvalidProposal::DuplicateKey { key: key.clone() });
        }
        check_texts(subtask)?;
    }
    // Repeating an edge says nothing new, so a legal list never needs more than every ordered pair.
    let most = most * most;
    if edges.len() > most {
        return Err(InvalidProposal::TooManyEdges { most, found: edges.len() });
    }
    let find = |key: &String| {
        let known = position.get(key.as_str()).copied();
        known.ok_or_else(|| InvalidProposal::UnknownKey { key: shortened(key) })
    };
    let mut pairs = BTreeSet::new();
    for [before, after] in edges {
        pairs.insert((find(before)?, find(after)?));
    }
    plan::topological(subtasks.len(), &pairs)
        .map_err(|i| InvalidProposal::Cycle { key: subtasks[i].key.clone() })?;
    Ok(())
}

fn check_texts(subtask: &ProposedSubtask) -> Result<(), InvalidProposal> {
    let key = || subtask.key.clone();
    if subtask.description.trim().is_empty() {
        return Err(InvalidProposal::NoDescription { key: key() });
    }
    let done_when = subtask.done_when.as_deref().unwrap_or_default();
    let skills = subtask.skills.iter().map(|s| ("a skill", s.as_str(), MAX_LABEL));
    let texts =
        [("the description", subtask.description.as_str(), MAX_TEXT), ("done_when", done_when, MAX_TEXT)];
    for (field, text, most) in texts.into_iter().chain(skills) {
        let found = text.chars().count();
        if found > most {
            return Err(InvalidProposal::TooLong { key: key(), field, most, found });
        }
    }
    for (field, found) in [("skills", subtask.skills.len()), ("policies", subtask.policies.len())] {
        if found > MAX_LABELS {
            return Err(InvalidProposal::TooManyLabels { key: key(), field, most: MAX_LABELS, found });
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ProposeLimits = ProposeLimits { min: 2, max: 4 };

    fn subtask(key: &str, description: &str) -> ProposedSubtask {
        ProposedSubtask {
            key: key.to_owned(),
            description: description.to_owned(),
            ..ProposedSubtask::default()
        }
    }

    fn edge(a: &str, b: &str) -> [String; 2] {
        [a.to_owned(), b.to_owned()]
    }

    #[test]
    fn a_sound_proposal_passes_and_one_subtask_is_enough() {
        let two = [subtask("a", "find"), subtask("b", "compare")];
        assert_eq!(check(&two, &[edge("a", "b"), edge("a", "b")], LIMITS), Ok(()));
        assert_eq!(check(&two[..1], &[], LIMITS), Ok(()));
    }

    #[test]
    fn everything_that_can_be_wrong_has_a_name() {
        use InvalidProposal as E;
        let a = || subtask("a", "find");
        let many = |n: usize| (0..n).map(|i| subtask(&format!("k{i}"), "find")).collect::<Vec<_>>();
        let with = |change: fn(&mut ProposedSubtask)| {
            let mut s = a();
            change(&mut s);
            vec![s]
        };
        let key = || "a".to_owned();
        let cases: Vec<(Vec<ProposedSubtask>, Vec<[String; 2]>, E)> = vec![
            (vec![], vec![], E::Empty),
            (many(5), vec![], E::TooMany { most: 4, found: 5 }),
            (vec![subtask("A b", "x")], vec![], E::BadKey { key: "A b".to_owned() }),
            (vec![subtask(&"k".repeat(1000), "x")], vec![], E::BadKey { key: "k".repeat(64) }),
            (vec![a(), a()], vec![], E::DuplicateKey { key: key() }),
            (vec![a()], vec![edge("a", "z")], E::UnknownKey { key: "z".to_owned() }),
            (vec![a()], vec![edge("a", "a")], E::Cycle { key: key() }),
            (vec![a()], vec![edge("a", "a"); 17], E::TooManyEdges { most: 16, found: 17 }),
            (vec![subtask("a", " \n\t ")], vec![], E::NoDescription { key: key() }),
            (
                vec![subtask("a", &"ü".repeat(2001))],
                vec![],
                E::TooLong { key: key(), field: "the description", most: 2000, found: 2001 },
            ),
            (
                with(|s| s.done_when = Some("x".repeat(2001))),
                vec![],
                E::TooLong { key: key(), field: "done_when", most: 2000, found: 2001 },
            ),
            (
                with(|s| s.skills = ["x".repeat(65)].into()),
                vec![],
                E::TooLong { key: key(), field: "a skill", most: 64, found: 65 },
            ),
            (
                with(|s| s.skills = (0..33).map(|i| i.to_string()).collect()),
                vec![],
                E::TooManyLabels { key: key(), field: "skills", most: 32, found: 33 },
            ),
        ];
        for (subtasks, edges, wanted) in cases {
            assert_eq!(check(&subtasks, &edges, LIMITS), Err(wanted));
        }
    }

    #[test]
    fn a_long_cycle_is_found() {
        let subtasks: Vec<_> = ["a", "b", "c"].map(|k| subtask(k, "x")).into();
        let edges = [edge("a", "b"), edge("b", "c"), edge("c", "a")];
        assert_eq!(check(&subtasks, &edges, LIMITS), Err(InvalidProposal::Cycle { key: "a".to_owned() }));
    }
}
