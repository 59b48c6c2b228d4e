//! Who a host is: its node's own Ed25519 key, so that a peer id proves a node id.

use foa_wire::{NodeId, NodeKey, PeerAddress, PublicKey};
use libp2p::identity::{self, Keypair};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// A node and where it says it can be reached. Nothing in it is believed before the other side has shown the key that
/// the node's id is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its addresses, each ending in its peer id.
    pub addresses: Vec<PeerAddress>,
}

impl Peer {
    /// The peer id that is this node's, with the addresses that lead to it. Addresses that are none, or name a peer whose
    /// key is not the node's, are left out.
    pub(super) fn reachable(&self) -> Option<(PeerId, Vec<Multiaddr>)> {
        let mut peer_id = None;
        let mut reachable = Vec::new();
        for address in &self.addresses {
            let Ok(mut address) = address.as_str().parse::<Multiaddr>() else { continue };
            let Some(Protocol::P2p(named)) = address.pop() else { continue };
            if key_of(&named).is_some_and(|key| self.node.is_of(&key)) {
                peer_id = Some(named);
                reachable.push(address);
            }
        }
        peer_id.map(|peer| (peer, reachable))
    }
}

/// The key pair of a host: that of its node.
pub(super) fn keypair(key: &NodeKey) -> Keypair {
    Keypair::ed25519_from_bytes(key.to_seed()).expect("any 32 bytes are the seed of an Ed25519 key")
}

/// The key that a peer id is made from; an Ed25519 key is short enough to stand in it as it is.
pub(super) fn key_of(peer: &PeerId) -> Option<PublicKey> {
    /// The multihash code of bytes that are not hashed at all.
    const IDENTITY: u64 = 0;
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    PublicKey::from_bytes(&key.try_into_ed25519().ok()?.to_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> (NodeId, PeerId) {
        let key = NodeKey::from_seed([seed; 32]);
        (NodeId::new("atlas".parse().unwrap(), &key.public()), keypair(&key).public().to_peer_id())
    }

    #[test]
    fn a_peer_id_carries_the_key_its_node_id_is_made_from() {
        let (id, peer) = node(7);
        assert!(id.is_of(&key_of(&peer).unwrap()));
        assert_eq!(key_of(&peer).unwrap(), NodeKey::from_seed([7; 32]).public());
    }

    #[test]
    fn an_address_of_somebody_else_leads_nowhere() {
        let ((id, own), (_, other)) = (node(7), node(8));
        let addresses = [
            format!("/ip4/127.0.0.1/tcp/1/p2p/{other}"),
            "/ip4/127.0.0.1/tcp/2".to_owned(),
            "/nonsense".to_owned(),
            format!("/ip4/127.0.0.1/udp/3/quic-v1/p2p/{own}"),
        ];
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let (peer, reachable) = Peer { node: id.clone(), addresses }.reachable().unwrap();
        assert_eq!(peer, own);
        assert_eq!(reachable, ["/ip4/127.0.0.1/udp/3/quic-v1".parse().unwrap()]);
        assert_eq!(Peer { node: id, addresses: vec![] }.reachable(), None);
    }
}
