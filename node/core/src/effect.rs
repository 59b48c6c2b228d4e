//! What goes into the machine and what comes out.

use foa_capability::profile::AgentProfile;
use foa_capability::{Embedding, Money, Vector};
use foa_wire::{
    AgentName, ArtifactId, Boot, Connection, Filter, JobId, MessageId, NodeId, PeerAddress, Time, Topic,
    WorkId,
};
use foa_workflows::work::{Answer, Ask, Usage};

use crate::artifact::{Offered, Source};
use crate::body::Body;
use crate::journal::{NodeRecord, Stream};

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The broker is there.
    Connected {
        /// Which connection of this boot it is.
        connection: Connection,
    },
    /// The broker is gone; the shell tries again by itself.
    Disconnected,
    /// A message arrived whose signature and class the shell has checked.
    Received(Box<Received>),
    /// A message arrived that the shell could not let in.
    Refused {
        /// A stable name.
        reason: String,
        /// Who sent it, as far as it says.
        sender: String,
        /// Where it arrived.
        subject: String,
        /// In words.
        detail: String,
    },
    /// These are our agents now. Those not named any more are retired.
    Advertise(Vec<Advertised>),
    /// One of our agents answered.
    Answered {
        /// The work.
        work: WorkId,
        /// Its answer, or why there is none.
        outcome: Result<Answer, NoAnswer>,
        /// What it cost either way.
        usage: Usage,
    },
    /// One of our agents has something to show while it works.
    Working {
        /// The work.
        work: WorkId,
        /// What to show.
        text: String,
    },
    /// The embedder's answer.
    Embedded {
        /// The question.
        id: EmbedId,
        /// One vector per text, or what went wrong.
        result: Result<Vec<Vector>, String>,
    },
    /// Where other nodes can fetch artifacts from us, each time that changes.
    Reachable(Vec<PeerAddress>),
    /// What is held of the artifacts of an [`Effect::LookUp`].
    LookedUp {
        /// Who asked.
        asker: NodeId,
        /// Those that are wholly here.
        held: Vec<Offered>,
    },
    /// An artifact is here, or could not be had from those an [`Effect::Fetch`] named.
    Fetched {
        /// The artifact.
        artifact: ArtifactId,
        /// Whether it is here; why not, in words.
        result: Result<(), String>,
    },
    /// The store has outgrown what it may take, or is well below that again.
    StoreFull(bool),
    /// Take nothing new.
    Drain,
    /// Say goodbye; the last input.
    Leave,
    /// Time has passed.
    Tick,
}

/// Why an agent of ours has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// A stable name.
    pub reason: String,
    /// In words.
    pub detail: String,
}

/// A message whose envelope has been checked.
#[derive(Clone, Debug)]
pub struct Received {
    /// Where it arrived.
    pub topic: Topic,
    /// Who signed it; `None` is a bare submission.
    pub from: Option<NodeId>,
    /// The sender's start.
    pub boot: Boot,
    /// Its id.
    pub id: Option<MessageId>,
    /// When it stops meaning anything.
    pub expires: Option<Time>,
    /// What it says.
    pub body: Body,
    /// The id the same bytes would have as a job, for submissions that name none.
    pub job: Option<JobId>,
}

/// One of our agents and what it means.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// As its operator describes it.
    pub profile: AgentProfile,
    /// Its texts as the node's model sees them; and by a second model, while a federation moves from one to another.
    pub embeddings: Vec<Embedding>,
}

/// An effect, and what must be durable before it may happen.
#[derive(Clone, Debug)]
pub struct Output {
    /// The [`Effect::Persist`] that must be on disk first.
    pub after: Option<u64>,
    /// What to do.
    pub effect: Effect,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Publish.
    Send(Box<Send>),
    /// Receive what matches.
    Subscribe(Vec<Filter>),
    /// Receive it no longer.
    Unsubscribe(Vec<Filter>),
    /// Remove the broker's retained message.
    Clear(Topic),
    /// Have one of our agents think. The answer is an [`Input::Answered`].
    Ask {
        /// The work.
        work: WorkId,
        /// The agent.
        agent: AgentName,
        /// The question.
        ask: Box<Ask>,
        /// When the answer is no longer wanted.
        deadline: Time,
        /// The most it may cost.
        cap: Option<Money>,
    },
    /// The answer is no longer wanted.
    Abort {
        /// The work.
        work: WorkId,
    },
    /// Find out what these texts mean. The answer is an [`Input::Embedded`].
    Embed {
        /// To recognise the answer.
        id: EmbedId,
        /// The texts.
        texts: Vec<String>,
    },
    /// See what is held of these artifacts. The answer is an [`Input::LookedUp`].
    LookUp {
        /// Who wants to know.
        asker: NodeId,
        /// The artifacts.
        artifacts: Vec<ArtifactId>,
    },
    /// Serve artifacts to this node for a while.
    Admit {
        /// The node.
        node: NodeId,
        /// Until when.
        until: Time,
    },
    /// Have an artifact here: it is, or it is fetched. The answer is an [`Input::Fetched`].
    Fetch {
        /// The artifact.
        artifact: ArtifactId,
        /// Its size.
        bytes: u64,
        /// The job that needs it, which keeps it from being evicted.
        job: Option<JobId>,
        /// Whom to fetch it from, in any order; with nobody, only what is here counts.
        from: Vec<Source>,
    },
    /// Append to the journal.
    Persist {
        /// Number of the record, gap-free within a run.
        seq: u64,
        /// The record.
        record: Box<NodeRecord>,
    },
    /// Remove what belongs together from the journal, as far as it was appended until now.
    Forget(Stream),
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Send {
    /// Where.
    pub topic: Topic,
    /// When it stops meaning anything; commands have it, states do not.
    pub expires: Option<Time>,
    /// What it says.
    pub body: Body,
}

/// An embedding question of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmbedId(pub u64);
