//! What will happen, in the order of (time, sequence).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use foa_node_core::effect::{EmbedId, NoAnswer};
use foa_wire::{JobId, Time, WorkId};
use foa_workflows::work::{Answer, Usage};

use crate::sim::faults::FaultKind;
use crate::sim::link::Message;
use crate::sim::mqtt::{Outgoing, Peer};

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A client tries to connect.
    Connect(Peer, u64),
    /// A packet with this number of the outbox reaches the broker.
    AtBroker { peer: Peer, epoch: u64, out: u64 },
    /// A message of a client reaches the broker that nobody waits for: QoS 0, or for the second time.
    AtBrokerAgain(Peer, Rc<Message>),
    /// A message reaches a client.
    Deliver { epoch: u64, outgoing: Outgoing },
    /// A client and the broker notice that they cannot reach each other.
    Notice { peer: Peer, epoch: u64 },
    /// A node asked to be woken at this time of its clock.
    Wake { node: usize, life: u64, at: Time },
    /// A disk has made so many writes safe.
    Synced { node: usize, life: u64, count: usize },
    /// An agent answers.
    Answered(Box<Answered>),
    /// The embedding model answers.
    Embedded { node: usize, life: u64, id: EmbedId, texts: Vec<String> },
    /// A node starts.
    Start(usize),
    /// A submitter submits a job, perhaps again.
    Submit { client: usize, job: JobId },
    /// Something goes wrong.
    Fault(FaultKind, usize, Duration),
    /// It is over.
    Over(FaultKind, usize),
    /// The broker is there again.
    BrokerUp,
    /// Time to see whether all is done.
    Look,
}

/// An agent's answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) node: usize,
    pub(super) life: u64,
    pub(super) work: WorkId,
    pub(super) thought: u64,
    pub(super) outcome: Result<Answer, NoAnswer>,
    pub(super) usage: Usage,
}

impl Event {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connect(..) => "connect",
            Self::AtBroker { .. } => "at-broker",
            Self::AtBrokerAgain(..) => "at-broker-again",
            Self::Deliver { .. } => "deliver",
            Self::Notice { .. } => "notice",
            Self::Wake { .. } => "wake",
            Self::Synced { .. } => "synced",
            Self::Answered(_) => "answered",
            Self::Embedded { .. } => "embedded",
            Self::Start(_) => "start",
            Self::Submit { .. } => "submit",
            Self::Fault(..) => "fault",
            Self::Over(..) => "over",
            Self::BrokerUp => "broker-up",
            Self::Look => "look",
        }
    }
}

/// Events that wait for their time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    sequence: u64,
    heap: BinaryHeap<Reverse<Scheduled>>,
}

impl Queue {
    /// Puts an event in.
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled { at, sequence: self.sequence, event }));
    }

    /// Takes out what comes next.
    pub(super) fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }

    /// When something happens next.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(next)| next.at)
    }

    /// How many events were ever put in.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }
}

#[derive(Debug)]
struct Scheduled {
    at: Time,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
