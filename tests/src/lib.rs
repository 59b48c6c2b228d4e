//! The federation under test: a deterministic simulator, scenarios, live federations on loopback.

pub mod sim;
