//! Who is let in. A stranger's connection ends as soon as its key is known, before it can open a stream.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use foa_wire::PublicKey;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::peer::key_of;

/// Says whether the holder of a key may be served now. Asked for every connection and every question.
pub type Admit = Arc<dyn Fn(&PublicKey) -> bool + Send + Sync>;

/// The part of a host that turns strangers away.
pub(super) struct Gate {
    admit: Admit,
}

/// Why a connection was ended.
#[derive(Debug)]
struct Stranger(PeerId);

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wanted a peer that is known in the federation, found {}", self.0)
    }
}

impl std::error::Error for Stranger {}

impl Gate {
    pub(super) fn new(admit: Admit) -> Self {
        Self { admit }
    }

    pub(super) fn admits(&self, peer: &PeerId) -> bool {
        key_of(peer).is_some_and(|key| (self.admit)(&key))
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.admits(&peer) {
            return Ok(dummy::ConnectionHandler);
        }
        tracing::info!(%peer, %from, "a stranger asked for artifacts and was turned away");
        Err(ConnectionDenied::new(Stranger(peer)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // We chose whom to call, and the transport has checked that it is the one.
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
