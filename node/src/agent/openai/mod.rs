//! An agent that thinks with a language model behind any OpenAI-compatible endpoint: Ollama, llama.cpp, vLLM, OpenAI.
//!
//! An ask becomes a prompt (`prompt`), the reply must have the shape asked for (`schema`): an unusable one is
//! asked for once more with the problem named, then it is the failure `invalid-output`. What was spent is counted
//! either way. An agent with `effects = "write"` is asked to do something once at most: no repetition, no correction.

mod client;
mod prompt;
mod schema;

use std::time::Duration;

use async_trait::async_trait;
use foa_capability::{AgentProfile, Effects, Money};
use foa_workflows::work::{Answer, Ask, Contribution, Evidence, Usage};
use serde_json::Value;

use self::client::{Client, Message, Tries};
use super::{Agent, Context, Failure, Reply};

/// Evidence kept with an answer.
const MAX_EVIDENCE: usize = 8;

/// Where the model is and how it is to be used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The base URL, ending before `/chat/completions`, such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// The key, if the endpoint wants one.
    pub key: Option<String>,
    /// Most tokens of one reply.
    pub max_tokens: u32,
    /// The longest one ask may take, deadline or not.
    pub timeout: Duration,
    /// The first wait before a repetition; later ones double.
    pub first_wait: Duration,
}

/// The agent.
pub struct OpenAi {
    profile: AgentProfile,
    settings: Settings,
    client: Client,
}

impl OpenAi {
    /// An agent that states `profile`, whose offer says what it charges.
    ///
    /// # Errors
    /// When the HTTP client cannot be made, which only a broken system does.
    pub fn new(mut profile: AgentProfile, settings: Settings) -> Result<Self, reqwest::Error> {
        let Settings { base_url, model, key, max_tokens, first_wait, .. } = settings.clone();
        let client = Client::new(&base_url, &model, key, max_tokens, first_wait)?;
        profile.base_model = Some(model);
        Ok(Self { profile, settings, client })
    }

    async fn think(&self, ask: &Ask, spent: &mut Usage) -> Result<Answer, Failure> {
        let (name, schema) = shape(ask);
        let mut messages = prompt::messages(ask, self.profile.spec.as_deref());
        // Whoever changes something when asked for an answer is asked once, and its words are taken as they are.
        let writes = self.profile.effects == Effects::Write && matches!(ask, Ask::Draft { .. });
        let tries = if writes { Tries::Once } else { Tries::Several };
        let said = self.say(&messages, name, &schema, tries, spent).await?;
        let problem = match read(ask, &said) {
            Ok(answer) => return Ok(answer),
            Err(problem) if writes => {
                return Err(Failure::InvalidOutput { problem, usage: spent.clone() });
            }
            Err(problem) => problem,
        };
        tracing::debug!(ask = name, problem, "model output asked for again");
        messages = prompt::corrected(messages, &said, &problem);
        let said = self.say(&messages, name, &schema, tries, spent).await?;
        read(ask, &said).map_err(|problem| Failure::InvalidOutput { problem, usage: spent.clone() })
    }

    async fn say(
        &self,
        messages: &[Message],
        name: &str,
        schema: &Value,
        tries: Tries,
        spent: &mut Usage,
    ) -> Result<String, Failure> {
        let completion = self.client.complete(messages, name, schema, tries).await?;
        spent.tokens_in += completion.tokens_in;
        spent.tokens_out += completion.tokens_out;
        let offer = &self.profile.offer;
        let tokens = i64::try_from(spent.tokens_in.saturating_add(spent.tokens_out)).unwrap_or(i64::MAX);
        let by_token = Money(offer.price_per_1k_tokens.0.saturating_mul(tokens) / 1000);
        spent.cost = offer.price + by_token;
        Ok(completion.text)
    }
}

#[async_trait]
impl Agent for OpenAi {
    fn profile(&self) -> AgentProfile {
        self.profile.clone()
    }

    async fn answer(&self, ask: Ask, context: Context) -> Result<Reply, Failure> {
        let mut usage = Usage { model: self.profile.base_model.clone(), ..Usage::default() };
        let deadline = context.deadline.min(tokio::time::Instant::now() + self.settings.timeout);
        let answer = tokio::select! {
            answer = self.think(&ask, &mut usage) => Some(answer?),
            () = context.cancelled.cancelled() => return Err(Failure::Cancelled),
            () = tokio::time::sleep_until(deadline) => None,
        };
        match answer {
            Some(answer) => Ok(Reply { answer, usage }),
            None => Err(Failure::Timeout { usage }),
        }
    }
}

fn shape(ask: &Ask) -> (&'static str, Value) {
    let schema = match ask {
        Ask::Propose { limits, .. } => schema::proposal(*limits),
        Ask::Judge { .. } => schema::verdict(),
        Ask::Draft { .. } | Ask::Refine { .. } => schema::draft(),
        Ask::Synthesise { .. } => schema::synthesis(),
    };
    (ask.kind(), schema)
}

/// What a model said as an answer, or what is wrong with it.
fn read(ask: &Ask, said: &str) -> Result<Answer, String> {
    Ok(match ask {
        Ask::Propose { limits, .. } => {
            let (subtasks, edges) = schema::read_proposal(said, *limits)?;
            Answer::Proposal { subtasks, edges }
        }
        Ask::Judge { .. } => {
            let judged = schema::read_verdict(said)?;
            let reason = (!judged.reason.trim().is_empty()).then_some(judged.reason);
            Answer::Verdict { approve: judged.approve, reason }
        }
        Ask::Draft { .. } | Ask::Refine { .. } => {
            let drafted = schema::read_draft(said)?;
            if !drafted.can_answer {
                return Ok(Answer::Declined {
                    reason: "the model says it cannot know the answer".to_owned(),
                });
            }
            Answer::Contribution(Contribution {
                text: drafted.answer,
                evidence: evidence(ask),
                confidence: drafted.confidence,
                complete: drafted.complete,
            })
        }
        Ask::Synthesise { .. } => Answer::Synthesis { text: schema::read_synthesis(said)?, whole: None },
    })
}

/// The evidence the model was shown: an answer over findings rests on what they rest on.
fn evidence(ask: &Ask) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = Vec::new();
    let mut keep = |e: &Evidence| {
        if !evidence.iter().any(|known| known.quote == e.quote) {
            evidence.push(e.clone());
        }
    };
    match ask {
        Ask::Draft { inputs, .. } => inputs.iter().flat_map(|f| &f.evidence).for_each(&mut keep),
        Ask::Refine { inputs, own, peers, .. } => {
            own.evidence.iter().for_each(&mut keep);
            for peer in peers {
                for e in &peer.contribution.evidence {
                    keep(&Evidence { held_by: e.held_by.clone().or(Some(peer.author.clone())), ..e.clone() });
                }
            }
            inputs.iter().flat_map(|f| &f.evidence).for_each(&mut keep);
        }
        Ask::Propose { .. } | Ask::Judge { .. } | Ask::Synthesise { .. } => {}
    }
    evidence.sort_by(|a, b| b.score.total_cmp(&a.score));
    evidence.truncate(MAX_EVIDENCE);
    evidence
}

#[cfg(test)]
mod tests;
