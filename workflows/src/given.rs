//! A plan that comes with the submission: whoever asks has broken the task down already, so nobody proposes or votes.
//!
//! It has the shape of a proposal and is held to the same rules ([`crate::decompose::proposal::check`]), with room for
//! [`MAX_SUBTASKS`] subtasks in [`MAX_BYTES`] of JSON: the result repeats the plan beside the answers, and must fit one
//! message.

use serde::{Deserialize, Serialize};

use crate::decompose::proposal::{self, InvalidProposal, MAX_SUBTASKS};
use crate::plan::{InvalidPlan, Plan, Subtask};
use crate::work::{ProposeLimits, ProposedSubtask};

/// Longest plan, in bytes of JSON.
pub const MAX_BYTES: usize = 48 * 1024;

/// Subtasks and what must come before what, as a submitter writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenPlan {
    /// The subtasks, in any order.
    pub subtasks: Vec<ProposedSubtask>,
    /// Dependencies between keys, `[before, after]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<[String; 2]>,
}

/// Why a given plan cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGivenPlan {
    /// Its parts make no plan.
    #[error(transparent)]
    Parts(#[from] InvalidProposal),
    /// Its parts make no graph.
    #[error(transparent)]
    Graph(#[from] InvalidPlan),
    /// It is longer than a message can carry several times.
    #[error("wanted at most {most} bytes of JSON, found {found}")]
    TooLong {
        /// The limit.
        most: usize,
        /// How many there were.
        found: usize,
    },
}

impl GivenPlan {
    /// The plan, checked.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn to_plan(&self) -> Result<Plan, InvalidGivenPlan> {
        proposal::check(&self.subtasks, &self.edges, ProposeLimits { min: 1, max: MAX_SUBTASKS })?;
        let found = serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len());
        if found > MAX_BYTES {
            return Err(InvalidGivenPlan::TooLong { most: MAX_BYTES, found });
        }
        let subtask = |given: &ProposedSubtask| Subtask {
            key: given.key.clone(),
            description: given.description.clone(),
            skills: given.skills.clone(),
            policies: given.policies.clone(),
            needs: given.needs.clone(),
            done_when: given.done_when.clone(),
            proposers: std::collections::BTreeSet::new(),
        };
        Ok(Plan::new(self.subtasks.iter().map(subtask).collect(), &self.edges)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(key: &str, description: &str) -> ProposedSubtask {
        ProposedSubtask {
            key: key.to_owned(),
            description: description.to_owned(),
            ..ProposedSubtask::default()
        }
    }

    #[test]
    fn two_keys_and_an_edge_are_a_plan() {
        let text = r#"{"subtasks":[{"key":"add","description":"add them up"},
            {"key":"find","description":"find the numbers"}],"edges":[["find","add"]]}"#;
        let given: GivenPlan = serde_json::from_str(text).unwrap();
        let plan = given.to_plan().unwrap();
        assert_eq!(plan.before("add"), ["find"]);
        assert_eq!(plan.sink(), Some("add"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cyclic = GivenPlan {
            subtasks: vec![step("a", "one"), step("b", "two")],
            edges: vec![["a".to_owned(), "b".to_owned()], ["b".to_owned(), "a".to_owned()]],
        };
        let wrong = cyclic.to_plan().unwrap_err().to_string();
        assert!(wrong.contains("cycle"), "{wrong}");
        assert_eq!(GivenPlan::default().to_plan(), Err(InvalidGivenPlan::Parts(InvalidProposal::Empty)));
        let long = |n: usize| GivenPlan {
            subtasks: (0..n).map(|i| step(&format!("k{i}"), &"x".repeat(2000))).collect(),
            edges: Vec::new(),
        };
        assert!(long(20).to_plan().is_ok());
        assert!(matches!(long(30).to_plan(), Err(InvalidGivenPlan::TooLong { .. })));
    }
}
