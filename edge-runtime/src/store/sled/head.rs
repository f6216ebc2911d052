//! The record that sums up a store: who it is, how far it is, what it must hold. It changes with
//! every commit, so entries that vanish silently no longer add up to it.

use uuid::Uuid;

use crate::store::frame::{self, Frame};

/// The key of the head; no other key starts like it.
pub(super) const KEY: &[u8] = b"m/head";

const LEN: usize = 16 + 8 + 16;

/// The sums of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The identity of this store; a fresh one has another.
    pub(super) store: Uuid,
    /// How many commits there were.
    pub(super) commit: u64,
    /// How many records there are besides this one.
    pub(super) count: u64,
    /// The sum of their fingerprints.
    pub(super) sum: u128,
}

impl Head {
    /// The head of an empty store.
    pub(super) const fn new(store: Uuid) -> Self {
        Self { store, commit: 0, count: 0, sum: 0 }
    }

    /// The same sums for the commit to come.
    pub(super) fn next(&self) -> Self {
        Self { commit: self.commit.saturating_add(1), ..self.clone() }
    }

    /// Adds a record.
    pub(super) fn count(&mut self, key: &[u8], sealed: &[u8]) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.wrapping_add(frame::fingerprint(key, sealed));
    }

    /// Takes a record away.
    pub(super) fn forget(&mut self, key: &[u8], sealed: &[u8]) {
        self.count = self.count.saturating_sub(1);
        self.sum = self.sum.wrapping_sub(frame::fingerprint(key, sealed));
    }

    /// The record's bytes.
    pub(super) fn seal(&self) -> Vec<u8> {
        let payload =
            [self.store.as_bytes().as_slice(), &self.count.to_be_bytes(), &self.sum.to_be_bytes()]
                .concat();
        frame::seal(KEY, self.commit, &payload)
    }

    /// Reads what [`Self::seal`] made.
    pub(super) fn open(sealed: &[u8]) -> Option<Self> {
        let Frame { commit, payload } = frame::open(KEY, sealed).ok()?;
        if payload.len() != LEN {
            return None;
        }
        let (store, rest) = payload.split_first_chunk::<16>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let (sum, _) = rest.split_first_chunk::<16>()?;
        Some(Self {
            store: Uuid::from_bytes(*store),
            commit,
            count: u64::from_be_bytes(*count),
            sum: u128::from_be_bytes(*sum),
        })
    }
}
