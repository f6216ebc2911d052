//! The bytes that wait for clients that are away, of all of them together: a bound, and each
//! session's part of it. Pure.

use prometheus_client::metrics::gauge::Gauge;

/// How much may wait, and how much does. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    used: Gauge,
    most: usize,
}

/// What one session takes of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Stored {
    store: Store,
    bytes: usize,
}

impl Store {
    /// At most so many bytes, counted in `used`.
    pub(crate) fn new(most: usize, used: Gauge) -> Self {
        Self { used, most }
    }

    /// Whether so many bytes more may wait.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        let used = usize::try_from(self.used.get()).unwrap_or(0);
        used.saturating_add(bytes) <= self.most
    }

    /// A part of so many bytes.
    pub(crate) fn part(&self, bytes: usize) -> Stored {
        let mut part = Stored { store: self.clone(), bytes: 0 };
        part.set(bytes);
        part
    }
}

impl Stored {
    /// Whether the part may grow to so many bytes.
    pub(crate) fn can_be(&self, bytes: usize) -> bool {
        bytes <= self.bytes || self.store.has_room_for(bytes - self.bytes)
    }

    /// Makes it so many bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.store.used.inc_by(signed(bytes) - signed(self.bytes));
        self.bytes = bytes;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_bound_and_give_back_what_they_had() {
        let used = Gauge::default();
        let store = Store::new(100, used.clone());
        let (mut a, b) = (store.part(40), store.part(50));
        assert!(a.can_be(50) && !a.can_be(51) && a.can_be(10));
        assert!(!store.has_room_for(11));
        a.set(5);
        drop(b);
        assert_eq!(used.get(), 5);
        assert!(store.has_room_for(95));
        drop(a);
        assert_eq!(used.get(), 0);
    }
}
