//! The cloud: shadow service, store, HTTP API and broker in one process.
//!
//! [`domain`] decides and is pure; [`core`] is the one task that owns it; [`http`] and [`mqtt`]
//! bring commands in and effects out; [`store`] keeps; [`server`] puts it all together.

pub mod access;
pub mod aws;
pub mod backup;
pub mod check;
pub mod clock;
pub mod config;
pub mod core;
pub mod domain;
pub mod gate;
pub mod health;
pub mod http;
pub mod identity;
pub mod link;
pub mod local;
pub mod metrics;
pub mod mqtt;
mod patience;
mod quiet;
pub mod rows;
pub mod salvage;
pub mod server;
pub mod setup;
mod spans;
pub mod store;
pub mod traces;

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
