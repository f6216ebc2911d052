//! The words that every other room speaks: ids, topics, documents, wire messages, the app model.
//!
//! Pure: no I/O, no clock, no randomness. Every value that comes from outside enters through a
//! constructor that checks it and says what was wrong and where.

pub mod app;
pub mod cbor;
pub mod compose;
pub mod document;
pub mod hex;
pub mod id;
pub mod json;
pub mod key;
pub mod limits;
pub mod node;
pub mod topic;
pub mod version;
pub mod wire;
