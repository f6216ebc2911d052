//! The broker from outside: real sockets, real clients, hostile clients.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod access;
mod attachments;
mod clients;
mod figures;
mod harness;
mod hostile;
mod lifecycle;
mod logins;
mod pubsub;
mod qos2;
mod raw;
mod retained;
mod revocation;
mod sessions;
mod shared;
mod stored;
mod tls;
mod transports;
mod wills;
