//! Simulated federations: many seeds, known bugs put back, named scenarios, the layering of the crates, and a golden
//! sample of every message.

mod flood;
mod golden;
mod layering;
mod migration;
mod net;
mod regressions;
mod released;
mod scenarios;
mod seeds;
mod shards;
mod trust;
