//! The whole product as its users run it: real programs, real sockets, real processes and
//! containers. Only what no cheaper class of test can show.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a panic")]
#![expect(clippy::indexing_slicing, reason = "JSON in tests")]
#![expect(clippy::print_stderr, reason = "rounds that take minutes say how far they are")]
#![expect(clippy::panic, reason = "a failed step of a test is a panic")]

mod access;
mod app;
mod autonomy;
mod crashes;
mod demo;
mod docker;
mod fleet;
mod hostile;
mod k3s;
mod package;
mod powercut;
mod refusals;
mod restored;
mod service;
mod update;
