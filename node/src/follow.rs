//! Following a job: its committed records in order, each once, whatever way they come.
//!
//! Records are published as they count, over a broker that may lose what it holds, by a holder that may die and be followed
//! by another. So whoever follows numbers what it saw, and asks for what is missing: a job's owner asks for a replay,
//! anybody else asks a coordinator for the log.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_node_core::query::{QueryAnswer, Question};
use foa_wire::{Index, JobId};
use foa_workflows::Record;
use foa_workflows::job::Control;
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, ClientError, Heard};

/// A record that is missing while a later one is there is asked for after this long: it may only be late.
const GAP: Duration = Duration::from_millis(300);
/// Records are asked for when nothing was heard for this long: the last one may be lost, and no later one tells.
const SILENCE: Duration = Duration::from_secs(5);

/// What a job's records are known to be so far.
#[derive(Debug)]
pub struct Follow {
    job: JobId,
    owned: bool,
    next: u64,
    early: BTreeMap<Index, Record>,
    ask_at: Instant,
}

/// What came next.
#[derive(Debug)]
pub enum Followed {
    /// Records of the job, in order, none left out, none twice.
    Records(Vec<Record>),
    /// Anything else.
    Other(Heard),
}

impl Follow {
    /// Follows a job from record `next` on. `owned` says whether the job is ours, so that we may ask for a replay.
    #[must_use]
    pub fn new(job: JobId, next: u64, owned: bool) -> Self {
        Self { job, owned, next, early: BTreeMap::new(), ask_at: Instant::now() + SILENCE }
    }

    /// The record that comes next.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        self.next
    }

    /// Whether a later record is there and this one is not.
    #[must_use]
    pub fn gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Takes a record and returns those whose turn it is.
    pub fn take(&mut self, record: Record) -> Vec<Record> {
        if record.job != self.job || record.index.0 < self.next {
            return Vec::new();
        }
        self.early.insert(record.index, record);
        let mut due = Vec::new();
        while let Some(record) = self.early.remove(&Index(self.next)) {
            self.next += 1;
            due.push(record);
        }
        due
    }

    /// Asks for what is missing, now.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn ask(&mut self, client: &mut Client) -> Result<(), ClientError> {
        self.ask_at = Instant::now() + SILENCE;
        if self.owned {
            client.control(&self.job, Control::Replay { from: self.next }).await
        } else {
            client.question(Question::Job { job: self.job.clone() }).await
        }
    }

    /// The next thing heard, records in order. Cancel-safe.
    ///
    /// # Errors
    /// When the connection was closed.
    pub async fn next(&mut self, client: &mut Client) -> Result<Followed, ClientError> {
        loop {
            let heard = match timeout_at(self.ask_at, client.next()).await {
                Ok(heard) => heard.ok_or(ClientError::Closed)?,
                Err(_) => {
                    self.ask(client).await?;
                    continue;
                }
            };
            let records = match heard {
                Heard::Records(events) if events.job == self.job => events.records,
                Heard::Reply(_, answer) => match *answer {
                    QueryAnswer::Job { summary, records, .. } if summary.job == self.job => records,
                    other => return Ok(Followed::Other(Heard::Reply(String::new(), Box::new(other)))),
                },
                other => return Ok(Followed::Other(other)),
            };
            let due: Vec<Record> = records.into_iter().flat_map(|record| self.take(record)).collect();
            let now = Instant::now();
            self.ask_at = if self.gap() { self.ask_at.min(now + GAP) } else { now + SILENCE };
            if !due.is_empty() {
                return Ok(Followed::Records(due));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use foa_wire::{NodeKey, Term, Time};
    use foa_workflows::journal::Step;

    use super::*;

    fn record(index: u64) -> Record {
        let key = NodeKey::from_seed([1; 32]);
        let holder = foa_wire::NodeId::new("holder".parse().unwrap(), &key.public());
        Record {
            job: "job-under-test".parse().unwrap(),
            term: Term::first(holder.clone()),
            index: Index(index),
            committed: Index(index),
            at: Time::from_millis(1),
            step: Step::Cancelled { by: holder },
        }
    }

    fn taken(follow: &mut Follow, indices: &[u64]) -> Vec<u64> {
        indices.iter().flat_map(|index| follow.take(record(*index))).map(|r| r.index.0).collect()
    }

    #[tokio::test]
    async fn every_record_comes_once_and_in_order_however_it_arrives() {
        for arrivals in [&[1, 2, 3, 4][..], &[4, 3, 2, 1], &[2, 1, 1, 2, 4, 3, 3], &[1, 3, 4, 1, 2, 4]] {
            let mut follow = Follow::new("job-under-test".parse().unwrap(), 1, true);
            assert_eq!(taken(&mut follow, arrivals), [1, 2, 3, 4], "{arrivals:?}");
            assert!(!follow.gap());
        }
        let mut late = Follow::new("job-under-test".parse().unwrap(), 3, true);
        assert_eq!(taken(&mut late, &[1, 2, 4]), [0_u64; 0]);
        assert!(late.gap());
        assert_eq!(taken(&mut late, &[3]), [3, 4]);
    }
}
