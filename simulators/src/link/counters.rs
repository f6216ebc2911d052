//! What a link counts, written by its tasks and read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What a link has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes that clients sent into the link, whether or not they arrived.
    pub bytes_up: u64,
    /// Bytes that clients received from the link.
    pub bytes_down: u64,
    /// Bytes that went nowhere because their connection had been forgotten.
    pub bytes_lost: u64,
    /// Connections that clients opened, refused ones included.
    pub connections_opened: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections reset by the link, at random or in an outage.
    pub connections_reset: u64,
    /// Connections reset on arrival: the link was down, full, or the target unreachable.
    pub connections_refused: u64,
    /// Chunks that a lost segment stalled.
    pub stalls: u64,
    /// Times the link went down.
    pub outages: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes_up: Count,
    pub(super) bytes_down: Count,
    pub(super) bytes_lost: Count,
    pub(super) opened: Count,
    pub(super) closed: Count,
    pub(super) reset: Count,
    pub(super) refused: Count,
    pub(super) stalls: Count,
    pub(super) outages: Count,
}

impl Tally {
    pub(super) fn read(&self) -> Counters {
        let closed = self.closed.get();
        let opened = self.opened.get();
        Counters {
            bytes_up: self.bytes_up.get(),
            bytes_down: self.bytes_down.get(),
            bytes_lost: self.bytes_lost.get(),
            connections_opened: opened,
            connections_open: opened.saturating_sub(closed),
            connections_reset: self.reset.get(),
            connections_refused: self.refused.get(),
            stalls: self.stalls.get(),
            outages: self.outages.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
