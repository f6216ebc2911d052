//! What stands for the world: fleets of simulated sites, links that behave badly, and deterministic
//! worlds of the protocol and of the whole system, in which everything follows from a seed.

pub mod fleet;
pub mod link;
pub mod report;
pub mod scenario;
pub mod system;
pub mod world;
