//! The shell around the machine: daemon, command line, agents, storage.

pub mod agent;
pub mod artifact;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod eval;
pub mod exit;
pub mod follow;
pub mod identity;
pub mod import;
pub mod launch;
pub mod model;
pub mod render;
pub mod store;
pub mod telemetry;
