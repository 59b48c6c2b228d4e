//! A deterministic, single-threaded, discrete-event simulator of a federation. It runs the same
//! [`foa_node_core::NodeMachine`] as the daemon, under a shell with the daemon's contract: what must be durable first is,
//! messages are acknowledged after the sync, a crash loses everything else.
//!
//! Start reading at [`world`] (the clock and the events), then [`node`] (a node's shell), [`mqtt`] (the broker), [`faults`]
//! (what goes wrong) and [`invariants`] (what must always be true). The same [`options::Options`] give the same run, byte for byte.

pub mod agents;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod compare;
pub mod disk;
pub mod faults;
pub mod invariants;
pub mod link;
pub mod mqtt;
pub mod node;
pub mod options;
pub mod port;
pub mod random;
pub mod report;
pub mod sweep;
pub mod world;

pub use options::Options;
pub use report::Report;
pub use world::World;
