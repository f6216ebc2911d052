//! A disk: what is on it when the power goes. One commit is written whole or not at all.

use std::collections::BTreeMap;

use gnomon_sync::Row;

/// The durable rows of one machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    /// Makes one commit durable.
    pub(super) fn commit(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row.value {
                Some(value) => self.0.insert(row.key, value),
                None => self.0.remove(&row.key),
            };
        }
    }

    /// What a process reads that starts from this disk.
    pub(super) fn read(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.0.iter().map(|(key, value)| (key.clone(), value.clone()))
    }

    pub(super) fn rows(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}
