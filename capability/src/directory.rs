//! Everything a node knows about the federation's agents: cards, presence, reputation; and who fits a task.
//!
//! The state depends on *what* was learnt, not on the order: of each agent the newest card by (boot, version) stays,
//! of two cards that claim one version the one with the lower hash.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foa_wire::{AgentId, Boot, NodeId, Time, Version};
use serde::{Deserialize, Serialize};

use crate::card::{AgentCard, CARD_TTL, InvalidCard, MAX_CARD_BYTES};
use crate::digest::{BUCKETS, Buckets, Difference, Digest, MAX_LISTED, MAX_PART, Mark, compare_marks};
use crate::experience::Experience;
use crate::index::{Index, Key, Vectors};
use crate::kind::Kinds;
use crate::lexical::Lexical;
use crate::model::ModelId;
use crate::presence::{Load, Presence};
use crate::reputation::{Outcome, Reputation};
use crate::score::{Profile, Weights};
use crate::turn;
use crate::vector::{InvalidVector, Vector};

mod elsewhere;
mod image;

pub use self::elsewhere::Elsewhere;
use self::elsewhere::Share;
pub use self::image::Image;

/// Most agents of one node.
pub const MAX_AGENTS_PER_NODE: usize = 10_000;
/// How far a card's issue may lie in the future: clocks differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(600);
/// Rejections kept with their details.
pub const MAX_REJECTIONS: usize = 100;

/// What became of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The agent was not known.
    New,
    /// It replaced an older card.
    Newer,
    /// It was there already.
    Same,
    /// It said that the agent is gone for good.
    Retired,
}

/// Why a card was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejected {
    /// A newer one is known.
    #[error("wanted a card newer than the one known")]
    Stale,
    /// Two cards claim one version; the one with the lower hash is kept.
    #[error("wanted one card for one version, found two: kept the one with the lower hash")]
    Equivocation,
    /// The signature is missing or does not verify.
    #[error("wanted a card signed by the agent's node")]
    BadSignature,
    /// Signed by a key that is not the node's.
    #[error("wanted the signature of the agent's node, found another's")]
    WrongKey,
    /// A vector has not its model's dimension, or a card in force has no vector.
    #[error("wanted vectors of the model's dimension")]
    WrongDimension,
    /// A vector has a component that is not finite.
    #[error("wanted finite vectors")]
    NotFinite,
    /// A vector is not of unit length.
    #[error("wanted vectors of length 1")]
    WrongNorm,
    /// The card is over the size limit.
    #[error("wanted a card of at most {MAX_CARD_BYTES} bytes")]
    TooLarge,
    /// Its time is over.
    #[error("wanted a card in force, found an expired one")]
    Expired,
    /// It claims to come from the future.
    #[error("wanted a card issued by now, found one from the future")]
    Future,
    /// The node has as many agents as one may have.
    #[error("wanted at most {MAX_AGENTS_PER_NODE} agents of one node")]
    TooMany,
    /// It is no card.
    #[error("wanted an agent card with a capability vector")]
    Malformed,
}

impl Rejected {
    /// The reason as one stable word, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Equivocation => "equivocation",
            Self::BadSignature => "bad-signature",
            Self::WrongKey => "wrong-key",
            Self::WrongDimension => "wrong-dimension",
            Self::NotFinite => "not-finite",
            Self::WrongNorm => "wrong-norm",
            Self::TooLarge => "too-large",
            Self::Expired => "expired",
            Self::Future => "future",
            Self::TooMany => "too-many",
            Self::Malformed => "malformed",
        }
    }
}

impl From<&InvalidCard> for Rejected {
    fn from(error: &InvalidCard) -> Self {
        match error {
            InvalidCard::Signature { .. } | InvalidCard::Unsigned => Self::BadSignature,
            InvalidCard::WrongKey { .. } => Self::WrongKey,
            InvalidCard::TooLarge { .. } => Self::TooLarge,
            InvalidCard::Vector { source: InvalidVector::Dimension { .. }, .. }
            | InvalidCard::VectorCount { .. } => Self::WrongDimension,
            InvalidCard::Vector { source: InvalidVector::NotFinite { .. }, .. } => Self::NotFinite,
            InvalidCard::Vector { source: InvalidVector::Norm { .. }, .. } => Self::WrongNorm,
            InvalidCard::Field { .. } | InvalidCard::NoExtension => Self::Malformed,
        }
    }
}

/// One rejection, for `foa agents rejected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// When.
    pub at: Time,
    /// Whose card it claimed to be.
    pub agent: AgentId,
    /// The stable word of [`Rejected::name`].
    pub reason: String,
}

/// One agent as the directory knows it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) card: AgentCard,
    /// The agent's number in the indexes; its own while it is known.
    pub(crate) number: u32,
}

impl Entry {
    /// The agent's newest card.
    #[must_use]
    pub fn card(&self) -> &AgentCard {
        &self.card
    }

    /// Its content hash.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.card.hash()
    }

    /// Whether the agent is gone for good.
    #[must_use]
    pub fn retired(&self) -> bool {
        self.card.capability().retired
    }

    /// Ids and tags of its skills, lower case.
    pub(crate) fn skills(&self) -> &BTreeSet<String> {
        self.card.skill_keys()
    }
}

/// What a node said of itself, and when it was heard.
#[derive(Clone, Debug)]
struct Heard {
    presence: Presence,
    at: Time,
}

/// What a question looks at of every agent, by number: small, and one beside the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    /// The kind of its card.
    pub(crate) kind: u32,
    /// The terms of that kind.
    pub(crate) terms: u32,
    /// How many vectors it has that can be found.
    pub(crate) vectors: u32,
    /// What stands for it when turns are drawn.
    pub(crate) lot: u64,
    /// Whether its node is there.
    pub(crate) online: bool,
    /// Whether there is an agent of this number, and it is not gone for good.
    pub(crate) living: bool,
}

/// Small numbers for agents, used again when an agent is forgotten.
#[derive(Clone, Debug, Default)]
struct Numbers {
    /// Entries as they are in the directory, to be found without looking an id up.
    agents: Vec<Option<(AgentId, Entry)>>,
    rows: Vec<Row>,
    free: Vec<u32>,
    /// For each number, where its agent stands in the order of ids; empty until it is asked for.
    ranks: OnceLock<Vec<u32>>,
}

impl Numbers {
    fn give(&mut self) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.agents.push(None);
            self.rows.push(Row::default());
            u32::try_from(self.agents.len() - 1).expect("fewer agents than fit in memory")
        });
        self.ranks = OnceLock::new();
        number
    }

    /// Gives an agent a number it had before; `false` when another has it.
    fn give_again(&mut self, agent: &AgentId, entry: &Entry, row: Row) -> bool {
        let at = entry.number as usize;
        if self.agents.len() <= at {
            self.agents.resize(at + 1, None);
            self.rows.resize(at + 1, Row::default());
        }
        self.rows[at] = row;
        self.agents[at].replace((agent.clone(), entry.clone())).is_none()
    }

    /// Finds the numbers nobody has, after all were given again.
    fn count_free(&mut self) {
        self.free = (0..).zip(&self.agents).filter(|(_, agent)| agent.is_none()).map(|(n, _)| n).collect();
    }

    fn take_back(&mut self, number: u32) {
        self.agents[number as usize] = None;
        self.rows[number as usize].living = false;
        self.free.push(number);
        self.ranks = OnceLock::new();
    }
}

/// The agents of a federation, as one node knows them.
#[derive(Debug)]
pub struct Directory {
    pub(crate) model: ModelId,
    pub(crate) local: Option<NodeId>,
    pub(crate) weights: Weights,
    pub(crate) agents: BTreeMap<AgentId, Entry>,
    /// Agents whose cards other nodes keep.
    elsewhere: BTreeMap<AgentId, Arc<Elsewhere>>,
    /// Which part of the federation's cards is kept here; all, when it is not cut into shards.
    share: Option<Share>,
    pub(crate) vectors: Vectors,
    pub(crate) lexical: Lexical,
    pub(crate) kinds: Kinds,
    numbers: Numbers,
    /// How many agents of each node are known.
    of_node: BTreeMap<NodeId, usize>,
    buckets: Buckets,
    nodes: BTreeMap<NodeId, Heard>,
    pub(crate) reputation: Reputation,
    pub(crate) experience: Experience,
    rejections: BTreeMap<&'static str, u64>,
    rejected: VecDeque<Rejection>,
    changes: u64,
}

impl Directory {
    /// An empty directory that routes by vectors of `model`. Agents of `local`, the node itself, need no presence.
    #[must_use]
    pub fn new(model: ModelId, local: Option<NodeId>) -> Self {
        Self {
            model,
            local,
            weights: Weights::default(),
            agents: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            share: None,
            vectors: Vectors::default(),
            lexical: Lexical::default(),
            kinds: Kinds::default(),
            numbers: Numbers::default(),
            of_node: BTreeMap::new(),
            buckets: Buckets::default(),
            nodes: BTreeMap::new(),
            reputation: Reputation::default(),
            experience: Experience::default(),
            rejections: BTreeMap::new(),
            rejected: VecDeque::new(),
            changes: 0,
        }
    }

    /// The same directory with the numbers of a profile.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.weights = Weights::of(profile);
        self
    }

    /// The model whose vectors it compares.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// The numbers of its score.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Takes a card, checks it, and keeps it if it is the newest of its agent.
    ///
    /// A card without vectors of the directory's model is kept and listed, is never routed to, and is counted as
    /// `other-model`.
    ///
    /// # Errors
    /// The reason it was not taken, which is counted.
    pub fn apply(&mut self, card: AgentCard, now: Time) -> Result<Applied, Rejected> {
        let agent = card.agent().clone();
        let outcome = self.check_and_keep(card, now);
        if let Err(rejected) = &outcome {
            self.reject(rejected.name(), agent, now);
        }
        outcome
    }

    /// Counts a card that could not even be read, by the agent its topic names.
    pub fn reject(&mut self, reason: &'static str, agent: AgentId, now: Time) {
        *self.rejections.entry(reason).or_default() += 1;
        if self.rejected.len() == MAX_REJECTIONS {
            self.rejected.pop_front();
        }
        self.rejected.push_back(Rejection { at: now, agent, reason: reason.to_owned() });
    }

    fn check_and_keep(&mut self, card: AgentCard, now: Time) -> Result<Applied, Rejected> {
        let capability = card.capability();
        let known = self.newest(card.agent());
        // Cheap refusals first; what may replace something is verified before it does.
        if known.is_some_and(|(order, _)| card.order() < order) {
            return Err(Rejected::Stale);
        }
        if now >= capability.expires() {
            return Err(Rejected::Expired);
        }
        if capability.issued > now + CLOCK_SKEW {
            return Err(Rejected::Future);
        }
        let is_known = known.is_some_and(|known| known == (card.order(), card.hash()));
        if is_known && !self.is_wanted(card.agent()) {
            return Ok(Applied::Same);
        }
        card.verify().map_err(|e| Rejected::from(&e))?;
        card.check_vectors().map_err(|e| Rejected::from(&e))?;
        let is_new = known.is_none();
        let equivocates = !is_known && known.is_some_and(|(order, _)| card.order() == order);
        if equivocates && known.is_some_and(|(_, hash)| card.hash() > hash) {
            return Err(Rejected::Equivocation);
        }
        if is_new && self.of_node.get(card.agent().node()).is_some_and(|known| *known >= MAX_AGENTS_PER_NODE)
        {
            return Err(Rejected::TooMany);
        }
        let agent = card.agent().clone();
        let retired = capability.retired;
        if capability.comparable(&self.model).is_none() && !retired {
            self.reject("other-model", agent.clone(), now);
        }
        if is_new {
            *self.of_node.entry(agent.node().clone()).or_default() += 1;
        }
        self.changes += 1;
        if let Some(shards) = self.others_shards(&card) {
            self.put_elsewhere(&card, shards);
        } else {
            self.put_here(agent, card);
        }
        match (equivocates, retired, is_new) {
            (true, _, _) => Err(Rejected::Equivocation),
            (false, true, _) => Ok(Applied::Retired),
            (false, false, true) => Ok(Applied::New),
            (false, false, false) if is_known => Ok(Applied::Same),
            (false, false, false) => Ok(Applied::Newer),
        }
    }

    /// Keeps a card in place of the agent's last.
    fn put_here(&mut self, agent: AgentId, card: AgentCard) {
        self.found(&agent);
        let number = match self.agents.remove(&agent) {
            Some(old) => self.unindex(&old),
            None => self.numbers.give(),
        };
        let retired = card.capability().retired;
        let same_model = card.capability().comparable(&self.model).is_some();
        let slots = if same_model && !retired { self.index(&card, number) } else { Box::default() };
        let vectors = u32::try_from(slots.len()).expect("a card has some hundred vectors at most");
        let kind = self.kinds.join(&card, slots, same_model);
        let terms = self.kinds.get(kind).map_or(0, |kind| kind.terms);
        let online = self.is_online(agent.node());
        let lot = turn::lot(&agent);
        self.numbers.rows[number as usize] = Row { kind, terms, vectors, lot, online, living: !retired };
        self.buckets.put(agent.clone(), card.clone());
        let entry = Entry { card, number };
        self.numbers.agents[number as usize] = Some((agent.clone(), entry.clone()));
        self.agents.insert(agent, entry);
    }

    fn index(&mut self, card: &AgentCard, agent: u32) -> Box<[u32]> {
        let comparable = card.capability().comparable(&self.model);
        let vectors = comparable.map_or(&[][..], |comparable| comparable.vectors);
        let key = |part| Key { agent, part };
        for (part, own) in (0..).zip(vectors) {
            self.vectors.insert(key(part), &own.vector);
        }
        self.lexical.insert(agent, &card.words());
        (0..).zip(vectors).filter_map(|(part, _)| self.vectors.slot(key(part))).collect()
    }

    fn unindex(&mut self, entry: &Entry) -> u32 {
        let kind = self.rows()[entry.number as usize].kind;
        let vectors = self.kinds.get(kind).map_or(0, |kind| kind.slots.len());
        for (part, _) in (0..).zip(0..vectors) {
            self.vectors.remove(Key { agent: entry.number, part });
        }
        self.lexical.remove(entry.number);
        self.kinds.leave(kind);
        entry.number
    }

    /// Goes on with what can wait, now a graph over many vectors, for at most `steps` steps of about a millisecond;
    /// says how many are left. Call it when there is nothing else to do; nothing is wrong if nobody does.
    pub fn maintain(&mut self, steps: usize) -> usize {
        self.vectors.maintain(steps)
    }

    /// The vectors of its agents.
    #[must_use]
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// What a question looks at of every agent, by number.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.numbers.rows
    }

    /// For each number, where its agent stands in the order of ids.
    pub(crate) fn ranks(&self) -> &[u32] {
        self.numbers.ranks.get_or_init(|| {
            let mut ranks = vec![0; self.numbers.agents.len()];
            for (rank, entry) in (0..).zip(self.agents.values()) {
                ranks[entry.number as usize] = rank;
            }
            ranks
        })
    }

    /// The agent with a number of the indexes.
    pub(crate) fn numbered(&self, number: u32) -> Option<(&AgentId, &Entry)> {
        self.numbers.agents.get(number as usize)?.as_ref().map(|(agent, entry)| (agent, entry))
    }

    /// Notes with each agent of a node whether the node is there.
    fn mark_presence(&mut self, node: &NodeId, online: bool) {
        let online = online || self.local.as_ref() == Some(node);
        let agents = self.agents.range(first_of(node)..);
        for (_, entry) in agents.take_while(|(agent, _)| agent.node() == node) {
            self.numbers.rows[entry.number as usize].online = online;
        }
    }

    /// Takes what a node, or its will, says of it; `false` when something newer is known.
    pub fn presence(&mut self, node: NodeId, presence: Presence, now: Time) -> bool {
        if self.nodes.get(&node).is_some_and(|known| known.presence.order() >= presence.order()) {
            return false;
        }
        if self.nodes.get(&node).is_some_and(|n| n.presence.online) != presence.online {
            self.mark_presence(&node, presence.online);
        }
        self.nodes.insert(node, Heard { presence, at: now });
        true
    }

    /// Forgets what was said of a node's presence: its agents are taken for offline until it speaks again.
    pub fn forget_presence(&mut self, node: &NodeId) {
        self.nodes.remove(node);
        self.mark_presence(node, false);
    }

    /// Forgets cards and retirements whose time is over, and nodes that left and have no cards any more.
    pub fn expire(&mut self, now: Time) {
        let over: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(_, e)| now >= e.card.capability().expires())
            .map(|(id, _)| id.clone())
            .collect();
        for agent in over {
            self.forget(&agent);
        }
        self.expire_elsewhere(now);
        let of_node = &self.of_node;
        self.nodes.retain(|id, heard| {
            heard.presence.online || now.since(heard.at) < CARD_TTL || of_node.contains_key(id)
        });
    }

    fn forget(&mut self, agent: &AgentId) {
        if !self.let_go(agent) {
            return;
        }
        self.changes += 1;
        self.buckets.remove(agent);
        self.one_less_of(agent.node());
    }

    /// Takes an agent's card out of everything that finds it; `false` when it is not kept here.
    fn let_go(&mut self, agent: &AgentId) -> bool {
        let Some(entry) = self.agents.remove(agent) else { return false };
        let number = self.unindex(&entry);
        self.numbers.take_back(number);
        self.experience.forget(number);
        true
    }

    fn one_less_of(&mut self, node: &NodeId) {
        if let Some(known) = self.of_node.get_mut(node) {
            *known -= 1;
            if *known == 0 {
                self.of_node.remove(node);
            }
        }
    }

    /// How often an agent came, changed or went: while it is the same, so are the agents.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What is known of an agent.
    #[must_use]
    pub fn get(&self, agent: &AgentId) -> Option<&Entry> {
        self.agents.get(agent)
    }

    /// The boot and version of an agent's newest card, whoever keeps it.
    #[must_use]
    pub fn order_of(&self, agent: &AgentId) -> Option<(Boot, Version)> {
        self.newest(agent).map(|(order, _)| order)
    }

    /// The same, with the card's content hash.
    fn newest(&self, agent: &AgentId) -> Option<((Boot, Version), &str)> {
        match self.agents.get(agent) {
            Some(entry) => Some((entry.card.order(), entry.hash())),
            None => self.elsewhere.get(agent).map(|elsewhere| (elsewhere.order, &*elsewhere.hash)),
        }
    }

    /// Every agent whose card is kept here, retired ones included, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (&AgentId, &Entry)> {
        self.agents.iter()
    }

    /// How many agents have their card here, retired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether no card is kept here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// How many agents could take work now.
    #[must_use]
    pub fn online(&self) -> usize {
        self.rows().iter().filter(|row| row.online && row.living).count()
    }

    /// Whether a node is there; the local node always is.
    #[must_use]
    pub fn is_online(&self, node: &NodeId) -> bool {
        self.local.as_ref() == Some(node) || self.node(node).is_some_and(|p| p.online)
    }

    /// What is known of a node.
    #[must_use]
    pub fn node(&self, node: &NodeId) -> Option<&Presence> {
        self.nodes.get(node).map(|heard| &heard.presence)
    }

    /// How busy an agent said it is; idle when it said nothing.
    #[must_use]
    pub fn load(&self, agent: &AgentId) -> Load {
        self.node(agent.node()).and_then(|p| p.load.get(agent.agent())).copied().unwrap_or_default()
    }

    /// Why cards were not taken, by stable word, since the directory began.
    #[must_use]
    pub fn rejections(&self) -> &BTreeMap<&'static str, u64> {
        &self.rejections
    }

    /// The last [`MAX_REJECTIONS`] rejections, oldest first.
    pub fn rejected(&self) -> impl Iterator<Item = &Rejection> {
        self.rejected.iter()
    }

    /// Counts how an agent did on a task near `near`. Success becomes experience: the agent is found by what it served,
    /// too, as long as its card is known.
    pub fn report(&mut self, agent: &AgentId, near: &Vector, outcome: Outcome, now: Time) {
        self.reputation.report(agent, near, outcome, now);
        let Outcome::Success { weight } = outcome else { return };
        let Some(entry) = self.agents.get(agent) else { return };
        if let Some(own) = entry.card.description_vector(&self.model) {
            self.experience.add(entry.number, &own, near, weight, now);
        }
    }

    /// What agents have shown.
    #[must_use]
    pub fn reputation(&self) -> &Reputation {
        &self.reputation
    }

    /// The directory in short, to send to a peer: every agent, or bucket hashes above [`MAX_LISTED`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        if self.known() <= MAX_LISTED {
            let agents = (0..BUCKETS).flat_map(|bucket| self.buckets.marks(bucket));
            Digest::Agents { agents: agents.map(|(id, mark)| (id.clone(), mark)).collect() }
        } else {
            Digest::Buckets { hashes: self.buckets.hashes() }
        }
    }

    /// The agents of as many of these buckets as fit one message; the rest is for the next beat.
    #[must_use]
    pub fn digest_of(&self, buckets: &[u8]) -> Digest {
        let (mut complete, mut agents) = (BTreeSet::new(), BTreeMap::new());
        for bucket in buckets.iter().copied().filter(|b| *b < BUCKETS) {
            if !complete.is_empty() && agents.len() + self.buckets.len(bucket) > MAX_PART {
                break;
            }
            complete.insert(bucket);
            agents.extend(self.buckets.marks(bucket).map(|(id, mark)| (id.clone(), mark)));
        }
        Digest::Part { buckets: complete.into_iter().collect(), agents }
    }

    /// What this directory and the one `theirs` came from differ in.
    #[must_use]
    pub fn compare(&self, theirs: &Digest) -> Difference {
        let ours = |buckets: &BTreeSet<u8>| -> BTreeMap<&AgentId, Mark> {
            buckets.iter().flat_map(|bucket| self.buckets.marks(*bucket)).collect()
        };
        match theirs {
            Digest::Agents { agents } => compare_marks(&ours(&(0..BUCKETS).collect()), agents),
            Digest::Part { buckets, agents } => {
                compare_marks(&ours(&buckets.iter().copied().collect()), agents)
            }
            Digest::Buckets { hashes } => {
                let own = self.buckets.hashes();
                let differs = |b: &u8| hashes.get(usize::from(*b)) != own.get(usize::from(*b));
                Difference { ask_buckets: (0..BUCKETS).filter(differs).collect(), ..Difference::default() }
            }
        }
    }
}

/// No agent of this node comes before.
fn first_of(node: &NodeId) -> AgentId {
    AgentId::new("-".parse().expect("one hyphen is the lowest of names"), node.clone())
}

#[cfg(test)]
mod tests;
