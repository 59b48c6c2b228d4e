//! One coordinator's copy of one job's log, and the agreement of the replica set on it.
//!
//! ```text
//!             found (first term)
//!   unknown ───────────────────────────────► Holder ──────────┐
//!      │                                       ▲              │ a higher term
//!      │ append, prepare                       │ majority     │
//!      ▼             campaign                  │ promised     ▼
//!   Follower ──────────────────────────► Candidate ───► Follower
//! ```
//!
//! - A record is **committed** when a majority of the set has stored it durably in the holder's own term. Whoever acts on a
//!   record waits for that ([`Output::Committed`]).
//! - The **first term** of a job needs no promises. Whoever thinks to be first in the order of succession may found a log, and
//!   they may think so wrongly; so a replica takes a first term only while it knows nothing of the job, and record 1 of a
//!   first term is committed when *all* of the set have it (a fast round: two founders can both fail, never both succeed).
//!   When one does not answer, the founder asks for promises like any successor.
//! - A **successor** asks the set for durable promises to ignore lower terms. With a majority it adopts the log with the
//!   highest tip (term of the last record, then length), fetching what it lacks, and writes a record of its own before it
//!   counts anything as committed: acknowledgements of other terms' records prove nothing.
//! - A copy is cut only where it **conflicts** with the log it follows. What conflicts was never committed, so a crash in the
//!   middle of a cut loses nothing either.
//! - A set of one is the same machine: everything is committed at once, and a restart is a takeover by oneself.
//!
//! Every [`Output`] stands behind what it depends on being on disk: the caller sends nothing before the preceding
//! [`Output::Persist`]s are. That makes "stored" and "promised" true and lets a holder count itself.
//!
//! All of it stands on disks that keep what they acknowledged. A replica whose disk forgot a promise or a record votes against
//! what it agreed to: the model shows how a record that counts is then replaced. Silent for ever it does no harm, because
//! it is then one that is lost for good, which a majority does without. Nothing less will do: it cannot tell by itself which
//! terms it promised, nor which of its own it used, and a term used twice makes old answers count for new records. So it
//! comes back under another key, as another coordinator.
//!
//! The protocol is the leader change of Viewstamped Replication with Raft's rules for logs (prefixes match, only the own
//! term commits). `model.rs` tries every interleaving of a bounded run.

mod candidate;
mod holder;
pub mod message;
#[cfg(test)]
mod model;

use std::time::Duration;

use foa_wire::{Index, JobId, NodeId, Term, Time};
use foa_workflows::Record;
use foa_workflows::engine::BrokenLog;
use foa_workflows::journal::{Step, fitting};

use self::candidate::Campaign;
use self::holder::Holding;
pub use self::message::{Message, Tip, What};

/// First wait before something unanswered is sent again; doubles up to [`RESEND_MOST`].
const RESEND_FIRST: Duration = Duration::from_secs(2);
/// Longest wait before something unanswered is sent again.
const RESEND_MOST: Duration = Duration::from_secs(16);
/// Records sent in one message, by size.
pub(crate) const RECORDS_BYTES: usize = 180 * 1024;

/// One coordinator's copy of one job's log.
#[derive(Clone, Debug)]
pub struct Replica {
    job: JobId,
    me: NodeId,
    promised: Option<Term>,
    log: Vec<Record>,
    committed: Index,
    role: Role,
    /// The highest term number anyone refused us with: where the next campaign starts.
    refused: u64,
}

/// What a coordinator is for one job.
#[derive(Clone, Debug)]
enum Role {
    /// Stores what the holder sends.
    Follower,
    /// Asks for promises.
    Candidate(Campaign),
    /// Writes the log.
    Holder(Holding),
}

/// What a replica wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make durable before anything that follows.
    Persist(Durable),
    /// Say it to another replica.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// We hold the job now. The caller writes a record of the new term next.
    Won,
    /// We hold or wanted the job, and somebody else has the better claim.
    Lost,
    /// Everything up to here may be acted on.
    Committed(Index),
}

/// What a replica must not forget.
#[derive(Clone, Debug, PartialEq)]
pub enum Durable {
    /// A record; it replaces whatever the log has from its index on.
    Record(Box<Record>),
    /// No lower term is listened to any more.
    Promised(Term),
}

/// What one input led to.
type Outputs = Vec<Output>;

impl Replica {
    /// A replica that knows nothing of the job.
    #[must_use]
    pub fn unknown(job: JobId, me: NodeId) -> Self {
        Self {
            job,
            me,
            promised: None,
            log: Vec::new(),
            committed: Index(0),
            role: Role::Follower,
            refused: 0,
        }
    }

    /// The holder of a new job, in its first term. `replicas` must begin with `me`, or be `me` alone.
    #[must_use]
    pub fn found(job: JobId, me: NodeId, replicas: &[NodeId], now: Time) -> Self {
        let mut replica = Self::unknown(job, me.clone());
        replica.promised = Some(Term::first(me));
        replica.role = Role::Holder(Holding::new(replicas, &replica.me, Index(1), now));
        replica
    }

    /// What a journal kept of a replica, in the order it was written.
    ///
    /// # Errors
    /// When the records are no log: a gap, or no acceptance at the beginning.
    pub fn recovered(
        job: JobId,
        me: NodeId,
        kept: impl IntoIterator<Item = Durable>,
    ) -> Result<Self, BrokenLog> {
        let mut replica = Self::unknown(job, me);
        for durable in kept {
            match durable {
                Durable::Promised(term) => replica.raise(&term),
                Durable::Record(record) => {
                    let wanted = replica.last().next();
                    if record.index > wanted || record.index.0 == 0 {
                        return Err(BrokenLog::Gap { wanted, found: record.index });
                    }
                    if record.index.0 == 1 && !matches!(record.step, Step::Accepted { .. }) {
                        return Err(BrokenLog::NoAcceptance { found: record.step.name().to_owned() });
                    }
                    replica.raise(&record.term);
                    replica.committed = replica.committed.max(record.committed);
                    replica.log.truncate(position(record.index));
                    replica.log.push(*record);
                }
            }
        }
        replica.committed = replica.committed.min(replica.last());
        Ok(replica)
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// The records, gap-free from 1. Those behind [`Replica::committed`] may still be replaced.
    #[must_use]
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// The last index that is known to be committed; 0 is none.
    #[must_use]
    pub fn committed(&self) -> Index {
        self.committed
    }

    /// The last index there is; 0 is none.
    #[must_use]
    pub fn last(&self) -> Index {
        self.log.last().map_or(Index(0), |record| record.index)
    }

    /// The highest term we promised or follow.
    #[must_use]
    pub fn promised(&self) -> Option<&Term> {
        self.promised.as_ref()
    }

    /// Whether we write the log.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.role, Role::Holder(_))
    }

    /// Whether we write the log in its first term.
    #[must_use]
    pub fn founds(&self) -> bool {
        self.holds() && self.promised.as_ref().is_some_and(|term| term.number == 1)
    }

    /// Whether we ask for promises.
    #[must_use]
    pub fn campaigns(&self) -> bool {
        matches!(self.role, Role::Candidate(_))
    }

    /// The replica set, as record 1 names it; `None` before there is one.
    #[must_use]
    pub fn replicas(&self) -> Option<&[NodeId]> {
        match &self.log.first()?.step {
            Step::Accepted { replicas, .. } => Some(replicas),
            _ => None,
        }
    }

    /// When a [`Replica::tick`] is wanted.
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        match &self.role {
            Role::Follower => None,
            Role::Candidate(campaign) => campaign.wake(),
            Role::Holder(holding) => holding.wake(self.last()),
        }
    }

    /// Sends again what was not answered for a while, to those who are there.
    pub fn tick(&mut self, there: impl Fn(&NodeId) -> bool, now: Time) -> Outputs {
        let mut out = Outputs::new();
        match self.role {
            Role::Follower => {}
            Role::Candidate(_) => self.ask_again(now, &mut out),
            Role::Holder(_) => self.append_again(there, now, &mut out),
        }
        out
    }

    /// Takes a message of another coordinator. `alive` says whether the holder we follow is there, which makes it keep the
    /// job against anyone who thinks otherwise.
    pub fn receive(&mut self, from: &NodeId, message: Message, alive: bool, now: Time) -> Outputs {
        let mut out = Outputs::new();
        if message.job != self.job {
            return out;
        }
        let Message { term, what, .. } = message;
        match what {
            What::Append { previous, records, committed } if *from == term.holder => {
                self.append(term, previous.as_ref(), records, committed, &mut out);
            }
            What::Prepare { replicas: _ } if *from == term.holder => self.prepare(term, alive, &mut out),
            What::Fetch { after } if self.promised.as_ref() == Some(&term) => {
                let what = What::Records { previous: self.tip_at(after), records: chunk(&self.log, after) };
                self.send(from, term, what, &mut out);
            }
            What::Stored { last, committed } => self.stored(from, &term, last, committed, &mut out),
            What::Behind { last } => self.behind(from, &term, last, now, &mut out),
            What::Promise { tip } => self.promise(from, &term, tip, now, &mut out),
            What::Records { previous, records } => {
                self.fetched(from, &term, previous.as_ref(), records, now, &mut out);
            }
            What::Refuse { higher } => self.refuse(from, &term, &higher, &mut out),
            What::Append { .. } | What::Prepare { .. } | What::Fetch { .. } => {}
        }
        out
    }

    /// The holder's records.
    fn append(
        &mut self,
        term: Term,
        previous: Option<&Tip>,
        records: Vec<Record>,
        committed: Index,
        out: &mut Outputs,
    ) {
        if let Some(higher) = self.objection(&term) {
            return self.send(&term.holder.clone(), term, What::Refuse { higher }, out);
        }
        let to = term.holder.clone();
        let before = previous.map_or(Index(0), |tip| tip.index);
        if !gap_free(&records, before) || records.iter().any(|r| r.term > term) || to == self.me {
            return;
        }
        self.follow(&term, out);
        if !self.attaches(previous) {
            let last = if self.last() < before { self.last() } else { self.committed };
            return self.send(&to, term, What::Behind { last }, out);
        }
        let last = records.last().map_or(before, |record| record.index);
        if self.adopt(records, out) {
            self.advance(committed.min(last), out);
            self.send(&to, term, What::Stored { last, committed: self.committed }, out);
        }
    }

    /// Whether our log up to this record is the same as theirs. What is committed is the same everywhere.
    fn attaches(&self, previous: Option<&Tip>) -> bool {
        previous.is_none_or(|tip| tip.index <= self.committed || self.tip_at(tip.index).as_ref() == Some(tip))
    }

    /// Takes records of the log we follow: skips those we have, cuts where they conflict with ours. Says no to what
    /// contradicts a committed record.
    fn adopt(&mut self, records: Vec<Record>, out: &mut Outputs) -> bool {
        for record in records {
            let at = position(record.index);
            match self.log.get(at) {
                Some(own) if own.term == record.term => continue,
                Some(_) if record.index <= self.committed => return false,
                Some(_) | None => self.log.truncate(at),
            }
            self.log.push(record.clone());
            out.push(Output::Persist(Durable::Record(Box::new(record))));
        }
        true
    }

    /// Why we do not listen to this term: a higher one, or something of the job when this claims to be its beginning.
    fn objection(&self, term: &Term) -> Option<Term> {
        let promised = self.promised.as_ref()?;
        let founds = term.number == 1 && promised != term;
        (promised > term || founds).then(|| promised.clone())
    }

    /// Listens to this term and to no lower one.
    fn follow(&mut self, term: &Term, out: &mut Outputs) {
        if self.promised.as_ref() != Some(term) {
            self.promised = Some(term.clone());
            out.push(Output::Persist(Durable::Promised(term.clone())));
        }
        self.step_down(out);
    }

    fn step_down(&mut self, out: &mut Outputs) {
        if !matches!(self.role, Role::Follower) {
            self.role = Role::Follower;
            out.push(Output::Lost);
        }
    }

    fn raise(&mut self, term: &Term) {
        if self.promised.as_ref().is_none_or(|promised| promised < term) {
            self.promised = Some(term.clone());
        }
    }

    fn advance(&mut self, committed: Index, out: &mut Outputs) {
        if committed > self.committed {
            self.committed = committed;
            out.push(Output::Committed(committed));
        }
    }

    /// The record at an index, as the end of a log.
    fn tip_at(&self, index: Index) -> Option<Tip> {
        index.0.checked_sub(1)?;
        self.log.get(position(index)).map(|record| Tip { term: record.term.clone(), index })
    }

    fn tip(&self) -> Option<Tip> {
        self.tip_at(self.last())
    }

    fn send(&self, to: &NodeId, term: Term, what: What, out: &mut Outputs) {
        let message = Message { job: self.job.clone(), term, what };
        out.push(Output::Send { to: to.clone(), message });
    }
}

/// More than half of this many.
fn majority(of: usize) -> usize {
    of / 2 + 1
}

/// Where a record stands in a log.
fn position(index: Index) -> usize {
    usize::try_from(index.0.saturating_sub(1)).unwrap_or(usize::MAX)
}

fn gap_free(records: &[Record], after: Index) -> bool {
    records.iter().zip(after.0 + 1..).all(|(record, index)| record.index.0 == index)
}

/// As much of a log behind an index as fits one message; at least one record if there is one.
fn chunk(log: &[Record], after: Index) -> Vec<Record> {
    fitting(log.get(position(after.next())..).unwrap_or_default(), RECORDS_BYTES).to_vec()
}
