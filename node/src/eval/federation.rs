//! A set as a federation: every agent with a signed card in a directory, as nodes keep them.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::parts;
use foa_capability::profile::{AgentProfile, Effects};
use foa_capability::reputation::Outcome;
use foa_capability::{
    AgentCard, Base, Directory, Embedding, InvalidCard, Offer, Presence, Query, Rejected, Skill, Vector,
};
use foa_wire::{AgentId, AgentName, Boot, Connection, NodeId, NodeKey, Sequence, Time, Version};
use serde_json::json;

use super::metrics::Answer;
use super::set::{Agent, Request, Set};
use super::texts::{Embedded, Error as TextError};

/// Agents of one node at most; a directory takes no more than ten thousand.
const AGENTS_PER_NODE: usize = 5_000;
/// When all of it happens: nothing fades meanwhile.
const NOW: Time = Time::from_millis(1_769_851_800_000);

/// Why a set cannot be made a federation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text has no vector.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An agent cannot have a card.
    #[error("wanted a card of {agent}")]
    Card {
        /// Which agent of the set.
        agent: String,
        /// Why not.
        source: InvalidCard,
    },
    /// The directory does not take a card.
    #[error("wanted {agent} in the directory")]
    Rejected {
        /// Which agent of the set.
        agent: String,
        /// Why not.
        source: Rejected,
    },
}

/// The directory of a set's agents, and who is who in it.
pub struct Federation {
    directory: Directory,
    ids: Vec<AgentId>,
    places: BTreeMap<AgentId, usize>,
}

/// The profiles of a set's agents, with the requests they could answer on their cards or without, then those of `more`
/// agents.
#[must_use]
pub fn profiles(set: &Set, examples: bool, more: &[Agent]) -> Vec<AgentProfile> {
    let own = set.agents.iter().enumerate().map(|(place, agent)| {
        let mut skills: Vec<Skill> = set.tools[place]
            .iter()
            .map(|tool| Skill {
                id: tool.name.clone(),
                name: tool.name.clone(),
                description: tool.description.clone(),
                ..Skill::default()
            })
            .collect();
        if examples && !set.examples[place].is_empty() {
            let examples = set.examples[place].clone();
            skills.push(Skill {
                id: agent.id.clone(),
                name: agent.name.clone(),
                examples,
                ..Skill::default()
            });
        }
        profile(place, agent, skills)
    });
    own.chain((set.agents.len()..).zip(more).map(|(place, agent)| profile(place, agent, Vec::new())))
        .collect()
}

/// What the plain arms go by, for the same agents: the text of each agent, of its tools and of its examples, as they are.
#[must_use]
pub fn plain_texts(set: &Set, examples: bool, more: &[Agent]) -> Vec<Vec<String>> {
    let own = set.agents.iter().enumerate().map(|(place, agent)| {
        let tools = set.tools[place].iter().map(|tool| format!("{}. {}", tool.name, tool.description));
        let examples = set.examples[place].iter().filter(|_| examples).cloned();
        std::iter::once(agent.text()).chain(tools).chain(examples).collect()
    });
    own.chain(more.iter().map(|agent| vec![agent.text()])).collect()
}

fn profile(place: usize, agent: &Agent, skills: Vec<Skill>) -> AgentProfile {
    AgentProfile {
        name: AgentProfile::name_for(&agent.name).unwrap_or_else(|| numbered(place)),
        description: agent.says(),
        skills,
        policies: BTreeSet::new(),
        offer: Offer::default(),
        spec: None,
        effects: Effects::Read,
        kind: "eval".to_owned(),
        base_model: None,
        base: Base::of(&json!({ "name": agent.name })),
    }
}

/// The name of an agent whose own has no letter that a name can hold.
fn numbered(place: usize) -> AgentName {
    format!("agent-{place}").parse().expect("plain letters, digits and dashes are a name")
}

/// Which node each agent is on: the first that has room and nobody of that name.
fn nodes(profiles: &[AgentProfile]) -> Vec<Vec<usize>> {
    let mut nodes: Vec<(BTreeSet<&AgentName>, Vec<usize>)> = Vec::new();
    for (place, profile) in profiles.iter().enumerate() {
        let has_room = |(names, _): &(BTreeSet<&AgentName>, Vec<usize>)| {
            names.len() < AGENTS_PER_NODE && !names.contains(&profile.name)
        };
        let at = nodes.iter().position(has_room).unwrap_or_else(|| {
            nodes.push(Default::default());
            nodes.len() - 1
        });
        nodes[at].0.insert(&profile.name);
        nodes[at].1.push(place);
    }
    nodes.into_iter().map(|(_, places)| places).collect()
}

impl Federation {
    /// Issues the cards of these agents and puts them into a directory.
    ///
    /// # Errors
    /// When a text of theirs has no vector, or a card is refused.
    pub fn new(profiles: &[AgentProfile], texts: &Embedded) -> Result<Self, Error> {
        let mut directory = Directory::new(texts.model().clone(), None);
        let (mut ids, mut places) = (vec![None; profiles.len()], BTreeMap::new());
        for (number, own) in (0_u32..).zip(nodes(profiles)) {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            let key = NodeKey::from_seed(seed);
            let node = NodeId::new(format!("eval-{number}").parse().expect("a plain name"), &key.public());
            directory.presence(node.clone(), online(), NOW);
            for place in own {
                let profile = &profiles[place];
                let failed = |source| Error::Card { agent: profile.description.clone(), source };
                let vectors = texts.of(&profile.texts())?;
                let own = [Embedding { model: texts.model().clone(), vectors }];
                let id = AgentId::new(profile.name.clone(), node.clone());
                let ttl = foa_capability::card::CARD_TTL;
                let order = (Boot(1), Version(1));
                let card = AgentCard::issue(profile, &own, id.clone(), order.0, order.1, NOW, ttl, &key)
                    .map_err(failed)?;
                let refused = |source| Error::Rejected { agent: profile.description.clone(), source };
                directory.apply(card, NOW).map_err(refused)?;
                places.insert(id.clone(), place);
                ids[place] = Some(id);
            }
        }
        let ids = ids.into_iter().map(|id| id.expect("every agent is on a node")).collect();
        while directory.maintain(64) > 0 {}
        Ok(Self { directory, ids, places })
    }

    /// Tells the directory that those who fit these requests served them well.
    ///
    /// # Errors
    /// When a request has no vector.
    pub fn experience<'a>(
        &mut self,
        past: impl Iterator<Item = &'a Request>,
        texts: &Embedded,
    ) -> Result<(), Error> {
        for request in past {
            let vector = texts.one(&request.text)?;
            for agent in &request.gold {
                let served = Outcome::Success { weight: 1.0 };
                self.directory.report(&self.ids[*agent], vector, served, NOW);
            }
        }
        Ok(())
    }

    /// The answer to a request, as a node would give it.
    ///
    /// # Errors
    /// When the request has no vector.
    pub fn route<'a>(&self, request: &'a Request, texts: &Embedded) -> Result<Answer<'a>, Error> {
        let vectors = texts.of(&parts::texts(&request.text))?;
        let mut query =
            Query::in_parts(&request.text, vectors).expect("a request has at least the text itself");
        query.limit = 5;
        let routed = self.directory.route(&query, NOW);
        let score = routed.candidates.first().map_or(0.0, |best| best.alpha);
        let ranked = routed.candidates.iter().map(|c| self.places[&c.agent]).collect();
        Ok(Answer { ranked, score, gold: &request.gold })
    }
}

fn online() -> Presence {
    Presence {
        online: true,
        boot: Boot(1),
        connection: Connection(1),
        seq: Sequence(1),
        load: BTreeMap::new(),
    }
}

/// The best cosine over each agent's vectors, and nothing else: what the score must not fall behind.
pub struct Dense {
    vectors: Vec<Vec<Vector>>,
}

impl Dense {
    /// With the vectors of these agents' texts.
    ///
    /// # Errors
    /// When a text has no vector.
    pub fn new(agents: &[Vec<String>], texts: &Embedded) -> Result<Self, Error> {
        let vectors = agents.iter().map(|own| texts.of(own)).collect::<Result<_, _>>()?;
        Ok(Self { vectors })
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// When the request has no vector.
    pub fn route<'a>(&self, request: &'a Request, texts: &Embedded) -> Result<Answer<'a>, Error> {
        let query = texts.one(&request.text)?;
        let best = |own: &Vec<Vector>| own.iter().map(|v| v.cosine(query)).fold(-1.0, f64::max);
        Ok(ranked(self.vectors.iter().map(best).enumerate().collect(), request))
    }
}

/// The best five by score, ties by place.
pub(super) fn ranked(mut scores: Vec<(usize, f64)>, request: &Request) -> Answer<'_> {
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.truncate(5);
    Answer {
        score: scores.first().map_or(0.0, |(_, score)| *score),
        ranked: scores.into_iter().map(|(place, _)| place).collect(),
        gold: &request.gold,
    }
}
