//! A document as others see it: its bytes, and its tree from when somebody looks into it. Most
//! that are passed around nobody looks into.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use gnomon_schemas::document::{Document, Packed};

/// A document that is made into a tree when somebody looks into it, once for all its clones.
#[derive(Clone)]
pub struct LazyDocument {
    packed: Packed,
    tree: Arc<OnceLock<Arc<Document>>>,
}

impl LazyDocument {
    /// Its bytes.
    pub const fn packed(&self) -> &Packed {
        &self.packed
    }

    /// Its tree, shared.
    pub fn tree(&self) -> &Arc<Document> {
        self.tree.get_or_init(|| Arc::new(self.packed.unpack()))
    }
}

impl Deref for LazyDocument {
    type Target = Document;

    fn deref(&self) -> &Document {
        self.tree()
    }
}

impl From<Packed> for LazyDocument {
    fn from(packed: Packed) -> Self {
        Self { packed, tree: Arc::default() }
    }
}

impl From<Document> for LazyDocument {
    fn from(document: Document) -> Self {
        let packed = Packed::from(&document);
        Self { packed, tree: Arc::new(OnceLock::from(Arc::new(document))) }
    }
}

/// Equal documents have equal bytes.
impl PartialEq for LazyDocument {
    fn eq(&self, other: &Self) -> bool {
        self.packed == other.packed
    }
}

impl fmt::Debug for LazyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.packed.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_made_once_and_says_what_the_bytes_say() {
        let document = Document::parse(br#"{"a":{"b":[1.5,"x"]}}"#).unwrap();
        let (of_bytes, of_tree) =
            (LazyDocument::from(Packed::from(&document)), LazyDocument::from(document.clone()));
        let clone = of_bytes.clone();
        assert_eq!((&*of_bytes, &*of_tree), (&document, &document));
        assert!(Arc::ptr_eq(of_bytes.tree(), clone.tree()));
        assert_eq!(of_bytes, of_tree);
        assert_ne!(of_bytes, LazyDocument::from(Document::new()));
    }
}
