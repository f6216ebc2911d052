//! One half at its writer: what it is now, and what the reader holds of it.

use gnomon_schemas::document::Packed;
use gnomon_schemas::version::{Seq, Version};

use super::Held;
use super::flight::Cargo;

/// The current state of a half, and the document that the reader is known to hold of it.
#[derive(Debug, Clone)]
pub(super) struct WriterHalf {
    pub(super) version: Version,
    pub(super) seq: Seq,
    /// `None`: deleted; this is its tombstone.
    pub(super) document: Option<Packed>,
    /// Boxed, since most halves have none: the reader holds what is current.
    pub(super) base: Option<Box<Base>>,
}

/// A document that a reader holds while its position is in `from..until`.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) version: Version,
    pub(super) from: Seq,
    pub(super) until: Seq,
    pub(super) document: Packed,
}

impl WriterHalf {
    pub(super) fn new(
        version: Version,
        seq: Seq,
        document: Option<Packed>,
        base: Option<Box<Base>>,
    ) -> Self {
        Self { version, seq, document, base }
    }

    pub(super) fn held(&self) -> Option<Held<'_>> {
        let document = self.document.as_ref()?;
        Some(Held { document, version: self.version, seq: self.seq })
    }

    /// The base that this half leaves behind when it moves on to `next`: a reader that stands
    /// between the two positions holds this document.
    pub(super) fn into_base(self, next: Seq) -> Option<Box<Base>> {
        let document = self.document?;
        Some(Box::new(Base { version: self.version, from: self.seq, until: next, document }))
    }

    /// The reader holds what was sent, until the first batch under way that carries something
    /// newer.
    pub(super) fn reader_holds(&mut self, cargo: Cargo, until: Option<Seq>) {
        if self.version <= cargo.version {
            self.base = None;
            return;
        }
        let until = until.unwrap_or(self.seq);
        let base = |document| Base { version: cargo.version, from: cargo.seq, until, document };
        self.base = cargo.document.map(base).map(Box::new);
    }

    /// What a reader at `position` holds, if that is known.
    pub(super) fn base_at(&self, position: Seq) -> Option<&Base> {
        self.base.as_deref().filter(|base| base.from <= position && position < base.until)
    }
}
