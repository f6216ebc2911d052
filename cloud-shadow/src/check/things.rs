//! The rows of things: can each be read, and do they agree with each other.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::id::DeviceName;

use super::CheckReport;
use crate::aws::domain::{
    CERTIFICATES, GRAVES, ReadThingError, SHADOWS, THING_PAST, THINGS, certificate_of, grave_of,
    past_entry, shadow_of, thing_of,
};
use crate::chain;
use crate::rows::ReadRowError;
use crate::store::{Pair, Store, StoreError};

/// The schema in which every thing has a row that says whose it is.
const OWNED: u32 = 4;

/// How many rows are looked at before the next ones are read.
const ROWS: usize = 2048;

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
enum UnreadableRow {
    #[error(transparent)]
    Thing(#[from] ReadThingError),
    #[error(transparent)]
    Past(#[from] ReadRowError),
}

impl CheckReport {
    pub(super) fn things(&mut self, store: &dyn Store, schema: u32) -> Result<(), StoreError> {
        let mut found = BTreeMap::<DeviceName, usize>::new();
        self.rows(store, SHADOWS, |key, value| {
            let (id, _) = shadow_of(key, value)?;
            *found.entry(id.thing).or_default() += 1;
            Ok(())
        })?;
        self.rows(store, GRAVES, |key, value| {
            let (id, _) = grave_of(key, value)?;
            *found.entry(id.thing).or_default() += 1;
            Ok(())
        })?;
        self.thing_shadows = found.values().sum();
        let mut counts = BTreeMap::new();
        self.rows(store, THINGS, |key, value| {
            let (thing, record) = thing_of(key, value)?;
            counts.insert(thing, record.shadows);
            Ok(())
        })?;
        self.things = counts.len();
        let (mut certificates, mut unowned) = (0, BTreeSet::new());
        self.rows(store, CERTIFICATES, |key, value| {
            let (thing, _) = certificate_of(key, value)?;
            certificates += 1;
            if schema >= OWNED && !counts.contains_key(&thing) {
                unowned.insert(thing);
            }
            Ok(())
        })?;
        self.thing_certificates = certificates;
        let mut versions = 0;
        self.rows(store, THING_PAST, |key, value| {
            past_entry(key, value)?;
            versions += 1;
            Ok(())
        })?;
        self.thing_versions = versions;
        for thing in unowned {
            self.complain(format!("the thing {thing} has certificates and is of no tenant"));
        }
        self.compare(&counts, &found);
        Ok(())
    }

    /// The number that each thing has, against what was found; unreadable rows were named before.
    fn compare(
        &mut self,
        counts: &BTreeMap<DeviceName, usize>,
        found: &BTreeMap<DeviceName, usize>,
    ) {
        for (thing, count) in counts {
            let real = found.get(thing).copied().unwrap_or(0);
            if real != *count {
                self.complain(format!("the thing {thing} counts {count} shadows and has {real}"));
            }
        }
        for (thing, real) in found.iter().filter(|(thing, _)| !counts.contains_key(*thing)) {
            self.complain(format!("the thing {thing} counts no shadows and has {real}"));
        }
    }

    fn rows(
        &mut self,
        store: &dyn Store,
        prefix: &[u8],
        mut read: impl FnMut(&[u8], &[u8]) -> Result<(), UnreadableRow>,
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page: Vec<Pair> = store.page(prefix, after.as_deref(), ROWS)?;
            for (key, value) in &page {
                if let Err(error) = read(key, value) {
                    self.complain(chain(&error));
                }
            }
            if page.len() < ROWS {
                return Ok(());
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }
}
