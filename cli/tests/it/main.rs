//! The built `gnomon` against a small cloud: what it prints, where, and its exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failing helper must stop the test"
)]

mod access;
mod apply;
mod cloud;
mod errors;
mod get;
mod help;
mod run;
mod shadow;
