//! What every message carries.

/// placeholder
pub struct Envelope;
/// placeholder
pub struct Header;
