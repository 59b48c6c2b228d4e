//! What a proposer's node does before its agent may vote: is my proposal in, and does the merge give this plan?
//!
//! Source: algorithms §4.7. The node needs no trust in the holder: the merge is an integer function of what it was sent.
//! What it cannot check is whether the *other* proposals, the vectors and the weights are true; those are signed by
//! the holder and stay in the record.

use foa_wire::WorkId;

use super::merge::{InvalidInput, MergeInput, PlanHash, hash, merge};
use super::proposal::Proposal;
use crate::plan::Plan;

/// Why a node does not put its name to a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// The input is no input.
    #[error("the merge input cannot be merged: {source}")]
    Input {
        /// What is wrong with it.
        #[from]
        source: InvalidInput,
    },
    /// The voter's own proposal is not among the merged ones.
    #[error("wanted my proposal {id} among the merged ones, found it missing")]
    MyProposalMissing {
        /// The proposal.
        id: WorkId,
    },
    /// It is, but not as it was made.
    #[error("wanted my proposal {id} as I made it, found it changed")]
    MyProposalChanged {
        /// The proposal.
        id: WorkId,
    },
    /// Merging gives another plan.
    #[error("wanted the plan that the merge gives, found another")]
    OtherPlan,
    /// The hash is of something else.
    #[error("wanted the hash {wanted} of this input and plan, found {found}")]
    OtherHash {
        /// The hash of what was sent.
        wanted: PlanHash,
        /// The hash that was sent.
        found: PlanHash,
    },
}

impl Objection {
    /// A stable name, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input { .. } => "invalid-merge-input",
            Self::MyProposalMissing { .. } => "my-proposal-missing",
            Self::MyProposalChanged { .. } => "my-proposal-changed",
            Self::OtherPlan => "other-plan",
            Self::OtherHash { .. } => "other-hash",
        }
    }
}

/// Checks that `own` is merged as it was made, that the merge gives `plan`, and that `claimed` is the hash of both.
///
/// # Errors
/// The first reason not to sign.
pub fn verify(input: &MergeInput, plan: &Plan, claimed: &PlanHash, own: &Proposal) -> Result<(), Objection> {
    input.check()?;
    match input.proposals.iter().find(|p| p.id == own.id) {
        None => return Err(Objection::MyProposalMissing { id: own.id.clone() }),
        Some(mine) if mine != own => return Err(Objection::MyProposalChanged { id: own.id.clone() }),
        Some(_) => {}
    }
    if merge(input)?.plan != *plan {
        return Err(Objection::OtherPlan);
    }
    let wanted = hash(input, plan);
    if wanted != *claimed {
        return Err(Objection::OtherHash { wanted, found: claimed.clone() });
    }
    Ok(())
}
