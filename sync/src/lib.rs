//! The sync protocol (docs/protocol.md) as two sans-I/O state machines.
//!
//! A stream of halves flows from a [`Writer`] to a [`Reader`]. Neither owns a socket, a clock, a
//! thread or a store: inputs come in through methods that take the time, effects come out of
//! [`Writer::poll_output`] and [`Reader::poll_output`] as [`Output`]s, and
//! [`Writer::poll_timeout`] says when to call back and why.
//!
//! # How to drive a machine
//!
//! 1. Make it with `new` for a fresh store, or with `restore` from the rows of an old one.
//! 2. Feed it: `put`, `delete`, `receive`, `link_up`, `link_down`, `handle_timeout`, with a
//!    [`Moment`] that never goes back.
//! 3. Take outputs in order until there are none. Every [`Output::Persist`] must be durable before
//!    any later output of the same machine is carried out; several may share one commit.
//! 4. If a commit fails, the machine is ahead of its store: drop it, restore it, refuse what was
//!    asked of it since.

mod backoff;
mod moment;
mod output;
mod reader;
mod rows;
mod writer;

pub use backoff::Backoff;
pub use moment::Moment;
pub use output::{Delivery, Output, Row};
pub use reader::{Reader, ReaderConfig, ReaderCounters};
pub use rows::{ReadHalfError, RestoreError};
pub use writer::{Held, Writer, WriterConfig, WriterCounters};
