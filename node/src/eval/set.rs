//! A labelled set on disk: agents, what they can do, and requests with the agents that fit them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The routing sets, in the order they are shown.
pub const NAMES: [&str; 6] = ["livemcp", "mcpbench", "metatool", "lobehub", "sealtools", "clinc150"];

/// Which half of a set's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// What may be looked at while working on the score.
    Dev,
    /// What is kept back to accept a score.
    Heldout,
}

impl Split {
    /// The file's name without its ending.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Heldout => "heldout",
        }
    }
}

/// Why a set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or cannot be read.
    #[error("wanted {what} in {}", path.display())]
    Read {
        /// What was wanted of it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what its file holds.
    #[error("wanted {what}, found something else on line {line} of {}", path.display())]
    Line {
        /// What was wanted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A request or a tool names an agent that is not in the set.
    #[error("wanted agents of the set in {}, found {agent:?}", path.display())]
    UnknownAgent {
        /// The file.
        path: PathBuf,
        /// The name it used.
        agent: String,
    },
}

/// A text an agent does, or answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Agent {
    /// Unique within the set.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Words it is filed under.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl Agent {
    /// The text that stands for it: `name: description [tags]`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}: {}", self.name, self.says())
    }

    /// The same without the name.
    #[must_use]
    pub fn says(&self) -> String {
        match self.tags.as_slice() {
            [] => self.description.clone(),
            tags => format!("{} [{}]", self.description, tags.join(", ")),
        }
    }
}

/// A tool of an agent.
#[derive(Clone, Debug, Deserialize)]
pub struct Tool {
    /// Whose, by id.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
}

#[derive(Debug, Deserialize)]
struct Examples {
    id: String,
    examples: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Labelled {
    query: String,
    gold: Vec<String>,
}

/// A request with the agents that fit it, by their place in the set; none where nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its words.
    pub text: String,
    /// Who fits.
    pub gold: Vec<usize>,
}

/// A labelled set.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its short name.
    pub name: String,
    /// Its agents.
    pub agents: Vec<Agent>,
    /// The tools of each agent.
    pub tools: Vec<Vec<Tool>>,
    /// Requests each agent could put on its card; empty where the set has none.
    pub examples: Vec<Vec<String>>,
    /// The requests to route.
    pub requests: Vec<Request>,
    /// Other labelled requests, which agents may have served before; empty where that is not defined.
    pub past: Vec<Request>,
}

impl Set {
    /// Whether the set is there at all.
    #[must_use]
    pub fn is_at(data: &Path, name: &str) -> bool {
        directory(data, name).join("agents.jsonl").exists()
    }

    /// Reads a set and at most `limit` requests of one half.
    ///
    /// # Errors
    /// When a file is missing or holds something else.
    pub fn read(data: &Path, name: &str, split: Split, limit: Option<usize>) -> Result<Self, Error> {
        let dir = directory(data, name);
        let agents: Vec<Agent> = lines(&dir.join("agents.jsonl"), "agents")?;
        let places: BTreeMap<&str, usize> = agents.iter().map(|a| a.id.as_str()).zip(0..).collect();
        let place = |agent: &str, path: &Path| {
            let unknown = || Error::UnknownAgent { path: path.to_owned(), agent: agent.to_owned() };
            places.get(agent).copied().ok_or_else(unknown)
        };
        let mut tools = vec![Vec::new(); agents.len()];
        let path = dir.join("tools.jsonl");
        for tool in optional::<Tool>(&path, "tools")? {
            tools[place(&tool.agent, &path)?].push(tool);
        }
        let mut examples = vec![Vec::new(); agents.len()];
        let path = dir.join("examples.jsonl");
        for own in optional::<Examples>(&path, "examples")? {
            examples[place(&own.id, &path)?] = own.examples;
        }
        let requests = |split: Split| {
            let path = dir.join(format!("{}.jsonl", split.name()));
            let rows: Vec<Labelled> = lines(&path, "labelled requests")?;
            rows.into_iter()
                .map(|row| {
                    let gold = row.gold.iter().map(|agent| place(agent, &path)).collect::<Result<_, _>>()?;
                    Ok(Request { text: row.query, gold })
                })
                .collect::<Result<Vec<_>, Error>>()
        };
        let mut wanted = requests(split)?;
        wanted.truncate(limit.unwrap_or(usize::MAX));
        // Of these sets only this one has many requests of one agent on both sides.
        let past = match (name, split) {
            ("metatool", Split::Heldout) => requests(Split::Dev)?,
            _ => Vec::new(),
        };
        Ok(Self { name: name.to_owned(), agents, tools, examples, requests: wanted, past })
    }

    /// Whether what agents did before is part of the set.
    #[must_use]
    pub fn has_past(&self) -> bool {
        self.name == "metatool"
    }

    /// Whether agents could put requests on their cards.
    #[must_use]
    pub fn has_examples(&self) -> bool {
        self.examples.iter().any(|own| !own.is_empty())
    }
}

/// Agents of no set, to stand among those of one.
///
/// # Errors
/// When the file is missing or holds something else.
pub fn corpus(data: &Path) -> Result<Vec<Agent>, Error> {
    lines(&data.join("agent_corpus").join("agents.jsonl"), "agents without labels")
}

fn directory(data: &Path, name: &str) -> PathBuf {
    let plain = data.join(name);
    if plain.exists() { plain } else { data.join(format!("route_{name}")) }
}

fn optional<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Vec<T>, Error> {
    if path.exists() { lines(path, what) } else { Ok(Vec::new()) }
}

fn lines<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Vec<T>, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { what, path: path.to_owned(), source })?;
    text.lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(text, line)| {
            serde_json::from_str(text).map_err(|source| Error::Line {
                what,
                path: path.to_owned(),
                line,
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        fs::write(dir.join(name), text).unwrap();
    }

    fn example() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("route_small");
        fs::create_dir(&dir).unwrap();
        write(
            &dir,
            "agents.jsonl",
            r#"{"id":"a","name":"A","description":"adds","tags":["maths","sums"],"more":1}
{"id":"b","name":"B","description":"bakes"}
"#,
        );
        write(&dir, "tools.jsonl", r#"{"agent":"b","name":"oven","description":"heats"}"#);
        write(
            &dir,
            "dev.jsonl",
            "{\"query\":\"one and one\",\"gold\":[\"a\"]}\n\n{\"query\":\"what\",\"gold\":[]}\n",
        );
        data
    }

    #[test]
    fn reads_agents_tools_and_requests() {
        let data = example();
        assert!(Set::is_at(data.path(), "small") && !Set::is_at(data.path(), "large"));
        let set = Set::read(data.path(), "small", Split::Dev, None).unwrap();
        assert_eq!(
            set.agents.iter().map(Agent::text).collect::<Vec<_>>(),
            ["A: adds [maths, sums]", "B: bakes"]
        );
        assert_eq!((set.tools[0].len(), set.tools[1].len()), (0, 1));
        assert_eq!(set.requests[0].gold, [0]);
        assert!(set.requests[1].gold.is_empty() && !set.has_examples());
        assert_eq!(Set::read(data.path(), "small", Split::Dev, Some(1)).unwrap().requests.len(), 1);
    }

    #[test]
    fn says_what_it_wanted() {
        let data = example();
        let missing = Set::read(data.path(), "small", Split::Heldout, None).unwrap_err().to_string();
        assert!(missing.starts_with("wanted labelled requests in ") && missing.ends_with("heldout.jsonl"));
        let dir = data.path().join("route_small");
        write(&dir, "heldout.jsonl", r#"{"query":"x","gold":["nobody"]}"#);
        let unknown = Set::read(data.path(), "small", Split::Heldout, None).unwrap_err().to_string();
        assert!(unknown.ends_with("found \"nobody\""), "{unknown}");
        write(&dir, "heldout.jsonl", "{}");
        let wrong = Set::read(data.path(), "small", Split::Heldout, None).unwrap_err().to_string();
        assert!(wrong.contains("line 1"), "{wrong}");
    }
}
