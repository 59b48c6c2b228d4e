//! Everything a node decides: one [`NodeMachine`] made of the machines of the crates below, with no IO, clock or threads.
//!
//! A shell (the daemon, the simulator) is one loop: it turns what happens into an [`Input`], and the [`Output`]s it gets
//! back into sockets, files and agents. Both shells run this same machine.
//!
//! Start reading at [`effect`] (what goes in and out), then [`machine`] (the dispatch), then the part in question:
//! [`membership`] (who is there), [`worker`] (our agents' work), [`coordinator`] (the jobs we hold).
//!
//! It does not know the encoding, sockets, configuration files, or how an agent is run.

pub mod admission;
pub mod afar;
mod arrival;
pub mod artifact;
#[cfg(test)]
mod artifact_tests;
#[cfg(test)]
mod authority;
pub mod body;
pub mod coordinator;
pub mod effect;
#[cfg(test)]
mod fixture;
pub mod gossip;
pub mod journal;
pub mod machine;
pub mod membership;
pub mod queries;
pub mod query;
pub mod refusal;
pub mod replica;
pub mod shards;
pub mod status;
pub mod view;
pub mod window;
pub mod worker;

pub use body::Body;
pub use effect::{Effect, Input, Output};
pub use machine::{Config, Identity, NodeMachine};
