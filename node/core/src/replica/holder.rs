//! The holder's part: sending records to the other replicas and counting who has them.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_wire::{Index, NodeId, Term, Time};
use foa_workflows::Record;

use super::{Durable, Output, Outputs, RESEND_FIRST, RESEND_MOST, Replica, Role, What, chunk, majority};

/// What a holder knows of the others.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    peers: BTreeMap<NodeId, Peer>,
    /// The first record of our own term: nothing counts as committed by acknowledgements below it.
    first: Index,
    /// Whether the log is complete: the others must hear that all of it counts, though there is nothing new in it.
    over: bool,
}

/// Another replica, as its holder sees it.
#[derive(Clone, Debug)]
struct Peer {
    stored: Index,
    sent: Index,
    /// What it knows to be committed.
    committed: Index,
    /// It was gone, and has said nothing since: it may not know any more whom it follows.
    returned: bool,
    again: Time,
    wait: Duration,
}

impl Holding {
    pub(super) fn new(replicas: &[NodeId], me: &NodeId, first: Index, now: Time) -> Self {
        // What comes before our own term the others may have or not; the first answer tells.
        let sent = Index(first.0 - 1);
        let peer = || Peer {
            stored: Index(0),
            sent,
            committed: Index(0),
            returned: false,
            again: now + RESEND_FIRST,
            wait: RESEND_FIRST,
        };
        let others = replicas.iter().filter(|node| *node != me);
        Self { peers: others.map(|node| (node.clone(), peer())).collect(), first, over: false }
    }

    pub(super) fn wake(&self, last: Index) -> Option<Time> {
        self.peers.values().filter(|peer| peer.lacks(last, self.over)).map(|peer| peer.again).min()
    }

    /// The last index that we and enough others hold.
    fn held_by_majority(&self, last: Index) -> Index {
        let mut held: Vec<Index> = self.peers.values().map(|peer| peer.stored).chain([last]).collect();
        held.sort_unstable();
        held[held.len() - majority(held.len())]
    }

    fn held_by_all(&self, last: Index) -> Index {
        self.peers.values().map(|peer| peer.stored).min().unwrap_or(last)
    }
}

impl Peer {
    /// Whether it must hear from us again.
    fn lacks(&self, last: Index, over: bool) -> bool {
        self.stored < last || self.returned || (over && self.committed < last)
    }
}

impl Replica {
    /// Writes the next record of our term. [`Replica::flush`] sends it.
    pub fn push(&mut self, mut record: Record) -> Outputs {
        let mut out = Outputs::new();
        let Some(term) = self.promised.as_ref().filter(|_| self.holds()) else { return out };
        if record.term != *term || record.index != self.last().next() {
            debug_assert!(false, "wanted record {} of {term}, found {}", self.last().next(), record.index);
            return out;
        }
        // As far as it is known now; a set of one commits by writing.
        let alone = matches!(&self.role, Role::Holder(holding) if holding.peers.is_empty());
        record.committed = if alone { record.index } else { self.committed };
        self.log.push(record.clone());
        out.push(Output::Persist(Durable::Record(Box::new(record))));
        self.count(&mut out);
        out
    }

    /// Sends the others what was written since the last time.
    pub fn flush(&mut self, now: Time) -> Outputs {
        let mut out = Outputs::new();
        let last = self.last();
        let Role::Holder(holding) = &mut self.role else { return out };
        let over = holding.over;
        let mut due = Vec::new();
        for (node, peer) in &mut holding.peers {
            if peer.sent < last {
                if peer.stored == peer.sent {
                    (peer.again, peer.wait) = (now + RESEND_FIRST, RESEND_FIRST);
                }
                due.push((node.clone(), peer.sent));
                peer.sent = last;
            } else if over && peer.lacks(last, over) {
                (peer.again, peer.wait) = (now + RESEND_FIRST, RESEND_FIRST);
                due.push((node.clone(), peer.sent));
            }
        }
        for (node, sent) in due {
            self.append_to(&node, sent, &mut out);
        }
        out
    }

    /// The log is complete, and all of it counts. [`Replica::flush`] tells the others.
    pub fn complete(&mut self) {
        if let Role::Holder(holding) = &mut self.role {
            holding.over = true;
            holding.peers.values_mut().for_each(|peer| peer.returned = false);
        }
    }

    /// Another replica is there again: what it lacks goes out at the next tick, and while the log is not complete at least the
    /// word that we hold it.
    pub fn returned(&mut self, node: &NodeId, now: Time) {
        if let Role::Holder(holding) = &mut self.role
            && let Some(peer) = holding.peers.get_mut(node)
        {
            peer.returned = !holding.over;
            (peer.again, peer.wait) = (now, RESEND_FIRST);
        }
    }

    pub(super) fn append_again(&mut self, there: impl Fn(&NodeId) -> bool, now: Time, out: &mut Outputs) {
        let last = self.last();
        if self.founds_in_vain(&there, now) {
            // Not all of the set answer, so our first term proves nothing: ask for promises like a successor.
            out.push(Output::Lost);
            if let Some(replicas) = self.replicas().map(<[NodeId]>::to_vec) {
                out.extend(self.campaign(&replicas, now));
            }
            return;
        }
        let Role::Holder(holding) = &mut self.role else { return };
        let over = holding.over;
        let mut due = Vec::new();
        for (node, peer) in &mut holding.peers {
            if peer.lacks(last, over) && peer.again <= now {
                peer.wait = (peer.wait * 2).min(RESEND_MOST);
                peer.again = now + peer.wait;
                if there(node) {
                    peer.sent = last;
                    due.push((node.clone(), peer.stored));
                }
            }
        }
        for (node, stored) in due {
            self.append_to(&node, stored, out);
        }
    }

    /// Whether one of the set has not answered a founder though it was asked twice, or is not even there. While all are busy
    /// nothing is won by asking them for more.
    fn founds_in_vain(&self, there: impl Fn(&NodeId) -> bool, now: Time) -> bool {
        let founds = self.committed.0 == 0 && self.promised.as_ref().is_some_and(|term| term.number == 1);
        let Role::Holder(holding) = &self.role else { return false };
        let late = |peer: &Peer| peer.lacks(self.last(), holding.over) && peer.again <= now;
        let vain = |node: &NodeId, peer: &Peer| peer.wait > RESEND_FIRST || !there(node);
        founds && holding.peers.iter().any(|(node, peer)| late(peer) && vain(node, peer))
    }

    /// Sends everything behind an index, in as many messages as it takes.
    fn append_to(&self, node: &NodeId, mut after: Index, out: &mut Outputs) {
        let Some(term) = self.promised.clone() else { return };
        loop {
            let records = chunk(&self.log, after);
            let end = records.last().map_or(after, |record| record.index);
            let what = What::Append { previous: self.tip_at(after), records, committed: self.committed };
            self.send(node, term.clone(), what, out);
            after = end;
            if after >= self.last() {
                return;
            }
        }
    }

    pub(super) fn stored(
        &mut self,
        from: &NodeId,
        term: &Term,
        last: Index,
        committed: Index,
        out: &mut Outputs,
    ) {
        let end = self.last();
        if self.promised.as_ref() != Some(term) || last > end {
            return;
        }
        let Role::Holder(holding) = &mut self.role else { return };
        let Some(peer) = holding.peers.get_mut(from) else { return };
        peer.returned = false;
        peer.stored = peer.stored.max(last);
        peer.committed = peer.committed.max(committed.min(end));
        peer.sent = peer.sent.max(last);
        self.count(out);
    }

    /// A replica could not attach what we sent: it gets everything behind what it surely has.
    pub(super) fn behind(&mut self, from: &NodeId, term: &Term, last: Index, now: Time, out: &mut Outputs) {
        let end = self.last();
        if self.promised.as_ref() != Some(term) || last > end {
            return;
        }
        let Role::Holder(holding) = &mut self.role else { return };
        let Some(peer) = holding.peers.get_mut(from) else { return };
        peer.returned = false;
        if last < peer.stored {
            // An old answer: it has stored more since.
            return;
        }
        (peer.again, peer.wait, peer.sent) = (now + RESEND_FIRST, RESEND_FIRST, end);
        self.append_to(from, last, out);
    }

    fn count(&mut self, out: &mut Outputs) {
        let Role::Holder(holding) = &self.role else { return };
        let fast = self.promised.as_ref().is_some_and(|term| term.number == 1) && self.committed.0 == 0;
        let held = if fast && holding.held_by_all(self.last()) < Index(1) {
            Index(0)
        } else {
            holding.held_by_majority(self.last())
        };
        if held >= holding.first {
            self.advance(held, out);
        }
    }
}

#[cfg(test)]
impl Holding {
    /// What makes two of them different, times aside.
    pub(super) fn key(&self) -> String {
        let peers: Vec<_> = self.peers.iter().map(|(id, p)| (id, p.stored, p.sent, p.committed)).collect();
        format!("{:?}{:?}{:?}", peers, self.first, self.over)
    }
}
