//! The blackboard of a cluster: signed entries, named by their hash, in a set that needs no order of arrival.
//!
//! Source: algorithms §6 and protocol, "Blackboard". An [`Entry`] is signed by its author's node and hashed over the RFC
//! 8785 form of its JSON without `sig`, exactly as received, so unknown fields of later versions survive. A [`Channel`]
//! is a set union: inserting is commutative, associative and idempotent, whoever relays what in which order.
//!
//! One entry per author, round and kind counts. Two differing ones are an equivocation and neither counts. The holder
//! closes a round with the ordered list of the entries that count; what comes later is kept and is late.
//!
//! Limits: [`MAX_ROUND`] rounds, [`MAX_ENTRY`] bytes an entry, [`MAX_PARENTS`] parents, and of the entries of one author,
//! round and kind the [`MAX_VARIANTS`] with the smallest hashes (a rule that does not depend on order either).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use data_encoding::BASE32_NOPAD;
use foa_wire::codec;
use foa_wire::{AgentId, ClusterId, JobId, NodeId, NodeKey, PublicKey, Signature};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::work::{Contribution, Evidence};

/// Highest round of any channel.
pub const MAX_ROUND: u32 = 64;
/// Most bytes of an entry in its canonical form.
pub const MAX_ENTRY: usize = 192 * 1024;
/// Most parents of an entry.
pub const MAX_PARENTS: usize = 64;
/// Most entries, and most absent members, that a closing list names.
pub const MAX_LISTED: usize = 1024;
/// Most entries kept of one author, round and kind.
pub const MAX_VARIANTS: usize = 4;

const SIGNED: &[u8] = b"foa/entry/1\n";

/// One signed entry. Made by [`Entry::sign`] or read from JSON; in the second case nothing is proven before
/// [`Entry::verify`], which [`Channel::insert`] calls. Cheap to clone; never changes, so it is verified once.
#[derive(Clone)]
pub struct Entry(Arc<Signed>);

struct Signed {
    content: Content,
    hash: EntryHash,
    /// The JSON that was hashed and signed: all but `sig`.
    signed: Value,
    bytes: usize,
    sig: Signature,
    verified: OnceLock<Result<(), RejectedEntry>>,
}

/// What an entry says. On the wire its fields stand beside `key` and `sig`; see [`Body`] for `kind` and `body`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The job.
    pub job: JobId,
    /// The subtask's key in the plan.
    pub subtask: String,
    /// The channel it stands on; for first drafts, written before there are clusters, number 0 of the subtask.
    pub cluster: ClusterId,
    /// The round it belongs to; 0 for first drafts.
    pub round: u32,
    /// Who says it. For `open` and `close` see [`holder`].
    pub author: AgentId,
    /// The entries its author had read.
    #[serde(default)]
    pub parents: BTreeSet<EntryHash>,
    /// What is said.
    #[serde(flatten)]
    pub body: Body,
}

/// What is said, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Body {
    /// The holder opens a round.
    Open {
        /// Definitions and output shape, by the strongest member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frame: Option<String>,
    },
    /// A first answer, written alone.
    Draft(Contribution),
    /// What is wrong or missing in peers' answers.
    Critique {
        /// In words.
        text: String,
    },
    /// Passages or computations for whoever can use them.
    Evidence {
        /// The evidence.
        evidence: Vec<Evidence>,
    },
    /// An answer after reading.
    Revision(Contribution),
    /// For which answer the author is.
    Vote {
        /// The entry it is for.
        choice: EntryHash,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Anything else worth saying.
    Note {
        /// In words.
        text: String,
    },
    /// The holder closes a round.
    Close {
        /// The entries that count, in order.
        entries: Vec<EntryHash>,
        /// Members that posted nothing in time.
        #[serde(default)]
        absent: Vec<AgentId>,
    },
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is documented at the body of its name")]
pub enum EntryKind {
    Open,
    Draft,
    Critique,
    Evidence,
    Revision,
    Vote,
    Note,
    Close,
}

/// The name of an entry: `e` and 52 base32 characters of SHA-256.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryHash(String);

/// What became of an entry that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// Its author said too many things at once; those with smaller hashes are kept.
    Crowded,
}

/// Why an entry was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectedEntry {
    /// It is no entry.
    #[error("wanted a blackboard entry, found {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// A kind that is not known here.
    #[error("wanted a known kind of entry, found {kind:?}")]
    UnknownKind {
        /// The kind, shortened.
        kind: String,
    },
    /// The signature is not of this content by this key.
    #[error("wanted a signature of this entry by its key, found another")]
    BadSignature,
    /// The key is not that of the author's node.
    #[error("wanted the key of {author}'s node, found another")]
    WrongKey {
        /// The author claimed.
        author: AgentId,
    },
    /// The author is neither a member nor, for `open` and `close`, a holder.
    #[error("wanted an entry by a member, found one by {author}")]
    WrongAuthor {
        /// The author.
        author: AgentId,
    },
    /// It belongs elsewhere.
    #[error("wanted an entry of channel {wanted}, found one of {found}")]
    WrongChannel {
        /// This channel.
        wanted: ClusterId,
        /// The entry's.
        found: ClusterId,
    },
    /// Too many bytes, parents or listed entries, or too late a round.
    #[error("wanted at most {most} {what}, found {found}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
        /// How much there was.
        found: usize,
    },
}

impl RejectedEntry {
    /// A stable name, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed-entry",
            Self::UnknownKind { .. } => "unknown-entry-kind",
            Self::BadSignature => "bad-entry-signature",
            Self::WrongKey { .. } => "wrong-entry-key",
            Self::WrongAuthor { .. } => "wrong-entry-author",
            Self::WrongChannel { .. } => "wrong-channel",
            Self::TooLarge { .. } => "entry-too-large",
        }
    }
}

/// The author of what a holder itself says on a channel: the reserved agent name `holder` of its node.
#[must_use]
pub fn holder(node: &NodeId) -> AgentId {
    AgentId::new("holder".parse().expect("a legal agent name"), node.clone())
}

impl Body {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Open { .. } => EntryKind::Open,
            Self::Draft(_) => EntryKind::Draft,
            Self::Critique { .. } => EntryKind::Critique,
            Self::Evidence { .. } => EntryKind::Evidence,
            Self::Revision(_) => EntryKind::Revision,
            Self::Vote { .. } => EntryKind::Vote,
            Self::Note { .. } => EntryKind::Note,
            Self::Close { .. } => EntryKind::Close,
        }
    }

    /// The answer, if this is a draft or a revision.
    #[must_use]
    pub fn contribution(&self) -> Option<&Contribution> {
        match self {
            Self::Draft(contribution) | Self::Revision(contribution) => Some(contribution),
            Self::Open { .. }
            | Self::Critique { .. }
            | Self::Evidence { .. }
            | Self::Vote { .. }
            | Self::Note { .. }
            | Self::Close { .. } => None,
        }
    }
}

impl Entry {
    /// An entry signed with the key of its author's node.
    #[must_use]
    pub fn sign(content: Content, key: &NodeKey) -> Self {
        let mut signed = serde_json::to_value(&content).expect("content has text keys");
        signed["key"] = Value::String(key.public().to_string());
        let bytes = codec::canonical(&signed);
        let sig = key.sign(&[SIGNED, &bytes].concat());
        let hash = EntryHash::of(&bytes);
        Self::of(content, hash, signed, bytes.len(), sig)
    }

    /// Reads an entry from JSON. Nothing is proven yet.
    ///
    /// # Errors
    /// When it is no entry, or of an unknown kind.
    pub fn parse(json: Value) -> Result<Self, RejectedEntry> {
        let malformed = |reason: String| RejectedEntry::Malformed { reason };
        let Value::Object(mut fields) = json else {
            return Err(malformed("something other than an object".to_owned()));
        };
        let sig = fields.remove("sig").ok_or_else(|| malformed("no signature".to_owned()))?;
        let sig: Signature = serde_json::from_value(sig).map_err(|e| malformed(e.to_string()))?;
        if let Some(Value::String(kind)) = fields.get("kind")
            && serde_json::from_value::<EntryKind>(Value::String(kind.clone())).is_err()
        {
            return Err(RejectedEntry::UnknownKind { kind: kind.chars().take(64).collect() });
        }
        let signed = Value::Object(fields);
        let content = Content::deserialize(&signed).map_err(|e| malformed(e.to_string()))?;
        let bytes = codec::canonical(&signed);
        Ok(Self::of(content, EntryHash::of(&bytes), signed, bytes.len(), sig))
    }

    fn of(content: Content, hash: EntryHash, signed: Value, bytes: usize, sig: Signature) -> Self {
        Self(Arc::new(Signed { content, hash, signed, bytes, sig, verified: OnceLock::new() }))
    }

    /// Whether its author's node signed it as it is.
    ///
    /// # Errors
    /// When the key is missing or another node's, or the signature is of something else.
    pub fn verify(&self) -> Result<(), RejectedEntry> {
        self.0.verified.get_or_init(|| self.check()).clone()
    }

    fn check(&self) -> Result<(), RejectedEntry> {
        let key =
            self.0.signed.get("key").and_then(Value::as_str).and_then(|key| key.parse::<PublicKey>().ok());
        let author = &self.0.content.author;
        let key = key
            .filter(|key| author.node().is_of(key))
            .ok_or_else(|| RejectedEntry::WrongKey { author: author.clone() })?;
        let bytes = codec::canonical(&self.0.signed);
        if key.verifies(&[SIGNED, &bytes].concat(), &self.0.sig) {
            Ok(())
        } else {
            Err(RejectedEntry::BadSignature)
        }
    }

    /// What it says.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.0.content
    }

    /// What it says, by kind.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.0.content.body
    }

    /// Its name.
    #[must_use]
    pub fn hash(&self) -> &EntryHash {
        &self.0.hash
    }

    /// Who says it.
    #[must_use]
    pub fn author(&self) -> &AgentId {
        &self.0.content.author
    }

    /// The round it belongs to.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.0.content.round
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.0.content.body.kind()
    }

    /// Its size on the wire in bytes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.bytes + 100
    }

    fn check_size(&self) -> Result<(), RejectedEntry> {
        let listed = if let Body::Close { entries, absent } = &self.0.content.body {
            entries.len().max(absent.len())
        } else {
            0
        };
        let limits = [
            ("rounds", MAX_ROUND as usize, self.0.content.round as usize),
            ("parents", MAX_PARENTS, self.0.content.parents.len()),
            ("listed entries", MAX_LISTED, listed),
            ("bytes", MAX_ENTRY, self.0.bytes),
        ];
        match limits.into_iter().find(|&(_, most, found)| found > most) {
            Some((what, most, found)) => Err(RejectedEntry::TooLarge { what, most, found }),
            None => Ok(()),
        }
    }
}

/// The entries of one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    cluster: ClusterId,
    members: BTreeSet<AgentId>,
    entries: BTreeMap<EntryHash, Entry>,
}

impl Channel {
    /// An empty channel for these members. Holders may write `open`, `close` and `note` on any channel.
    #[must_use]
    pub fn new(cluster: ClusterId, members: BTreeSet<AgentId>) -> Self {
        Self { cluster, members, entries: BTreeMap::new() }
    }

    /// Its id.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<AgentId> {
        &self.members
    }

    /// Lets an entry in if it is what it claims to be. Whether it is let in depends on the entry alone.
    ///
    /// # Errors
    /// When it belongs elsewhere, is too large, is by nobody of this channel, or is not signed by its author's node.
    pub fn insert(&mut self, entry: Entry) -> Result<Inserted, RejectedEntry> {
        if self.entries.get(&entry.0.hash).is_some_and(|known| known.0.sig == entry.0.sig) {
            return Ok(Inserted::Known);
        }
        let draft =
            entry.kind() == EntryKind::Draft && self.cluster.reads_drafts_of(&entry.0.content.cluster);
        if entry.0.content.cluster != self.cluster && !draft {
            let found = entry.0.content.cluster.clone();
            return Err(RejectedEntry::WrongChannel { wanted: self.cluster.clone(), found });
        }
        entry.check_size()?;
        if !self.may_write(&entry) {
            return Err(RejectedEntry::WrongAuthor { author: entry.author().clone() });
        }
        entry.verify()?;
        let (hash, slot) = (entry.0.hash.clone(), slot(&entry));
        // The same content may be signed twice with different bytes; which copy stays must not depend on order.
        if let Some(known) = self.entries.get_mut(&hash) {
            if entry.0.sig.as_bytes() < known.0.sig.as_bytes() {
                *known = entry;
            }
            return Ok(Inserted::Known);
        }
        self.entries.insert(hash.clone(), entry);
        let variants: Vec<EntryHash> = self.of_slot(slot).map(|e| e.0.hash.clone()).collect();
        for extra in variants.into_iter().skip(MAX_VARIANTS) {
            self.entries.remove(&extra);
        }
        Ok(if self.entries.contains_key(&hash) { Inserted::New } else { Inserted::Crowded })
    }

    /// Takes over all entries of another copy of this channel. Returns those that were refused.
    pub fn join(&mut self, other: &Self) -> Vec<RejectedEntry> {
        other.entries.values().filter_map(|entry| self.insert(entry.clone()).err()).collect()
    }

    /// The entry of this name.
    #[must_use]
    pub fn get(&self, hash: &EntryHash) -> Option<&Entry> {
        self.entries.get(hash)
    }

    /// All entries, by round, kind, author and hash.
    #[must_use]
    pub fn entries(&self) -> Vec<&Entry> {
        let mut all: Vec<&Entry> = self.entries.values().collect();
        all.sort_by_key(|e| (e.round(), e.kind(), e.author(), e.hash()));
        all
    }

    /// The entries that someone who has `known` lacks, in the order of [`Channel::entries`].
    #[must_use]
    pub fn since(&self, known: &BTreeSet<EntryHash>) -> Vec<&Entry> {
        self.entries().into_iter().filter(|e| !known.contains(e.hash())).collect()
    }

    /// The entries of a round that count: one per author and kind, where the author did not say two things.
    #[must_use]
    pub fn counted(&self, round: u32) -> Vec<&Entry> {
        let slots = self.slots(round);
        slots.into_values().filter(|said| said.len() == 1).flatten().collect()
    }

    /// Who said two different things of one kind in a round.
    #[must_use]
    pub fn equivocations(&self, round: u32) -> Vec<(AgentId, EntryKind)> {
        let slots = self.slots(round);
        slots
            .into_iter()
            .filter(|(_, said)| said.len() > 1)
            .map(|((kind, author), _)| (author.clone(), kind))
            .collect()
    }

    /// The latest answer of each member up to and including `round`, among the entries that count.
    #[must_use]
    pub fn latest(&self, round: u32) -> BTreeMap<&AgentId, &Entry> {
        let mut latest = BTreeMap::new();
        for entry in (0..=round.min(MAX_ROUND)).flat_map(|round| self.counted(round)) {
            if entry.body().contribution().is_some() {
                latest.insert(entry.author(), entry);
            }
        }
        latest
    }

    /// The ordered list with which this holder closed a round, if it did.
    #[must_use]
    pub fn closed(&self, round: u32, node: &NodeId) -> Option<&[EntryHash]> {
        let author = holder(node);
        self.counted(round).into_iter().find_map(|entry| match entry.body() {
            Body::Close { entries, .. } if *entry.author() == author => Some(entries.as_slice()),
            _ => None,
        })
    }

    /// Members' entries of a round that its closing list does not name.
    #[must_use]
    pub fn late(&self, round: u32, node: &NodeId) -> Vec<&Entry> {
        let Some(closed) = self.closed(round, node) else { return Vec::new() };
        let late = |e: &&Entry| {
            e.round() == round && self.members.contains(e.author()) && !closed.contains(e.hash())
        };
        self.entries().into_iter().filter(late).collect()
    }

    /// Entries that others build on or list and that are not here.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<EntryHash> {
        let named = self.entries.values().flat_map(|entry| {
            let listed: &[EntryHash] = match entry.body() {
                Body::Close { entries, .. } => entries,
                Body::Vote { choice, .. } => std::slice::from_ref(choice),
                Body::Open { .. }
                | Body::Draft(_)
                | Body::Critique { .. }
                | Body::Evidence { .. }
                | Body::Revision(_)
                | Body::Note { .. } => &[],
            };
            entry.0.content.parents.iter().chain(listed)
        });
        named.filter(|hash| !self.entries.contains_key(hash)).cloned().collect()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn may_write(&self, entry: &Entry) -> bool {
        let author = entry.author();
        match entry.kind() {
            EntryKind::Open | EntryKind::Close => author.agent().as_str() == "holder",
            EntryKind::Note => self.members.contains(author) || author.agent().as_str() == "holder",
            EntryKind::Draft
            | EntryKind::Critique
            | EntryKind::Evidence
            | EntryKind::Revision
            | EntryKind::Vote => self.members.contains(author),
        }
    }

    fn slots(&self, round: u32) -> BTreeMap<(EntryKind, &AgentId), Vec<&Entry>> {
        let mut slots: BTreeMap<_, Vec<&Entry>> = BTreeMap::new();
        for entry in self.entries.values().filter(|e| e.round() == round) {
            slots.entry((entry.kind(), entry.author())).or_default().push(entry);
        }
        slots
    }

    /// The entries of one author, round and kind, by hash.
    fn of_slot(&self, (round, kind, author): (u32, EntryKind, AgentId)) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |e| e.round() == round && e.kind() == kind && *e.author() == author)
    }
}

fn slot(entry: &Entry) -> (u32, EntryKind, AgentId) {
    (entry.round(), entry.kind(), entry.author().clone())
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash && self.0.sig == other.0.sig
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} {:?})", self.0.hash, self.0.content)
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut whole = self.0.signed.clone();
        whole["sig"] = Value::String(self.0.sig.to_string());
        whole.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl EntryHash {
    fn of(canonical: &[u8]) -> Self {
        Self(format!("e{}", BASE32_NOPAD.encode(&Sha256::digest(canonical)).to_ascii_lowercase()))
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no [`EntryHash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted an entry hash of e and 52 base32 characters, found {found:?}")]
pub struct InvalidEntryHash {
    found: String,
}

impl FromStr for EntryHash {
    type Err = InvalidEntryHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base32 = |b: u8| matches!(b, b'a'..=b'z' | b'2'..=b'7');
        match text.strip_prefix('e') {
            Some(rest) if rest.len() == 52 && rest.bytes().all(base32) => Ok(Self(text.to_owned())),
            _ => Err(InvalidEntryHash { found: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for EntryHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EntryHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
