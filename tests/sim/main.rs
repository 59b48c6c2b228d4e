//! Simulated federations.
