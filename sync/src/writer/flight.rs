//! Batches whose fate is unknown: what the reader will hold if one arrived.

use std::collections::VecDeque;

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Seq, Version};

/// How many batches without a known fate are remembered beyond those being waited for.
const GROUNDED: usize = 4;

/// A batch that was sent.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    /// The position that the reader has after it.
    pub(super) seq: Seq,
    /// Its size in bytes.
    pub(super) bytes: usize,
    /// What the reader holds after it.
    pub(super) cargo: Vec<Cargo>,
    /// Whether an answer to it is being waited for.
    airborne: bool,
}

/// One half as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Cargo {
    pub(super) key: ShadowKey,
    pub(super) version: Version,
    /// The half's position when it was sent.
    pub(super) seq: Seq,
    /// `None`: sent as deleted.
    pub(super) document: Option<Packed>,
}

/// All batches whose fate is unknown, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(VecDeque<Flight>);

impl Flights {
    pub(super) fn launch(&mut self, seq: Seq, bytes: usize, cargo: Vec<Cargo>) {
        self.0.push_back(Flight { seq, bytes, cargo, airborne: true });
    }

    /// Stops waiting for answers; the batches may still have arrived.
    pub(super) fn ground(&mut self) {
        self.0.iter_mut().for_each(|flight| flight.airborne = false);
        while self.0.len() > GROUNDED {
            self.0.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn airborne(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.0.iter().filter(|flight| flight.airborne)
    }

    pub(super) fn is_airborne(&self) -> bool {
        self.airborne().next().is_some()
    }

    pub(super) fn bytes(&self) -> usize {
        self.airborne().map(|flight| flight.bytes).sum()
    }

    /// Takes out the batches that a reader at `seq` has seen.
    pub(super) fn arrived(&mut self, seq: Seq) -> VecDeque<Flight> {
        let all = std::mem::take(&mut self.0).into_iter();
        let (arrived, open) = all.partition(|flight| flight.seq <= seq);
        self.0 = open;
        arrived
    }

    /// Takes out all.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Flight> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// The first position at which a reader may hold something newer of `key`.
    pub(super) fn earliest(&self, key: &ShadowKey) -> Option<Seq> {
        let carries = |flight: &&Flight| flight.cargo.iter().any(|cargo| cargo.key == *key);
        self.0.iter().filter(carries).map(|flight| flight.seq).min()
    }

    /// What the reader will hold of `key` when all batches being waited for have arrived.
    pub(super) fn latest(&self, key: &ShadowKey) -> Option<&Cargo> {
        self.airborne().rev().find_map(|flight| flight.cargo.iter().find(|cargo| cargo.key == *key))
    }
}
