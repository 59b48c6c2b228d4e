//! Artifacts over libp2p: what is too large for an envelope moves from node to node, over QUIC or TCP, encrypted.
//!
//! - A host is its node: the libp2p key is the node's own, so a peer id proves a node id ([`Peer`]).
//! - Only those whom the node admits are served ([`Admit`]); everyone else is turned away once the key is known.
//! - An artifact is named by its BLAKE3 hash. Its [`Outline`] proves every piece by itself: a holder that sends wrong
//!   bytes is found out at the piece, and the next holder goes on where it stopped ([`Host::fetch`]).
//! - Everything a peer can make us do is bounded: connections, streams, answers under way, lengths, time.
//!
//! Start reading at `host`. The addresses of others come from elsewhere (the broker); there is no discovery here.

mod fetch;
mod gate;
mod host;
mod outline;
mod peer;
mod protocol;

pub use fetch::{Fault, FetchError, Fetched, Partial, Progress, WINDOW, Wanted};
pub use gate::Admit;
pub use host::{Host, HostConfig, HostError, Shelf};
pub use outline::{MOST_BYTES, MOST_PIECES, Outline, Outliner, PIECE, WrongOutline};
pub use peer::Peer;
