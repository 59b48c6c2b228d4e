//! What is measured on: clustered vectors as they come over the wire, cards that carry them, and tasks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use foa_capability::card::CARD_TTL;
use foa_capability::profile::{AgentProfile, Effects};
use foa_capability::{AgentCard, Embedding, ModelId, Money, Offer, Presence, Query, Vector};
use foa_wire::{AgentId, Boot, Connection, NodeId, NodeKey, Sequence, Time, Version};

/// Components of a vector, as all-MiniLM-L6-v2 makes them.
pub(super) const DIMENSION: usize = 384;
/// Agents of one node; a directory takes no more than ten thousand.
pub(super) const AGENTS_PER_NODE: usize = 5_000;
/// Vectors around one centre.
const PER_CLUSTER: usize = 100;
/// How far vectors lie from their centre, in every direction: two of a cluster have a cosine of 0.67, and the ten nearest
/// of a hundred are hard to tell from the others.
const SPREAD: f32 = 0.7;
/// When all of it happens.
pub(super) const NOW: Time = Time::from_millis(1_769_851_800_000);

/// A small generator whose numbers are the same everywhere (splitmix64).
#[derive(Clone)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    /// Four numbers, each the sum of uniforms: near enough to normal, of variance 1.
    fn normals(&mut self) -> [f32; 2] {
        let (a, b) = (self.next(), self.next());
        let sum = |shift: u32| {
            let part = |bits: u64, at: u32| ((bits >> at) & 0xffff) as f32 / 65536.0 - 0.5;
            part(a, shift) + part(a, shift + 16) + part(b, shift) + part(b, shift + 16)
        };
        [sum(0) * 1.732, sum(32) * 1.732]
    }

    fn around(&mut self, centre: &[f32], spread: f32) -> Vec<f32> {
        let mut out = Vec::with_capacity(centre.len() + 1);
        while out.len() < centre.len() {
            for x in self.normals() {
                out.push(centre.get(out.len()).copied().unwrap_or(0.0) + spread * x);
            }
        }
        out.truncate(centre.len());
        out
    }
}

/// So many agents and the tasks they are asked for, always the same.
pub(super) struct Workload {
    seed: u64,
    clusters: usize,
}

impl Workload {
    pub(super) fn new(agents: usize) -> Self {
        Self { seed: 7, clusters: (agents / PER_CLUSTER).max(10) }
    }

    fn centre(&self, cluster: usize) -> Vec<f32> {
        Numbers::new(self.seed ^ (cluster as u64) << 20).around(&[0.0; DIMENSION], 1.0)
    }

    /// The vector of an agent; `version` says which one, for those that change.
    pub(super) fn vector(&self, agent: usize, version: u64) -> Vector {
        let centre = self.centre(agent % self.clusters);
        let mut numbers = Numbers::new(self.seed ^ 0xa6e7 ^ version << 40 ^ (agent as u64) << 4);
        Vector::new(numbers.around(&centre, SPREAD)).expect("random numbers are a direction")
    }

    /// The vector of a task.
    pub(super) fn task(&self, number: usize) -> Vector {
        let mut numbers = Numbers::new(self.seed ^ 0x7a5c ^ (number as u64) << 24);
        let cluster = numbers.below(self.clusters);
        let centre = self.centre(cluster);
        Vector::new(numbers.around(&centre, SPREAD)).expect("random numbers are a direction")
    }

    /// The words of an agent or a task of a cluster: some of the cluster's own, some that anybody uses.
    fn words(&self, cluster: usize, numbers: &mut Numbers, count: usize) -> String {
        let mut text = String::new();
        for i in 0..count {
            let word = if i % 3 == 0 {
                100_000 + cluster * 7 + numbers.below(12)
            } else {
                // Zipf's law, roughly: the word of rank r is used in proportion to 1/r.
                let exponent = numbers.below(1 << 20) as f64 / f64::from(1 << 20);
                20_000_f64.powf(exponent) as usize
            };
            let _ = write!(text, "{}{}", if i == 0 { "" } else { " " }, spell(word));
        }
        text
    }

    /// A task as the directory is asked it.
    pub(super) fn query(&self, number: usize) -> Query {
        let mut numbers = Numbers::new(self.seed ^ 0x7a5c ^ (number as u64) << 24);
        let cluster = numbers.below(self.clusters);
        let text = self.words(cluster, &mut numbers, 14);
        Query::new(text, self.task(number))
    }

    /// The node an agent lives on.
    pub(super) fn node(&self, agent: usize) -> (NodeId, NodeKey) {
        let number = agent / AGENTS_PER_NODE;
        let key = NodeKey::from_seed([u8::try_from(number % 251).expect("below 251"); 32]);
        (NodeId::new(format!("bench-{number}").parse().expect("a plain name"), &key.public()), key)
    }

    /// The signed card of an agent with one vector.
    pub(super) fn card(&self, agent: usize, version: u64) -> AgentCard {
        let (node, key) = self.node(agent);
        let mut numbers = Numbers::new(self.seed ^ 0xca2d ^ version << 40 ^ (agent as u64) << 4);
        let profile = AgentProfile {
            name: format!("a{agent}").parse().expect("a letter and digits are a name"),
            description: self.words(agent % self.clusters, &mut numbers, 18),
            skills: Vec::new(),
            policies: BTreeSet::from(
                [if agent.is_multiple_of(2) { "gdpr" } else { "us" }]
                    .map(|policy| policy.parse().expect("a plain word is a policy")),
            ),
            offer: Offer {
                price: Money(i64::try_from(numbers.below(100)).expect("small") * 100),
                concurrency: 4,
                ..Offer::default()
            },
            spec: None,
            effects: Effects::Read,
            kind: "bench".to_owned(),
            base_model: None,
            base: foa_capability::Base::default(),
        };
        let id = AgentId::new(profile.name.clone(), node);
        let embedding = Embedding { model: model(), vectors: vec![self.vector(agent, version)] };
        let version = Version(version + 1);
        AgentCard::issue(&profile, &[embedding], id, Boot(1), version, NOW, CARD_TTL, &key)
            .expect("a card of one vector is valid")
    }
}

/// The model the vectors claim to be of.
pub(super) fn model() -> ModelId {
    format!("bench/{DIMENSION}@0123456789ab").parse().expect("a model id")
}

/// Presence of a node that is there.
pub(super) fn online() -> Presence {
    Presence {
        online: true,
        boot: Boot(1),
        connection: Connection(1),
        seq: Sequence(1),
        load: std::collections::BTreeMap::new(),
    }
}

/// A word of its own for each number.
fn spell(mut number: usize) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo", "da", "fe", "gu", "ho", "ja", "be", "zu", "pi"];
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[number % 16]);
        number /= 16;
        if number == 0 {
            return word + "n";
        }
    }
}
