//! Taking over: asking for promises, adopting the best log among those who promised.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foa_wire::{Index, NodeId, Term, Time};
use foa_workflows::Record;

use super::holder::Holding;
use super::{
    Durable, Output, Outputs, RESEND_FIRST, RESEND_MOST, Replica, Role, Tip, What, gap_free, majority,
};

/// A takeover under way.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    /// Whom we ask while no record 1 names the set.
    replicas: Vec<NodeId>,
    /// Who promised, and where their logs end.
    promises: BTreeMap<NodeId, Option<Tip>>,
    /// Who says that the holder is there. One alone may be wrong: whom it takes for the holder may have promised us.
    refusals: BTreeSet<NodeId>,
    /// Who was asked for its log and has not answered.
    asked: Option<NodeId>,
    again: Time,
    wait: Duration,
}

impl Campaign {
    pub(super) fn wake(&self) -> Option<Time> {
        Some(self.again)
    }
}

impl Replica {
    /// Asks for the job. `replicas` is whom to ask when no record names the set yet; it must contain us.
    pub fn campaign(&mut self, replicas: &[NodeId], now: Time) -> Outputs {
        let mut out = Outputs::new();
        let replicas = self.replicas().unwrap_or(replicas).to_vec();
        if !replicas.contains(&self.me) {
            return out;
        }
        let number = self.promised.as_ref().map_or(1, |term| term.number).max(self.refused) + 1;
        let term = Term { number, holder: self.me.clone() };
        self.promised = Some(term.clone());
        out.push(Output::Persist(Durable::Promised(term)));
        self.role = Role::Candidate(Campaign {
            replicas,
            promises: BTreeMap::new(),
            refusals: BTreeSet::new(),
            asked: None,
            again: now + RESEND_FIRST,
            wait: RESEND_FIRST,
        });
        self.ask(&mut out);
        self.decide(now, &mut out);
        out
    }

    pub(super) fn ask_again(&mut self, now: Time, out: &mut Outputs) {
        let Role::Candidate(campaign) = &mut self.role else { return };
        if campaign.again > now {
            return;
        }
        campaign.wait = (campaign.wait * 2).min(RESEND_MOST);
        campaign.again = now + campaign.wait;
        campaign.refusals.clear();
        // Whoever has the best log and does not show it may be gone for good: its promise counts no more than one that never
        // arrived, and the others may be enough. If it is there, it promises again.
        if let Some(silent) = campaign.asked.take() {
            campaign.promises.remove(&silent);
        }
        self.ask(out);
        self.decide(now, out);
    }

    /// The set: as record 1 names it, or as we think while there is none.
    fn voters(&self) -> Vec<NodeId> {
        let thought = match &self.role {
            Role::Candidate(campaign) => campaign.replicas.clone(),
            Role::Follower | Role::Holder(_) => Vec::new(),
        };
        self.replicas().map_or(thought, <[NodeId]>::to_vec)
    }

    fn ask(&self, out: &mut Outputs) {
        let (Role::Candidate(campaign), Some(term)) = (&self.role, &self.promised) else { return };
        let voters = self.voters();
        for node in voters.iter().filter(|node| **node != self.me && !campaign.promises.contains_key(node)) {
            self.send(node, term.clone(), What::Prepare { replicas: voters.clone() }, out);
        }
    }

    /// Somebody wants the job.
    pub(super) fn prepare(&mut self, term: Term, alive: bool, out: &mut Outputs) {
        let to = term.holder.clone();
        if to == self.me {
            return;
        }
        let known = self.promised.clone();
        let refused = known.filter(|promised| {
            let anew = promised.holder == to && *promised <= term;
            *promised > term || (alive && !anew)
        });
        if let Some(higher) = refused {
            return self.send(&to, term, What::Refuse { higher }, out);
        }
        self.follow(&term, out);
        self.send(&to, term, What::Promise { tip: self.tip() }, out);
    }

    pub(super) fn promise(
        &mut self,
        from: &NodeId,
        term: &Term,
        tip: Option<Tip>,
        now: Time,
        out: &mut Outputs,
    ) {
        if self.promised.as_ref() != Some(term) {
            return;
        }
        let Role::Candidate(campaign) = &mut self.role else { return };
        campaign.promises.insert(from.clone(), tip);
        self.decide(now, out);
    }

    /// A majority has promised: the best of their logs becomes ours, and then the job.
    fn decide(&mut self, now: Time, out: &mut Outputs) {
        let voters = self.voters();
        let Role::Candidate(campaign) = &self.role else { return };
        if !voters.contains(&self.me) {
            // The log we found names a set that is not the one we thought.
            return self.step_down(out);
        }
        let promised = |node: &&NodeId| campaign.promises.contains_key(*node);
        if voters.iter().filter(promised).count() + 1 < majority(voters.len()) {
            return;
        }
        match self.best(&voters) {
            Some(node) => {
                self.fetch(&node, self.committed, out);
                if let Role::Candidate(campaign) = &mut self.role {
                    campaign.asked = Some(node);
                }
            }
            None => {
                let first = self.last().next();
                self.role = Role::Holder(Holding::new(&voters, &self.me, first, now));
                out.push(Output::Won);
            }
        }
    }

    /// Who of those that promised has the best log, if it is better than ours.
    fn best(&self, voters: &[NodeId]) -> Option<NodeId> {
        let Role::Candidate(campaign) = &self.role else { return None };
        let of_voters = voters.iter().filter_map(|node| Some((campaign.promises.get(node)?, node)));
        let (tip, node) = of_voters.max_by(|a, b| a.0.cmp(b.0).then_with(|| b.1.cmp(a.1)))?;
        (*tip > self.tip()).then(|| node.clone())
    }

    fn fetch(&self, node: &NodeId, after: Index, out: &mut Outputs) {
        if let Some(term) = self.promised.clone() {
            self.send(node, term, What::Fetch { after }, out);
        }
    }

    /// A part of the best log.
    pub(super) fn fetched(
        &mut self,
        from: &NodeId,
        term: &Term,
        previous: Option<&Tip>,
        records: Vec<Record>,
        now: Time,
        out: &mut Outputs,
    ) {
        let after = previous.map_or(Index(0), |tip| tip.index);
        let of_best = self.best(&self.voters()).as_ref() == Some(from);
        let older = records.iter().all(|record| record.term < *term);
        if self.promised.as_ref() != Some(term) || !of_best || !older || !gap_free(&records, after) {
            return;
        }
        let (Some(last), true) = (records.last().map(|r| r.index), self.attaches(previous)) else {
            return;
        };
        if !self.adopt(records, out) {
            return;
        }
        if let Role::Candidate(campaign) = &mut self.role {
            campaign.asked = None;
        }
        if self.best(&self.voters()).as_ref() == Some(from) {
            return self.fetch(from, last, out);
        }
        // Record 1 may name voters we have not asked.
        self.ask(out);
        self.decide(now, out);
    }

    /// A replica knows better.
    pub(super) fn refuse(&mut self, from: &NodeId, term: &Term, higher: &Term, out: &mut Outputs) {
        let ours = self.promised.as_ref() == Some(term) && !matches!(self.role, Role::Follower);
        if !ours || !self.voters().contains(from) {
            return;
        }
        self.refused = self.refused.max(higher.number.min(term.number + 1_000_000));
        // A higher term ends a campaign and a hold; so does, for a founder, whoever knows of the job already. "The holder is
        // there" comes with a lower term, and ends a campaign once so many say so that no majority is left.
        if higher > term || term.number == 1 {
            return self.step_down(out);
        }
        let voters = self.voters().len();
        if let Role::Candidate(campaign) = &mut self.role {
            campaign.refusals.insert(from.clone());
            if voters - campaign.refusals.len() < majority(voters) {
                self.step_down(out);
            }
        }
    }
}

#[cfg(test)]
impl Campaign {
    /// What makes two of them different, times aside.
    pub(super) fn key(&self) -> String {
        format!("{:?}{:?}{:?}{:?}", self.replicas, self.promises, self.refusals, self.asked)
    }
}

#[cfg(test)]
mod tests {
    use foa_wire::NodeKey;

    use super::super::Message;
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::new(format!("n{n}").parse().unwrap(), &NodeKey::from_seed([n; 32]).public())
    }

    fn asked_of(out: &Outputs, whom: &NodeId, wanted: fn(&What) -> bool) -> bool {
        let of =
            |o: &Output| matches!(o, Output::Send { to, message } if to == whom && wanted(&message.what));
        out.iter().any(of)
    }

    /// A replica with a longer log promised, and is gone before it shows it: the other two are a majority without it.
    #[test]
    fn a_promise_of_one_that_is_gone_since_holds_nobody_up() {
        let [a, b, c] = [node(1), node(2), node(3)];
        let now = Time::from_millis(1_000);
        let job: foa_wire::JobId = "job-00001".parse().unwrap();
        let mut replica = Replica::unknown(job.clone(), a.clone());
        replica.campaign(&[a.clone(), b.clone(), c.clone()], now);
        let term = replica.promised().unwrap().clone();
        let promise = |tip| Message { job: job.clone(), term: term.clone(), what: What::Promise { tip } };
        let tip = Tip { term: Term::first(b.clone()), index: Index(1) };
        let out = replica.receive(&b, promise(Some(tip)), false, now);
        assert!(asked_of(&out, &b, |what| matches!(what, What::Fetch { .. })), "{out:?}");
        let out = replica.receive(&c, promise(None), false, now);
        assert!(!out.contains(&Output::Won), "not while its log may come: {out:?}");
        let out = replica.tick(|_| true, now + RESEND_FIRST);
        assert!(asked_of(&out, &b, |what| matches!(what, What::Prepare { .. })), "{out:?}");
        assert!(out.contains(&Output::Won), "{out:?}");
    }
}
