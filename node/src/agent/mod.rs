//! Agents: what answers an [`Ask`]. One file per kind; the node that runs them knows only [`Agent`].
//!
//! | kind | is |
//! |---|---|
//! | [`corpus`] | a folder of documents that quotes the passages it answers from |
//! | [`calc`] | arithmetic, units and dates |
//! | [`openai`] | a language model behind an OpenAI-compatible endpoint |
//! | [`planner`] | breaks tasks down by rules, judges plans, puts parts together |
//!
//! Start reading at [`build()`], which makes an agent of its configuration.

pub mod calc;
pub mod config;
pub mod corpus;
pub mod openai;
pub mod planner;
mod text;

use async_trait::async_trait;
use foa_capability::AgentProfile;
use foa_wire::AgentId;
use foa_workflows::work::{Answer, Ask, Usage};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use config::{AgentConfig, BuildError, build};

/// Something that answers. Work arrives concurrently, at most as much as the profile's offer says.
#[async_trait]
pub trait Agent: Send + Sync {
    /// What it states about itself, before it was ever asked.
    fn profile(&self) -> AgentProfile;

    /// Answers one ask.
    ///
    /// # Errors
    /// A named failure; that it holds no answer is none, but [`Answer::Declined`].
    async fn answer(&self, ask: Ask, context: Context) -> Result<Reply, Failure>;
}

/// What comes with an ask besides its words.
#[derive(Clone, Debug)]
pub struct Context {
    /// The agent that is asked, by its full name.
    pub agent: AgentId,
    /// When the answer is no longer wanted.
    pub deadline: Instant,
    /// Where partial text goes.
    pub progress: ProgressSender,
    /// Cancelled when the job is.
    pub cancelled: CancellationToken,
}

/// Takes pieces of text for whoever watches; a full or closed channel loses them.
#[derive(Clone, Debug, Default)]
pub struct ProgressSender(Option<mpsc::Sender<String>>);

impl ProgressSender {
    /// Sends to `channel`.
    #[must_use]
    pub fn new(channel: mpsc::Sender<String>) -> Self {
        Self(Some(channel))
    }

    /// Tells whoever watches.
    pub fn send(&self, text: impl Into<String>) {
        if let Some(channel) = &self.0 {
            // Best effort by contract.
            let _ = channel.try_send(text.into());
        }
    }
}

/// An answer and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// What it cost.
    pub usage: Usage,
}

impl Reply {
    /// The agent holds no answer, and says so for nothing.
    #[must_use]
    pub fn declined(reason: impl Into<String>) -> Self {
        Self { answer: Answer::Declined { reason: reason.into() }, usage: Usage::default() }
    }
}

/// Parts put together without a model: every agent can.
pub(crate) fn synthesise(
    task: &str,
    parts: &[foa_workflows::work::Part],
    mode: foa_workflows::work::SynthesisMode,
    lead: Option<&str>,
) -> Reply {
    let text = foa_workflows::synthesis::synthesise(task, parts, mode, lead);
    Reply { answer: Answer::Synthesis { text, whole: None }, usage: Usage::default() }
}

/// Why there is no answer at all.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The deadline passed.
    #[error("no answer before the deadline")]
    Timeout {
        /// What was spent before.
        usage: Usage,
    },
    /// What the agent thinks with cannot be reached.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The model's output is not of the wanted shape, twice.
    #[error("invalid output: {problem}")]
    InvalidOutput {
        /// What is wrong with it.
        problem: String,
        /// What was spent on it.
        usage: Usage,
    },
    /// The question or the answer is over a limit.
    #[error("wanted at most {limit} bytes, found {found}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// The size found, or more.
        found: usize,
    },
    /// The backend refused the request: a bad key, a forbidden model.
    #[error("refused: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The job was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Failure {
    /// The name it is counted and shown by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::InvalidOutput { .. } => "invalid-output",
            Self::TooLarge { .. } => "too-large",
            Self::Refused { .. } => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// What was spent although nothing came of it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match self {
            Self::Timeout { usage } | Self::InvalidOutput { usage, .. } => usage.clone(),
            Self::Unavailable { .. } | Self::TooLarge { .. } | Self::Refused { .. } | Self::Cancelled => {
                Usage::default()
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use foa_wire::NodeKey;

    use super::*;

    /// An agent's name on a made-up node, the same every time.
    pub(crate) fn agent_id(name: &str) -> AgentId {
        let node = foa_wire::NodeId::new("test".parse().unwrap(), &NodeKey::from_seed([7; 32]).public());
        AgentId::new(name.parse().unwrap(), node)
    }

    /// A minute, nobody watching.
    pub(crate) fn context() -> Context {
        Context {
            agent: agent_id("tested"),
            deadline: Instant::now() + Duration::from_secs(60),
            progress: ProgressSender::default(),
            cancelled: CancellationToken::new(),
        }
    }
}
