//! What the links of a site carry, where others can see it.

use std::sync::atomic::{AtomicU64, Ordering};

use gnomon_edge::link::Traffic;

use crate::report::Bytes;

/// What a site's links have carried since the run began.
#[derive(Debug, Default)]
pub(super) struct Meter {
    received: AtomicU64,
    sent: AtomicU64,
    desired: AtomicU64,
    reported: AtomicU64,
    connections: AtomicU64,
    resumed: AtomicU64,
}

impl Meter {
    pub(super) fn bytes(&self) -> Bytes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Bytes {
            received: read(&self.received),
            sent: read(&self.sent),
            desired: read(&self.desired),
            reported: read(&self.reported),
        }
    }

    /// Connections, and those among them with a short handshake.
    pub(super) fn connections(&self) -> (u64, u64) {
        (self.connections.load(Ordering::Relaxed), self.resumed.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, traffic: Traffic, (connections, resumed): (u64, u64)) {
        let write = |counter: &AtomicU64, value: u64| counter.store(value, Ordering::Relaxed);
        write(&self.received, traffic.bytes_in);
        write(&self.sent, traffic.bytes_out);
        write(&self.desired, traffic.desired);
        write(&self.reported, traffic.reported);
        write(&self.connections, connections);
        write(&self.resumed, resumed);
    }
}

/// What one link carried and another.
pub(super) const fn plus(a: Traffic, b: Traffic) -> Traffic {
    Traffic {
        bytes_in: a.bytes_in.saturating_add(b.bytes_in),
        bytes_out: a.bytes_out.saturating_add(b.bytes_out),
        desired: a.desired.saturating_add(b.desired),
        reported: a.reported.saturating_add(b.reported),
    }
}
