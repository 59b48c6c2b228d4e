//! Our agents at work: each piece of work in a task of its own, that a deadline or a withdrawal ends.

use std::collections::HashMap;
use std::sync::Arc;

use foa_node_core::Input;
use foa_node_core::effect::NoAnswer;
use foa_wire::{AgentId, AgentName, NodeId, WorkId};
use foa_workflows::work::{Ask, Usage};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::now;
use super::shell::Told;
use crate::agent::{Agent, Context, Failure, ProgressSender, Reply};
use crate::artifact::ArtifactStore;
use crate::artifact::given::{give, shorten};

/// Pieces of progress that may wait for one piece of work.
const PROGRESS: usize = 16;

/// The agents of this node and what they are doing.
pub(super) struct Agents {
    node: NodeId,
    agents: HashMap<AgentName, Arc<dyn Agent>>,
    running: HashMap<WorkId, CancellationToken>,
    artifacts: ArtifactStore,
    inputs: mpsc::UnboundedSender<Told>,
}

impl Agents {
    pub(super) fn new(
        node: NodeId,
        agents: Vec<Arc<dyn Agent>>,
        artifacts: ArtifactStore,
        inputs: mpsc::UnboundedSender<Told>,
    ) -> Self {
        let agents = agents.into_iter().map(|agent| (agent.profile().name, agent)).collect();
        Self { node, agents, running: HashMap::new(), artifacts, inputs }
    }

    /// Has an agent think. Its answer arrives as an input.
    pub(super) fn ask(&mut self, work: WorkId, name: AgentName, mut ask: Ask, deadline: Instant) {
        let Some(agent) = self.agents.get(&name).cloned() else {
            let outcome = Err(no_answer("unknown-agent", format!("no agent here is called {name}")));
            self.tell(Input::Answered { work, outcome, usage: Usage::default() });
            return;
        };
        let cancelled = CancellationToken::new();
        self.running.insert(work.clone(), cancelled.clone());
        let (progress, mut shown) = mpsc::channel(PROGRESS);
        let context = Context {
            agent: AgentId::new(name, self.node.clone()),
            deadline,
            progress: ProgressSender::new(progress),
            cancelled: cancelled.clone(),
        };
        let inputs = self.inputs.clone();
        let artifacts = self.artifacts.clone();
        let (id, told) = (work.clone(), self.inputs.clone());
        tokio::spawn(async move {
            while let Some(text) = shown.recv().await {
                if told.send(Told::Input(Input::Working { work: id.clone(), text })).is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            // A panic in an agent is that agent's failure, never the node's.
            let (id, asked, artifacts) = (work.clone(), context.agent.clone(), artifacts);
            let thinking = tokio::spawn(async move {
                let store = artifacts.clone();
                let ask = blocking(move || {
                    give(&mut ask, &store, now());
                    ask
                });
                let reply = agent.answer(ask.await, context).await?;
                let shortened = blocking(move || shorten(reply.answer, &id, &asked, &artifacts, now()));
                match shortened.await {
                    Ok(answer) => Ok(Reply { answer, usage: reply.usage }),
                    Err(error) => Err(Failure::Unavailable {
                        reason: format!("the answer is too long for a message, and {error}"),
                    }),
                }
            });
            let abort = thinking.abort_handle();
            let (outcome, usage) = tokio::select! {
                answered = thinking => match answered {
                    Ok(Ok(reply)) => (Ok(reply.answer), reply.usage),
                    Ok(Err(failure)) => {
                        let usage = failure.usage();
                        (Err(no_answer(failure.name(), failure.to_string())), usage)
                    }
                    Err(panic) => (Err(no_answer("crashed", panic.to_string())), Usage::default()),
                },
                () = cancelled.cancelled() => {
                    abort.abort();
                    return;
                }
                () = tokio::time::sleep_until(deadline) => {
                    abort.abort();
                    let detail = "the agent did not answer before the deadline".to_owned();
                    (Err(no_answer("timeout", detail)), Usage::default())
                }
            };
            // The node that asked may have ended.
            let _ = inputs.send(Told::Input(Input::Answered { work, outcome, usage }));
        });
    }

    /// An answer that is no longer wanted.
    pub(super) fn abort(&mut self, work: &WorkId) {
        if let Some(token) = self.running.remove(work) {
            token.cancel();
        }
    }

    /// Forgets the token of work that was answered.
    pub(super) fn answered(&mut self, work: &WorkId) {
        self.running.remove(work);
    }

    fn tell(&self, input: Input) {
        let _ = self.inputs.send(Told::Input(input));
    }
}

/// Has a thread that may wait for the disk do it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("reading and writing artifacts does not panic")
}

fn no_answer(reason: &str, detail: String) -> NoAnswer {
    NoAnswer { reason: reason.to_owned(), detail }
}
