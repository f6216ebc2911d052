//! How copies lived, in the order of slots, so that it can be walked beside what runs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

use super::attempts::SlotLife;
use super::model::{Instance, Slot};

/// The lives from some slot on.
#[derive(Debug)]
pub(super) struct Lives<'a>(Peekable<btree_map::Iter<'a, Slot, SlotLife>>);

impl<'a> Lives<'a> {
    pub(super) fn of(lives: &'a BTreeMap<Slot, SlotLife>) -> Self {
        Self(lives.iter().peekable())
    }

    /// The life of an instance; to be asked in the order of slots.
    pub(super) fn next(&mut self, it: &Instance) -> Option<&'a SlotLife> {
        loop {
            let (slot, life) = *self.0.peek()?;
            match slot.cmp(&it.slot) {
                Ordering::Less => drop(self.0.next()),
                Ordering::Equal => return (life.digest == it.service_digest).then_some(life),
                Ordering::Greater => return None,
            }
        }
    }
}
