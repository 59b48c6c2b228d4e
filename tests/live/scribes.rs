//! Agents that never keep anybody waiting: readers that describe, and writers that enter into a ledger what they are told
//! to. The ledger is outside the federation and counts every entry, so an entry made twice cannot hide.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::endpoint::{Request, serve};
use crate::federation::agent;

type Entries = Arc<Mutex<BTreeMap<String, usize>>>;

pub(crate) struct Scribes {
    address: SocketAddr,
    entries: Entries,
}

impl Scribes {
    pub(crate) fn new() -> Self {
        let entries = Entries::default();
        let written = Arc::clone(&entries);
        Self { address: serve(move |request| answer(request, &written)), entries }
    }

    /// A reader and a writer, for one node.
    pub(crate) fn agents(&self) -> String {
        let about = "Enters amounts into the ledger of the harbour office";
        self.readers() + &self.section("writer", about, "effects = \"write\"\n")
    }

    /// A reader alone.
    pub(crate) fn readers(&self) -> String {
        let about = "Describes harbours of the coast: piers, cranes, depths and who owns them";
        self.section("reader", about, "")
    }

    fn section(&self, name: &str, about: &str, more: &str) -> String {
        let url = format!("http://{}/v1", self.address);
        let keys = [("description", about), ("base_url", &url), ("model", name)];
        format!("{}concurrency = 4\n{more}\n", agent("openai", name, &keys).trim_end().to_owned() + "\n")
    }

    /// What a job asks for that only reads.
    pub(crate) fn reading(tag: &str) -> String {
        format!("Describe the harbour {tag} of the coast, its piers and its cranes")
    }

    /// What a job asks for that must happen at most once.
    pub(crate) fn writing(tag: &str) -> String {
        format!("Enter the amount {tag} into the ledger of the harbour office")
    }

    /// How often each entry was made.
    pub(crate) fn entries(&self) -> BTreeMap<String, usize> {
        lock(&self.entries).clone()
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, BTreeMap<String, usize>> {
    entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn answer(request: &Request, entries: &Entries) -> Value {
    let subject = &request.subject;
    match request.shape.as_str() {
        "propose" => json!({"subtasks": [{"key": "s1", "description": subject}], "edges": []}),
        "judge" => json!({"approve": true, "reason": ""}),
        "synthesise" => json!({"text": subject}),
        shape => {
            if request.model == "writer" && shape == "draft" {
                *lock(entries).entry(subject.clone()).or_default() += 1;
            }
            json!({"can_answer": true, "answer": format!("Done: {subject}"), "confidence": 0.9, "complete": true})
        }
    }
}
