//! The broker as its clients meet it: one broker, or a cluster that a fault has torn in two halves. While it is torn,
//! each half serves its own clients and knows nothing of the other; when the halves join, the second one starts afresh,
//! which is how clustered brokers heal by themselves.

use std::collections::BTreeSet;
use std::rc::Rc;

use foa_wire::Filter;

use super::link::Message;
use super::mqtt::{Broker, Delivery, Outgoing, Peer};

/// One broker or two halves.
#[derive(Debug, Default)]
pub struct Cluster {
    whole: Broker,
    torn: Option<(Broker, BTreeSet<Peer>)>,
    dropped: u64,
}

impl Cluster {
    /// A cluster in one piece that keeps so many messages for one client.
    #[must_use]
    pub fn new(most: Option<usize>) -> Self {
        Self { whole: Broker::new(most), ..Self::default() }
    }

    /// The half that serves a client.
    pub fn of(&mut self, peer: Peer) -> &mut Broker {
        match &mut self.torn {
            Some((other, peers)) if peers.contains(&peer) => other,
            Some(_) | None => &mut self.whole,
        }
    }

    /// The half that serves a client, to look at.
    #[must_use]
    pub fn at(&self, peer: Peer) -> &Broker {
        match &self.torn {
            Some((other, peers)) if peers.contains(&peer) => other,
            Some(_) | None => &self.whole,
        }
    }

    /// A client wants what matches.
    pub fn subscribe(&mut self, peer: Peer, filters: &[Filter], turn: usize) -> Vec<Outgoing> {
        self.of(peer).subscribe(peer, filters, turn)
    }

    /// A message of a client reached its half.
    pub fn publish(&mut self, from: Peer, message: &Rc<Message>) -> Vec<Outgoing> {
        self.of(from).publish(message)
    }

    /// A client has taken a message for good.
    pub fn acknowledge(&mut self, peer: Peer, delivery: Delivery) {
        self.of(peer).acknowledge(peer, delivery);
    }

    /// Whether it is torn.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn.is_some()
    }

    /// These clients are on the other side from now on.
    pub fn tear(&mut self, peers: BTreeSet<Peer>) {
        let other = self.whole.split_off(&peers);
        self.torn = Some((other, peers));
    }

    /// The halves join: the second one forgets everything; its clients, which must connect anew.
    pub fn join(&mut self) -> BTreeSet<Peer> {
        let Some((other, peers)) = self.torn.take() else { return BTreeSet::new() };
        self.dropped += other.dropped();
        peers
    }

    /// Everything stops and everything is forgotten.
    pub fn forget(&mut self) {
        self.join();
        self.whole.forget();
    }

    /// Everything stops and comes back as it was, in one piece.
    pub fn stop(&mut self) {
        self.join();
        self.whole.stop();
    }

    /// Messages dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped + self.whole.dropped()
    }
}
