//! Attacks on a broker in a process of its own, each while a probe client is served: its latency
//! stays low, nothing panics, and memory, connections and sessions come back to where they were.
//!
//! `GNOMON_ATTACKS=full` makes them ten times as large.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says what it measured"
)]

mod bytes;
mod campaign;
mod connects;
mod descriptors;
mod floods;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
mod harness;
mod hostile;
mod killers;
mod latency;
mod loris;
mod process;
#[path = "../it/raw.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
mod raw;
mod sessions;
mod target;

/// The allocator of `gnomon-cloud`, since what is given back after an attack is its doing.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
