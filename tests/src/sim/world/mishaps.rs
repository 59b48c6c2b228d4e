//! What goes wrong, when it does, and what it takes to be right again.

use std::time::Duration;

use foa_node_core::Input;

use super::queue::Event;
use super::{KEEP_ALIVE, World};
use crate::sim::faults::FaultKind;
use crate::sim::link::{RECONNECT, Weather};
use crate::sim::mqtt::Peer;
use crate::sim::port::Cut;

/// How far a clock is set at once, at most.
const SET_BY_MS: u64 = 30_000;

impl World {
    pub(super) fn fault(&mut self, kind: FaultKind, n: usize, lasting: Duration) {
        self.quiet_after = self.quiet_after.max(self.now + lasting);
        self.equal_at = None;
        *self.traffic.faults.entry(kind).or_default() += 1;
        let id = self.nodes[n].identity.id().clone();
        self.note(|| format!("fault: {kind:?} of {id} for {lasting:?}"));
        match kind {
            FaultKind::Crash => {
                if self.nodes[n].machine.is_some() {
                    self.stop(n);
                    self.after(lasting, Event::Start(n));
                }
            }
            FaultKind::Kill => {
                self.stop(n);
                self.nodes[n].gone = true;
            }
            FaultKind::Partition => self.cut(kind, n, Cut { up: true, down: true }, lasting),
            FaultKind::Deaf => self.cut(kind, n, Cut { up: false, down: true }, lasting),
            FaultKind::Mute => self.cut(kind, n, Cut { up: true, down: false }, lasting),
            FaultKind::Split => self.tear(lasting),
            FaultKind::Broker => self.broker_stops(true, lasting),
            FaultKind::Restart => self.broker_stops(false, lasting),
            FaultKind::Session => {
                if self.ports[n].connected {
                    self.lose(n);
                }
                self.broker.of(n).end_session(n);
            }
            FaultKind::Delay => self.weather(kind, n, lasting, |w| w.late_ms = 4_000),
            FaultKind::Duplicate => self.weather(kind, n, lasting, |w| w.twice = 0.5),
            FaultKind::Reorder => self.weather(kind, n, lasting, |w| {
                w.overtakes = true;
                w.late_ms = w.late_ms.max(300);
            }),
            FaultKind::Clock => self.set_clock(n),
            FaultKind::Slow => {
                self.ports[n].takes = Duration::from_millis(40);
                self.after(lasting, Event::Over(kind, n));
            }
            FaultKind::Disk => {
                self.nodes[n].disk.breaks = true;
                self.after(lasting, Event::Over(kind, n));
            }
            FaultKind::Full => {
                self.nodes[n].disk.full = true;
                self.after(lasting, Event::Over(kind, n));
            }
        }
    }

    /// What went wrong is right again.
    pub(super) fn over(&mut self, kind: FaultKind, n: usize) {
        match kind {
            FaultKind::Partition | FaultKind::Deaf | FaultKind::Mute => self.mend(n),
            FaultKind::Split => {
                self.note(|| "the halves of the broker join".to_owned());
                for peer in self.broker.join() {
                    if self.ports[peer].connected {
                        self.lose(peer);
                    }
                }
            }
            FaultKind::Delay | FaultKind::Duplicate | FaultKind::Reorder => {
                self.ports[n].weather = Weather { loss: self.options.loss, ..Weather::default() };
            }
            FaultKind::Slow => self.ports[n].takes = Duration::ZERO,
            FaultKind::Disk | FaultKind::Full => {
                self.nodes[n].disk.full = false;
                self.nodes[n].disk.breaks = false;
                self.begin(n);
            }
            FaultKind::Crash
            | FaultKind::Kill
            | FaultKind::Broker
            | FaultKind::Restart
            | FaultKind::Session
            | FaultKind::Clock => {}
        }
    }

    fn cut(&mut self, kind: FaultKind, n: usize, cut: Cut, lasting: Duration) {
        if self.ports[n].cut.any() {
            return;
        }
        self.ports[n].cut = cut;
        let epoch = self.ports[n].epoch;
        // Something between may answer pings for the other side; then neither notices.
        if kind == FaultKind::Partition || self.random.chance(0.5) {
            self.after(KEEP_ALIVE, Event::Notice { peer: n, epoch });
        }
        self.after(lasting, Event::Over(kind, n));
    }

    fn mend(&mut self, peer: Peer) {
        self.ports[peer].cut = Cut::default();
        let port = &self.ports[peer];
        if port.connected && self.broker_up {
            let sent: Vec<u64> = port.outbox.keys().copied().collect();
            let kept = self.broker.at(peer).kept(peer);
            for out in sent {
                self.carry_up(peer, out);
            }
            self.carry_down(kept);
        }
    }

    fn weather(&mut self, kind: FaultKind, n: usize, lasting: Duration, turn: impl FnOnce(&mut Weather)) {
        turn(&mut self.ports[n].weather);
        self.after(lasting, Event::Over(kind, n));
    }

    fn set_clock(&mut self, n: usize) {
        let by = self.random.millis(0, 2 * SET_BY_MS).as_millis();
        let by = i64::try_from(by).unwrap_or(0) - i64::try_from(SET_BY_MS).unwrap_or(0);
        // Never further off than that, as clocks that are looked after are.
        let most = i64::try_from(SET_BY_MS).unwrap_or(0);
        let clock = &mut self.nodes[n].clock;
        let by = (clock.ahead_ms + by).clamp(-most, most) - clock.ahead_ms;
        clock.step(by);
        if by < 0 {
            // Its beats and heartbeats come so much later.
            self.set_back += Duration::from_millis(by.unsigned_abs());
        }
        self.note(|| format!("the clock of node {n} is set by {by} ms"));
        self.nodes[n].wake = None;
        self.settle(n);
    }

    fn tear(&mut self, lasting: Duration) {
        if !self.broker_up || self.broker.is_torn() {
            return;
        }
        let peers = (0..self.ports.len()).filter(|_| self.random.chance(0.4)).collect();
        self.broker.tear(peers);
        self.after(lasting, Event::Over(FaultKind::Split, 0));
    }

    fn broker_stops(&mut self, forgets: bool, lasting: Duration) {
        if !self.broker_up {
            return;
        }
        self.broker_up = false;
        if forgets {
            self.broker.forget();
        } else {
            self.broker.stop();
        }
        for peer in 0..self.ports.len() {
            if self.ports[peer].connected {
                self.lose(peer);
            }
        }
        self.after(lasting, Event::BrokerUp);
    }

    /// A connection is lost, and both sides know.
    pub(super) fn lose(&mut self, peer: Peer) {
        self.ports[peer].connected = false;
        if self.broker_up {
            let found = self.broker.of(peer).disconnect(peer, false);
            self.carry_down(found);
        }
        let life = self.nodes.get(peer).map_or(0, |node| node.life);
        self.after(RECONNECT, Event::Connect(peer, life));
        if peer < self.nodes.len() {
            self.input(peer, Input::Disconnected, None);
        }
    }
}
