//! Placeholder.

pub mod link;
pub mod world;
