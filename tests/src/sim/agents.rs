//! Agents that follow a script: what they answer depends on the seed and the question alone.

use std::collections::BTreeSet;
use std::time::Duration;

use foa_capability::profile::{AgentProfile, Effects};
use foa_capability::resources::Offer;
use foa_capability::skills::Skill;
use foa_capability::{ModelId, Money, Policy, Vector};
use foa_node_core::effect::NoAnswer;
use foa_wire::WorkId;
use foa_workflows::engine::SYNTHESIS_SKILL;
use foa_workflows::work::{Answer, Ask, Contribution, Evidence, PartOutcome, ProposedSubtask, Usage};
use serde::{Deserialize, Serialize};

use super::random::{Random, fnv};

/// Numbers in a vector of the simulated embedding model.
const DIMENSION: usize = 64;

/// Subjects and the words that belong to them.
const SUBJECTS: [(&str, [&str; 5]); 10] = [
    ("tax", ["invoice", "vat", "deduction", "receipt", "filing"]),
    ("harbour", ["ship", "berth", "crane", "pilot", "tide"]),
    ("weather", ["rain", "wind", "frost", "forecast", "storm"]),
    ("bread", ["flour", "yeast", "oven", "dough", "crust"]),
    ("rail", ["train", "platform", "signal", "timetable", "freight"]),
    ("forest", ["oak", "moss", "deer", "timber", "trail"]),
    ("clinic", ["patient", "nurse", "dose", "ward", "triage"]),
    ("music", ["violin", "chord", "tempo", "score", "choir"]),
    ("roof", ["tile", "gutter", "beam", "ladder", "slate"]),
    ("garden", ["seed", "compost", "pruning", "hedge", "tulip"]),
];

/// Words an agent knows of a subject that has many.
pub const KNOWN_WORDS: usize = 6;

/// The policy that some jobs require and some agents have.
pub const POLICY: &str = "gdpr";

/// How an agent behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Answers what it can.
    Honest,
    /// The same, after a long while.
    Slow,
    /// Never answers.
    Silent,
    /// Says that it cannot.
    Declining,
    /// Breaks.
    Failing,
    /// Answers with nonsense: cycles, far too much, the wrong kind, entries of others.
    Lying,
    /// Charges more than it said.
    Greedy,
    /// Changes something in the world; must do each work at most once.
    Writing,
    /// Claims to know every subject, and never delivers.
    Boasting,
}

impl Manner {
    /// Everything but honest, for the short scenario. Its seeds mean what they mean while this stays as it is.
    pub const ALL: [Self; 7] =
        [Self::Slow, Self::Silent, Self::Declining, Self::Failing, Self::Lying, Self::Greedy, Self::Writing];
}

/// An agent of the simulation.
#[derive(Clone, Debug)]
pub struct Agent {
    /// As its node describes it.
    pub profile: AgentProfile,
    /// How it behaves.
    pub manner: Manner,
    /// How finely it splits tasks: 0 one step per clause in order, 1 the same without order, 2 as a whole.
    pub grain: usize,
}

/// What comes of a question.
#[derive(Clone, Debug)]
pub struct Thought {
    /// How long it takes.
    pub takes: Duration,
    /// The answer; `None` when there never is one.
    pub outcome: Option<Result<Answer, NoAnswer>>,
    /// What it costs.
    pub usage: Usage,
}

/// An embedding model of the simulation. A text means the same to both, and one's vectors mean nothing to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// That of [`embed`].
    #[default]
    Words,
    /// The same, every vector mirrored.
    Mirrored,
}

impl Model {
    /// Its id.
    #[must_use]
    pub fn id(self) -> ModelId {
        let (name, hash) = match self {
            Self::Words => ("hashed-words", "51a0"),
            Self::Mirrored => ("mirrored-words", "0a15"),
        };
        format!("{name}/{DIMENSION}@{hash}").parse().expect("a model id as documented")
    }

    /// The meaning of a text.
    #[must_use]
    pub fn embed(self, text: &str) -> Vector {
        let vector = embed(text);
        match self {
            Self::Words => vector,
            Self::Mirrored => {
                let mirrored = vector.as_slice().iter().rev().copied().collect();
                Vector::new(mirrored).expect("as long as it was")
            }
        }
    }
}

/// The simulated embedding model.
#[must_use]
pub fn model() -> ModelId {
    Model::Words.id()
}

/// The meaning of a text: its words, hashed. Texts that share words are near.
#[must_use]
pub fn embed(text: &str) -> Vector {
    // A little of everything, so that no text is without a direction.
    let mut raw = vec![0.01; DIMENSION];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|w| w.len() > 2) {
        let hash = fnv(word.to_lowercase().as_bytes());
        let at = usize::try_from(hash % DIMENSION as u64).unwrap_or(0);
        raw[at] += 1.0;
    }
    Vector::new(raw).expect("a sum of positive numbers has a direction")
}

/// A task of two or three steps about different subjects.
#[must_use]
pub fn task(random: &mut Random) -> String {
    let steps = 2 + random.below(2);
    let first = random.below(SUBJECTS.len());
    let clauses: Vec<String> = (0..steps)
        .map(|step| {
            let (subject, words) = SUBJECTS[(first + 3 * step) % SUBJECTS.len()];
            let word = random.below(words.len());
            format!("find the {subject} {} and {}", words[word], words[(word + 1) % words.len()])
        })
        .collect();
    clauses.join("; then ")
}

/// So many words of a subject that has `vocabulary` of them.
fn drawn(subject: &str, count: usize, vocabulary: usize, random: &mut Random) -> String {
    let words: Vec<String> = (0..count).map(|_| format!("{subject}{}", random.below(vocabulary))).collect();
    words.join(" ")
}

/// A request about a few words of one subject.
#[must_use]
pub fn request(vocabulary: usize, random: &mut Random) -> String {
    let (subject, _) = SUBJECTS[random.below(SUBJECTS.len())];
    format!("find the {subject} {}", drawn(subject, KNOWN_WORDS / 2, vocabulary, random))
}

impl Agent {
    /// The same, with its own choice of its subject's words.
    #[must_use]
    pub fn knowing(mut self, vocabulary: usize, random: &mut Random) -> Self {
        let subject = self.profile.skills[0].id.clone();
        let words = drawn(&subject, KNOWN_WORDS, vocabulary, random);
        self.profile.description = format!("find the {subject} {words}");
        self.profile.skills[0].description = self.profile.description.clone();
        self
    }

    /// Agent number `n` of a federation.
    #[must_use]
    pub fn new(n: usize, manner: Manner, price: i64, random: &mut Random) -> Self {
        let (subject, words) = SUBJECTS[n % SUBJECTS.len()];
        let mut skills = vec![skill(subject, &words)];
        if manner == Manner::Boasting {
            skills = SUBJECTS.iter().map(|(subject, words)| skill(subject, words)).collect();
        }
        if n.is_multiple_of(7) {
            skills.push(Skill {
                id: SYNTHESIS_SKILL.to_owned(),
                name: "synthesis".to_owned(),
                description: "puts parts together".to_owned(),
                ..Skill::default()
            });
        }
        let policies: BTreeSet<Policy> =
            if random.chance(0.6) { BTreeSet::from([policy()]) } else { BTreeSet::new() };
        let profile = AgentProfile {
            name: format!("{subject}-{n}").parse().expect("a word and a number make a name"),
            description: format!("find the {subject} {}", words.join(" ")),
            skills,
            policies,
            offer: Offer {
                price: Money(price),
                concurrency: 1 + u32::try_from(random.below(3)).unwrap_or(0),
                latency_ms: Some(100),
                ..Offer::default()
            },
            spec: None,
            effects: if manner == Manner::Writing { Effects::Write } else { Effects::Read },
            kind: "scripted".to_owned(),
            base_model: None,
            base: foa_capability::Base::default(),
        };
        Self { profile, manner, grain: random.below(3) }
    }

    /// What it answers to a question.
    #[must_use]
    pub fn think(&self, work: &WorkId, ask: &Ask, seed: u64) -> Thought {
        let mut random = Random::of(seed, &format!("{work} {}", self.profile.name));
        let takes = match self.manner {
            Manner::Slow => random.millis(8_000, 40_000),
            Manner::Honest
            | Manner::Silent
            | Manner::Declining
            | Manner::Failing
            | Manner::Lying
            | Manner::Greedy
            | Manner::Writing
            | Manner::Boasting => random.millis(20, 600),
        };
        let price = self.profile.offer.price;
        let charged = if self.manner == Manner::Greedy { price + price + Money(7) } else { price };
        let usage = Usage { tokens_in: 10, tokens_out: 20, cost: charged, model: None };
        let outcome = match self.manner {
            Manner::Silent => None,
            Manner::Failing => {
                Some(Err(NoAnswer { reason: "broken".to_owned(), detail: "it always breaks".to_owned() }))
            }
            Manner::Boasting => match random.below(3) {
                0 => None,
                1 => Some(Ok(lie(ask, &mut random))),
                _ => Some(Ok(Answer::Declined { reason: "not today".to_owned() })),
            },
            Manner::Declining => Some(Ok(Answer::Declined { reason: "not mine".to_owned() })),
            Manner::Lying => Some(Ok(lie(ask, &mut random))),
            Manner::Honest | Manner::Slow | Manner::Greedy | Manner::Writing => {
                Some(Ok(self.honest(ask, &mut random)))
            }
        };
        Thought { takes, outcome, usage }
    }

    fn honest(&self, ask: &Ask, random: &mut Random) -> Answer {
        match ask {
            Ask::Propose { task, .. } => self.propose(task),
            Ask::Judge { .. } => {
                let approve = random.chance(0.9);
                let reason = (!approve).then(|| "a step is missing".to_owned());
                Answer::Verdict { approve, reason }
            }
            Ask::Draft { subtask, inputs, .. } => {
                let mine = self.profile.skills.iter().any(|s| subtask.description.contains(&s.id));
                if !mine && random.chance(0.5) {
                    return Answer::Declined { reason: "that is not my subject".to_owned() };
                }
                let before: Vec<&str> = inputs.iter().map(|f| f.subtask.as_str()).collect();
                let text = format!(
                    "{}: known by {} after {}",
                    subtask.description,
                    self.profile.name,
                    before.join(" ")
                );
                Answer::Contribution(self.contribution(text, if mine { 0.9 } else { 0.3 }, false))
            }
            Ask::Refine { subtask, own, peers, round, .. } => {
                let heard =
                    peers.iter().map(|p| p.contribution.text.split(" after ").next().unwrap_or_default());
                let mut all: Vec<&str> =
                    heard.chain([own.text.split(" after ").next().unwrap_or_default()]).collect();
                all.sort_unstable();
                all.dedup();
                let text = format!("{}; agreed on {}", subtask.description, all.join(" and "));
                Answer::Contribution(self.contribution(text, own.confidence, *round > 1))
            }
            Ask::Synthesise { parts, .. } => {
                let said = parts.iter().filter_map(|part| match &part.outcome {
                    PartOutcome::Answered { text, .. } => Some(text.as_str()),
                    PartOutcome::Failed { .. } => None,
                });
                let text = said.collect::<Vec<_>>().join("\n");
                Answer::Synthesis { text: format!("Together: {text}"), whole: None }
            }
        }
    }

    fn propose(&self, task: &str) -> Answer {
        let clauses: Vec<&str> = if self.grain == 2 { vec![task] } else { task.split("; then ").collect() };
        let subtasks: Vec<ProposedSubtask> = clauses
            .iter()
            .enumerate()
            .map(|(n, clause)| ProposedSubtask {
                key: format!("step-{n}"),
                description: (*clause).to_owned(),
                ..ProposedSubtask::default()
            })
            .collect();
        let edges = if self.grain == 0 {
            (1..subtasks.len()).map(|n| [format!("step-{}", n - 1), format!("step-{n}")]).collect()
        } else {
            Vec::new()
        };
        Answer::Proposal { subtasks, edges }
    }

    fn contribution(&self, text: String, confidence: f64, complete: bool) -> Contribution {
        let evidence = Evidence {
            quote: text.clone(),
            source: format!("notes of {}", self.profile.name),
            held_by: None,
            score: confidence,
            artifact: None,
        };
        Contribution { text, evidence: vec![evidence], confidence, complete }
    }
}

fn skill(subject: &str, words: &[&str]) -> Skill {
    Skill {
        id: subject.to_owned(),
        name: subject.to_owned(),
        description: format!("knows {}", words.join(" ")),
        ..Skill::default()
    }
}

/// The policy of [`POLICY`].
#[must_use]
pub fn policy() -> Policy {
    POLICY.parse().expect("a policy as documented")
}

fn lie(ask: &Ask, random: &mut Random) -> Answer {
    let step = |key: &str| ProposedSubtask {
        key: key.to_owned(),
        description: format!("do {key}"),
        ..ProposedSubtask::default()
    };
    let edge = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
    let nonsense = |text: &str, confidence: f64| {
        Answer::Contribution(Contribution {
            text: text.to_owned(),
            evidence: Vec::new(),
            confidence,
            complete: true,
        })
    };
    match (ask, random.below(5)) {
        (Ask::Propose { .. }, 0) => Answer::Proposal {
            subtasks: vec![step("a"), step("b")],
            edges: vec![edge("a", "b"), edge("b", "a")],
        },
        (Ask::Propose { .. }, 1) => Answer::Proposal {
            subtasks: (0..200).map(|n| step(&format!("s{n}"))).collect(),
            edges: Vec::new(),
        },
        (Ask::Propose { .. }, 2) => {
            Answer::Proposal { subtasks: vec![step("a"), step("a")], edges: vec![edge("a", "nowhere")] }
        }
        (Ask::Propose { .. }, 3) => Answer::Proposal { subtasks: Vec::new(), edges: Vec::new() },
        (Ask::Judge { .. }, 0) => Answer::Synthesis { text: "yes".to_owned(), whole: None },
        (Ask::Judge { .. }, n) => Answer::Verdict { approve: n % 2 == 0, reason: None },
        (Ask::Draft { .. } | Ask::Refine { .. }, 0) => {
            Answer::Synthesis { text: "not what was asked".to_owned(), whole: None }
        }
        (Ask::Draft { .. } | Ask::Refine { .. }, 1) => nonsense("   ", 1.0),
        (Ask::Draft { .. } | Ask::Refine { .. }, 2) => nonsense("everything is certain", 900.0),
        (Ask::Draft { .. } | Ask::Refine { .. }, 3) => nonsense("nothing is a number", f64::NAN),
        (Ask::Synthesise { .. }, 0) => Answer::Synthesis { text: String::new(), whole: None },
        (Ask::Synthesise { .. }, 1) => Answer::Declined { reason: "too much work".to_owned() },
        (Ask::Propose { .. } | Ask::Draft { .. } | Ask::Refine { .. } | Ask::Synthesise { .. }, _) => {
            Answer::Verdict { approve: true, reason: Some("wrong kind of answer".to_owned()) }
        }
    }
}
