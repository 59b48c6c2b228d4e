//! One [`Fabric`] handle over MQTT: bytes on typed topics, through any broker or one embedded in the process.
//!
//! This crate knows connections, sessions, acknowledgements and wills. It does not know what the bytes mean: no
//! envelopes, no plans, no capability vectors.
//!
//! - [`connect`] starts a connection that is kept for ever: it reconnects with jittered back-off, subscribes again,
//!   and sends again what the broker has not acknowledged. MQTT 5 first, 3.1.1 where the broker knows no better.
//! - [`Embedded`] is a whole broker for one machine, a laptop or a demo: nothing in it survives a restart.
//! - [`p2p`] moves what is too large for a message from node to node, past the broker.
//!
//! Start reading at [`fabric`] (the handle and what it reports), then `driver` (how nothing gets lost).

pub mod config;
mod driver;
pub mod embedded;
pub mod fabric;
mod mqtt;
pub mod p2p;

pub use config::{BrokerUrl, Config, Credentials, Protocol, Will};
pub use embedded::{Embedded, EmbeddedConfig};
pub use fabric::{AckToken, Closed, Event, Events, Fabric, Offered, PublishError, connect};
