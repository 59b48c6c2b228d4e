//! An agent's section of the configuration, and the agent it makes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use foa_capability::{AgentProfile, Effects, Money, Offer, Policy, Skill};
use foa_wire::AgentName;
use serde::{Deserialize, Serialize};

use super::Agent;
use super::calc::Calc;
use super::corpus::{self, Corpus};
use super::openai::{self, OpenAi};
use super::planner::{CALCULATION, Grain, Planner};
use crate::import::Stated;
use crate::import::source::{CardError, read_card};
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
        /// An A2A card in a file, from which comes what is not said here; relative paths start at the configuration file.
        #[serde(default)]
        card: Option<PathBuf>,
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
        /// An A2A card in a file, from which comes what is not said here; relative paths start at the configuration file.
        #[serde(default)]
        card: Option<PathBuf>,
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
    /// A language model behind an OpenAI-compatible endpoint.
    Openai {
        /// Its name within the node.
        name: AgentName,
        /// What it is for.
        description: String,
        /// The base URL, ending before `/chat/completions`.
        base_url: String,
        /// The model's name there.
        model: String,
        /// The environment variable that holds the key; a local endpoint needs none.
        #[serde(default = "default_key_env")]
        key_env: String,
        /// What it can do.
        #[serde(default)]
        skills: Vec<Skill>,
        /// Goals, rules and principles it works by.
        #[serde(default)]
        spec: Option<String>,
        /// Whether its work changes something outside, so that it must run at most once.
        #[serde(default)]
        effects: Effects,
        /// Most tokens of one reply.
        #[serde(default = "default_max_tokens")]
        max_tokens: u32,
        /// The longest one ask may take, in seconds.
        #[serde(default = "default_timeout_s")]
        timeout_s: u64,
        /// An A2A card in a file, from which comes what is not said here; relative paths start at the configuration file.
        #[serde(default)]
        card: Option<PathBuf>,
        /// What it is authorised for.
        #[serde(default)]
        policies: BTreeSet<Policy>,
        /// Price of one piece of work, in micro-units.
        #[serde(default)]
        price: Money,
        /// Price of a thousand tokens, in micro-units.
        #[serde(default)]
        price_per_1k_tokens: Money,
        /// Pieces of work at once.
        #[serde(default = "default_model_concurrency")]
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
        /// An A2A card in a file, from which comes what is not said here; relative paths start at the configuration file.
        #[serde(default)]
        card: Option<PathBuf>,
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

/// Tokens of two prompts of one ask, at worst: an envelope's worth of text, twice.
const WORST_ASK_TOKENS: u64 = 2 * 64 * 1024;

fn default_key_env() -> String {
    "OPENAI_API_KEY".to_owned()
}

/// An answer of some pages.
fn default_max_tokens() -> u32 {
    2048
}

/// A local model of 8 billion parameters writes a page in this time without a graphics card.
fn default_timeout_s() -> u64 {
    120
}

/// A local endpoint serves one request at a time.
fn default_model_concurrency() -> u32 {
    1
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
    /// The HTTP client cannot be made.
    #[error("agent {agent}")]
    Client {
        /// The agent.
        agent: AgentName,
        /// Why.
        source: reqwest::Error,
    },
    /// Its card cannot be used.
    #[error("agent {agent}")]
    Card {
        /// The agent.
        agent: AgentName,
        /// Why.
        source: CardError,
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
            Self::Corpus { name, .. }
            | Self::Calc { name, .. }
            | Self::Openai { name, .. }
            | Self::Planner { name, .. } => name,
        }
    }

    /// The card it names.
    fn card(&self) -> Option<&Path> {
        match self {
            Self::Corpus { card, .. }
            | Self::Calc { card, .. }
            | Self::Openai { card, .. }
            | Self::Planner { card, .. } => card.as_deref(),
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
        base: foa_capability::Base::default(),
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
    let card = match config.card() {
        Some(path) => {
            let agent = config.name();
            let (card, notes) = read_card(&base.join(path))
                .map_err(|source| BuildError::Card { agent: agent.clone(), source })?;
            for note in notes {
                tracing::info!(%agent, note, "card read");
            }
            card
        }
        None => Stated::default(),
    };
    Ok(match config {
        AgentConfig::Corpus { name, description, path, grain, policies, price, concurrency, card: _ } => {
            let profile = profile(&name, "corpus", description, policies, price, concurrency, card);
            let path = base.join(path);
            let documents = corpus::folder(&path)
                .map_err(|source| BuildError::Documents { agent: name.clone(), source })?;
            if documents.is_empty() {
                return Err(BuildError::NoDocuments { agent: name, path });
            }
            let corpus = Corpus::new(profile, grain, &documents, embedder.clone()).await;
            Arc::new(corpus.map_err(|source| BuildError::Embedding { agent: name, source })?)
        }
        AgentConfig::Calc { name, description, policies, price, concurrency, card: _ } => {
            let mut profile = profile(&name, "calc", description, policies, price, concurrency, card);
            with_own(&mut profile, calculation());
            if profile.description.is_empty() {
                "Calculates with numbers, units and dates, also with values that were found before"
                    .clone_into(&mut profile.description);
            }
            Arc::new(Calc::new(profile))
        }
        AgentConfig::Openai {
            name,
            description,
            base_url,
            model,
            key_env,
            skills,
            spec,
            effects,
            max_tokens,
            timeout_s,
            card: _,
            policies,
            price,
            price_per_1k_tokens,
            concurrency,
        } => {
            let mut profile = profile(&name, "openai", description, policies, price, concurrency, card);
            profile.skills = skills;
            profile.spec = spec;
            profile.effects = effects;
            profile.offer.price_per_1k_tokens = price_per_1k_tokens;
            profile.offer.token_budget = Some(WORST_ASK_TOKENS.saturating_add(2 * u64::from(max_tokens)));
            profile.offer.latency_ms = None;
            let settings = openai::Settings {
                base_url,
                model,
                key: std::env::var(key_env).ok().filter(|key| !key.is_empty()),
                max_tokens,
                timeout: Duration::from_secs(timeout_s),
                first_wait: Duration::from_millis(500),
            };
            let agent = OpenAi::new(profile, settings);
            Arc::new(agent.map_err(|source| BuildError::Client { agent: name, source })?)
        }
        AgentConfig::Planner { name, description, grain, policies, price, concurrency, card: _ } => {
            let mut profile = profile(&name, "planner", description, policies, price, concurrency, card);
            with_own(&mut profile, planning());
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
    card: Stated,
) -> AgentProfile {
    let bare = bare_profile(name.clone(), kind);
    let stated = card.offer.unwrap_or_default();
    let offer = Offer {
        price,
        concurrency: concurrency.max(1),
        latency_ms: stated.latency_ms.or(bare.offer.latency_ms),
        tokens_per_second: stated.tokens_per_second,
        context_tokens: stated.context_tokens,
        memory_mib: stated.memory_mib,
        energy_joules: stated.energy_joules,
        ..bare.offer
    };
    AgentProfile { description, policies, offer, skills: card.skills, base: card.base, ..bare }
}

/// The skill that a kind has of its own comes first, also where its card has one of that id.
fn with_own(profile: &mut AgentProfile, own: Skill) {
    profile.skills.retain(|skill| skill.id != own.id);
    profile.skills.insert(0, own);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_reads_by_kind_and_refuses_what_it_does_not_know() {
        let read = |text: &str| toml::from_str::<AgentConfig>(text);
        let corpus = read("kind = 'corpus'\nname = 'docs'\npath = 'docs'\ngrain = 'coarse'").unwrap();
        assert!(matches!(corpus, AgentConfig::Corpus { grain: Grain::Coarse, concurrency: 4, .. }));
        let model = "kind = 'openai'\nname = 'm'\ndescription = 'd'\nbase_url = 'http://x/v1'\nmodel = 'm'";
        let found = read(model).unwrap();
        assert!(matches!(found, AgentConfig::Openai { max_tokens: 2048, effects: Effects::Read, .. }));
        let writer = read(&format!("{model}\neffects = 'write'")).unwrap();
        assert!(matches!(writer, AgentConfig::Openai { effects: Effects::Write, .. }));
        let error = read("kind = 'calc'\nname = 'sums'\npath = 'x'").unwrap_err().to_string();
        assert!(error.contains("path"), "{error}");
        assert!(read("kind = 'oracle'\nname = 'x'").is_err());
    }
}
