//! Golden samples.
