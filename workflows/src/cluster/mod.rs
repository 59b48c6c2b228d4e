//! A team on one subtask: who works together, what they write to each other, whose answer stands in the end.
//!
//! - [`form`]: a team falls into clusters of agents that are alike;
//! - [`channel`]: the blackboard of a cluster, a set of signed entries that needs no order of arrival;
//! - [`reading`]: who reads whom in a round, and when nothing moves any more;
//! - [`aggregate`]: the answer that stands for all, how many agree, who does not.
//!
//! Source: algorithms §6, after *Federation of Agents* (arXiv 2509.20175): draft alone, then k rounds of reading and
//! revising; the reading order and the representative follow the idea of SelfOrg.

pub mod aggregate;
pub mod channel;
pub mod form;
pub mod reading;

pub use aggregate::{Member, Representative};
pub use channel::{Channel, Entry, EntryHash};
