//! Live federations on loopback: real processes, real brokers, real signals. What a person would type and see.
//!
//! Each scenario starts a broker and some `foa node` processes in a directory of its own, and asks with the command line
//! ([`federation`]). A language model that answers when the test says so ([`gate`]) holds a job at a known point, so
//! nothing here sleeps. [`wire`] is a plain MQTT client that sees and says what any stranger could.

#![cfg(unix)]

mod answers;
mod artifacts;
mod broker;
mod certificates;
mod demo;
mod directory;
mod endpoint;
mod failures;
mod federation;
mod flood;
mod game;
mod gate;
mod halfway;
mod hostile;
mod kills;
mod links;
mod process;
mod program;
mod proxy;
mod restarts;
mod rolling;
mod scribes;
mod secure;
mod shards;
mod stopping;
mod submitter;
mod takeover;
mod wire;
