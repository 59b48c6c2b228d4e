//! An agent's section of the configuration, and the agent it makes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foa_capability::{AgentProfile, Effects, Money, Offer, Policy, Skill};
use foa_wire::AgentName;
use serde::{Deserialize, Serialize};

use super::Agent;
use super::calc::Calc;
use super::corpus::{self, Corpus};
use super::planner::{CALCULATION, Grain, Planner};
use crate::model::{EmbedError, Embedder};

/// One agent, as configured; `kind` says which fields there are besides the common ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentConfig {
    /// A folder of documents it quotes from.
    Corpus {
        /// Its name within the node.
        name: AgentName,
        /// What it is for; made from the documents when left out.
        #[serde(default)]
        description: String,
        /// The folder, or one file; relative paths start at the configuration file.
        path: PathBuf,
        /// How finely it proposes.
        #[serde(default)]
        grain: Grain,
        /// What it is authorised for.
        #[serde(default)]
        policies: BTreeSet<Policy>,
        /// Price of one piece of work, in micro-units.
        #[serde(default)]
        price: Money,
        /// Pieces of work at once.
        #[serde(default = "default_concurrency")]
        concurrency: u32,
    },
    /// A calculator.
    Calc {
        /// Its name within the node.
        name: AgentName,
        /// What it is for.
        #[serde(default)]
        description: String,
        /// What it is authorised for.
        #[serde(default)]
        policies: BTreeSet<Policy>,
        /// Price of one piece of work, in micro-units.
        #[serde(default)]
        price: Money,
        /// Pieces of work at once.
        #[serde(default = "default_concurrency")]
        concurrency: u32,
    },
    /// A planner by rules.
    Planner {
        /// Its name within the node.
        name: AgentName,
        /// What it is for.
        #[serde(default)]
        description: String,
        /// How finely it proposes.
        #[serde(default)]
        grain: Grain,
        /// What it is authorised for.
        #[serde(default)]
        policies: BTreeSet<Policy>,
        /// Price of one piece of work, in micro-units.
        #[serde(default)]
        price: Money,
        /// Pieces of work at once.
        #[serde(default = "default_concurrency")]
        concurrency: u32,
    },
}

/// Two cores answer four extractive questions at once without getting slower.
fn default_concurrency() -> u32 {
    4
}

/// Why an agent could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its documents cannot be read.
    #[error("agent {agent}")]
    Documents {
        /// The agent.
        agent: AgentName,
        /// Why.
        source: corpus::ReadError,
    },
    /// Its folder holds nothing it can read.
    #[error("agent {agent}: wanted Markdown, text or HTML files in {path}, found none")]
    NoDocuments {
        /// The agent.
        agent: AgentName,
        /// The folder.
        path: PathBuf,
    },
    /// The embedding model failed.
    #[error("agent {agent}")]
    Embedding {
        /// The agent.
        agent: AgentName,
        /// Why.
        source: EmbedError,
    },
}

impl AgentConfig {
    /// Its name within the node.
    #[must_use]
    pub fn name(&self) -> &AgentName {
        match self {
            Self::Corpus { name, .. } | Self::Calc { name, .. } | Self::Planner { name, .. } => name,
        }
    }
}

/// A profile with nothing but a name and a kind.
pub(crate) fn bare_profile(name: AgentName, kind: &str) -> AgentProfile {
    AgentProfile {
        name,
        description: String::new(),
        skills: Vec::new(),
        policies: BTreeSet::new(),
        offer: Offer { concurrency: default_concurrency(), latency_ms: Some(500), ..Offer::default() },
        spec: None,
        effects: Effects::Read,
        kind: kind.to_owned(),
        base_model: None,
    }
}

/// Makes the agent a configuration describes; relative paths start at `base`.
///
/// # Errors
/// When its documents cannot be read or the embedding model fails.
pub async fn build(
    config: AgentConfig,
    embedder: &Embedder,
    base: &Path,
) -> Result<Arc<dyn Agent>, BuildError> {
    Ok(match config {
        AgentConfig::Corpus { name, description, path, grain, policies, price, concurrency } => {
            let profile = profile(&name, "corpus", description, policies, price, concurrency);
            let path = base.join(path);
            let documents = corpus::folder(&path)
                .map_err(|source| BuildError::Documents { agent: name.clone(), source })?;
            if documents.is_empty() {
                return Err(BuildError::NoDocuments { agent: name, path });
            }
            let corpus = Corpus::new(profile, grain, &documents, embedder.clone()).await;
            Arc::new(corpus.map_err(|source| BuildError::Embedding { agent: name, source })?)
        }
        AgentConfig::Calc { name, description, policies, price, concurrency } => {
            let mut profile = profile(&name, "calc", description, policies, price, concurrency);
            profile.skills.push(calculation());
            if profile.description.is_empty() {
                "Calculates with numbers, units and dates, also with values that were found before"
                    .clone_into(&mut profile.description);
            }
            Arc::new(Calc::new(profile))
        }
        AgentConfig::Planner { name, description, grain, policies, price, concurrency } => {
            let mut profile = profile(&name, "planner", description, policies, price, concurrency);
            profile.skills.push(planning());
            if profile.description.is_empty() {
                "Breaks a task down into steps and puts the answers together"
                    .clone_into(&mut profile.description);
            }
            Arc::new(Planner::new(profile, grain))
        }
    })
}

fn profile(
    name: &AgentName,
    kind: &str,
    description: String,
    policies: BTreeSet<Policy>,
    price: Money,
    concurrency: u32,
) -> AgentProfile {
    let bare = bare_profile(name.clone(), kind);
    let offer = Offer { price, concurrency: concurrency.max(1), ..bare.offer };
    AgentProfile { description, policies, offer, ..bare }
}

fn calculation() -> Skill {
    let examples = [
        "Calculate the difference between the first limit and the second limit in bytes",
        "What is 15% of 80?",
        "How many times does 0.25 ms fit into 92 ms?",
        "Convert 3 hours to minutes",
        "How many days are there between 2024-02-28 and 2024-03-01?",
    ];
    Skill {
        id: CALCULATION.to_owned(),
        name: "Calculation".to_owned(),
        description:
            "Computes differences, sums, ratios, percentages, conversions of units and spans of dates"
                .to_owned(),
        tags: ["arithmetic", "units", "dates", "conversion"].map(str::to_owned).to_vec(),
        examples: examples.map(str::to_owned).to_vec(),
    }
}

fn planning() -> Skill {
    Skill {
        id: "planning".to_owned(),
        name: "Planning".to_owned(),
        description: "Breaks a task down into subtasks and dependencies, judges plans, puts parts together"
            .to_owned(),
        tags: ["decomposition", "synthesis"].map(str::to_owned).to_vec(),
        examples: vec!["Break this task down into steps".to_owned()],
    }
}
