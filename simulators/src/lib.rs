//! What stands for the world: links that behave badly, and deterministic worlds of the protocol and
//! of the whole system, in which everything follows from a seed.

pub mod link;
pub mod system;
pub mod world;
