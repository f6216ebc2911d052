//! What a half was before: every accepted version as the step back to the one before it, so that
//! any version is reached from the present document by going back.

use std::sync::Arc;

use gnomon_schemas::document::{Document, Patch, diff, merge};
use gnomon_schemas::version::{Digest, Version};

use super::command::Author;

#[cfg(test)]
mod tests;

/// How much of the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// The most versions of each half.
    pub versions: usize,
    /// How old a version may be, in milliseconds; the last one of a present half stays.
    pub age_ms: u64,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { versions: 100, age_ms: 30 * 24 * 60 * 60 * 1000 }
    }
}

/// One accepted version of a half, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The shadow's version with this change; no two entries of a half have the same.
    pub shadow_version: Version,
    /// The half's version.
    pub version: Version,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who wrote it.
    pub by: Author,
    /// The document's fingerprint; `None`: this version deleted the half.
    pub digest: Option<Digest>,
    /// What makes the document before out of this one; `None`: there was none.
    pub undo: Option<Patch>,
}

/// A version of a half with its document.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The version's entry.
    pub entry: Entry,
    /// The document; `None`: this version deleted the half.
    pub document: Option<Arc<Document>>,
    /// The document before this version.
    pub before: Option<Arc<Document>>,
}

impl Entry {
    /// The step back from `after` to `before`.
    pub(super) fn undo(before: Option<&Document>, after: Option<&Document>) -> Option<Patch> {
        let nothing = Document::new();
        before.map(|before| diff(after.unwrap_or(&nothing), before))
    }
}

impl Revision {
    /// What this version changed, as a patch on the document before.
    pub fn patch(&self) -> Patch {
        let nothing = Document::new();
        let before = self.before.as_deref().unwrap_or(&nothing);
        diff(before, self.document.as_deref().unwrap_or(&nothing))
    }
}

/// Goes back from the present document through the entries, newest first. Ends early where an
/// entry does not fit the document that it should be of: what lies behind cannot be told.
pub fn unfold(
    present: Option<Arc<Document>>,
    entries: impl IntoIterator<Item = Entry>,
) -> impl Iterator<Item = Revision> {
    let mut document = present;
    let mut entries = entries.into_iter();
    std::iter::from_fn(move || {
        let entry = entries.next()?;
        if entry.digest != document.as_ref().map(|document| document.digest()) {
            return None;
        }
        let before = entry.undo.as_ref().map(|undo| {
            let nothing = Document::new();
            Arc::new(merge(document.as_deref().unwrap_or(&nothing), undo))
        });
        let document = std::mem::replace(&mut document, before.clone());
        Some(Revision { entry, document, before })
    })
}
