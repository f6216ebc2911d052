//! Forgetting tombstones: a deletion that every end knows of need not be remembered for ever.

use gnomon_schemas::key::ShadowKey;

use super::Writer;
use super::store;

/// How many tombstones are kept at least; older ones go once the reader has seen them.
const KEPT: usize = 256;

impl Writer {
    /// Forgets the oldest tombstones beyond [`KEPT`] that the reader has seen. A reader that comes
    /// back from before them gets a manifest; a half made anew starts above their versions, so
    /// that no version is used twice.
    pub(super) fn retire_tombstones(&mut self) {
        let surplus = self.tombstones.len().saturating_sub(KEPT);
        let position = self.position;
        let seqs: Vec<_> = self
            .tombstones
            .iter()
            .copied()
            .take(surplus)
            .take_while(|seq| *seq <= position)
            .collect();
        let mut rows = Vec::new();
        for seq in seqs {
            self.tombstones.remove(&seq);
            self.purged = seq;
            let Some(key) = self.by_seq.remove(&seq) else { continue };
            rows.push(self.retire(&key));
        }
        if !rows.is_empty() {
            self.persist(rows);
        }
    }

    fn retire(&mut self, key: &ShadowKey) -> crate::output::Row {
        if let Some(half) = self.halves.remove(key) {
            self.floor = self.floor.max(half.version);
        }
        store::gone_row(key)
    }
}
