//! The link emulator on real sockets. Times are only ever compared with lower bounds.

#![expect(clippy::unwrap_used, reason = "in tests a surprise is a failure")]

#[path = "link/bench.rs"]
mod bench;
#[path = "link/control.rs"]
mod control;
#[path = "link/outages.rs"]
mod outages;
#[path = "link/replay.rs"]
mod replay;
#[path = "link/tap.rs"]
mod tap;
#[path = "link/traffic.rs"]
mod traffic;
