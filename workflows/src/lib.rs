//! Jobs as pure machines: decomposition by consensus, assignment, clusters, synthesis.
pub mod plan;
pub mod work;
