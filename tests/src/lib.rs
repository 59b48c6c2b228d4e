//! The federation under test: deterministic simulator, live federations on loopback
