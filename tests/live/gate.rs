//! A language model behind an OpenAI-compatible endpoint that thinks until the test lets it speak: a job stands still at
//! a known point for as long as something is done to the federation.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::{Value, json};

use crate::endpoint::{Request, serve};
use crate::federation::{PATIENCE, agent};

/// A draft that waits for the test's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    number: usize,
    /// The model it was asked of: one name for each agent tells them apart.
    pub(crate) model: String,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    open: bool,
    drafts: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the model always answers.
pub(crate) const ANSWER: &str = "The harbour of Eskby has three piers and a crane.";

impl Gate {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let address = serve(move |request| answer(request, &served));
        Self { address, shared }
    }

    /// An agent that thinks with this model.
    pub(crate) fn agent(&self, name: &str, model: &str) -> String {
        let url = format!("http://{}/v1", self.address);
        let about = "Knows the harbours of the coast: piers, cranes, depths and who owns them";
        let section = agent("openai", name, &[("description", about), ("base_url", &url), ("model", model)]);
        format!("{section}concurrency = 4\n\n")
    }

    /// Waits until this many drafts are held.
    pub(crate) fn holds(&self, wanted: usize) -> Vec<Held> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.held.len() < wanted {
            let left = until.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("wanted {wanted} held drafts, found {:?}", state.held));
            state = self.shared.wait(state, left);
        }
        state.held.clone()
    }

    /// Lets this one draft go.
    pub(crate) fn release(&self, held: &Held) {
        self.shared.lock().held.retain(|h| h != held);
        self.shared.changed.notify_all();
    }

    /// Lets all go, now and from now on.
    pub(crate) fn open(&self) {
        let mut state = self.shared.lock();
        state.open = true;
        state.held.clear();
        self.shared.changed.notify_all();
    }

    /// Holds again what comes from now on.
    pub(crate) fn close(&self) {
        self.shared.lock().open = false;
    }

    /// How many drafts were ever asked for.
    pub(crate) fn drafts(&self) -> usize {
        self.shared.lock().drafts
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: std::time::Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    /// Returns when the test lets this draft go.
    fn hold(&self, model: &str) {
        let mut state = self.lock();
        state.drafts += 1;
        if state.open {
            return;
        }
        let held = Held { number: state.drafts, model: model.to_owned() };
        state.held.push(held.clone());
        self.changed.notify_all();
        while state.held.contains(&held) {
            state = self.wait(state, PATIENCE);
        }
    }
}

fn answer(request: &Request, shared: &Shared) -> Value {
    match request.shape.as_str() {
        "propose" => {
            let subtask = json!({"key": "s1", "description": "Describe the harbour of Eskby"});
            json!({"subtasks": [subtask], "edges": []})
        }
        "judge" => json!({"approve": true, "reason": ""}),
        "synthesise" => json!({"text": ANSWER}),
        shape => {
            if shape == "draft" {
                shared.hold(&request.model);
            }
            json!({"can_answer": true, "answer": ANSWER, "confidence": 0.9, "complete": true})
        }
    }
}
