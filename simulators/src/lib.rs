//! Placeholder.

pub mod link;
pub mod system;
pub mod world;
