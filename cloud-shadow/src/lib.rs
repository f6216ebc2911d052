//! The cloud: shadow service, store, HTTP API and broker in one process.
//!
//! [`domain`] decides and is pure; [`core`] is the one task that owns it; [`http`] and [`mqtt`]
//! bring commands in and effects out; [`store`] keeps; [`server`] puts it all together.

pub mod clock;
pub mod config;
pub mod core;
pub mod domain;
pub mod http;
pub mod identity;
pub mod link;
pub mod metrics;
pub mod mqtt;
pub mod rows;
pub mod server;
pub mod store;
