//! The face that clients of AWS IoT Device Shadow know. [`domain`] decides and is pure; [`mqtt`]
//! and `rest` bring requests in; the core commits them with everything else.

pub mod domain;
mod keys;
pub(crate) mod mqtt;
pub(crate) mod rest;
mod roll;
mod sigv4;

pub use keys::{AccessKeys, AccessKeysError};
pub use roll::ThingRoll;
