//! How good routing is: labelled sets of requests, answered by the directory of a node and compared with plain BM25 and
//! plain nearest vectors.
//!
//! A set is read ([`set`]), its agents get signed cards in a [`Directory`](foa_capability::Directory) as in any
//! federation ([`federation`]), and each request is routed by the code that routes jobs. [`routing`] puts the arms of one
//! set side by side.

pub mod federation;
pub mod metrics;
pub mod routing;
pub mod set;
pub mod texts;
pub mod words;
