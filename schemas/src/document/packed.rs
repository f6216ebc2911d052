//! A document at rest: its bytes, a tenth of what its tree takes in memory. It is made into a
//! tree for as long as someone looks at it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{Document, digest_of};
use crate::cbor::{Scan, ScanError};
use crate::limits;
use crate::version::Digest;

/// A document as its deterministic CBOR; clones share the bytes. Equal documents have equal bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Arc<[u8]>);

/// Why bytes are no packed document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadPackedError {
    /// They are not in the deterministic encoding, or not an object.
    #[error("the bytes are no document")]
    Scan(#[from] ScanError),
    /// There are more of them than a document has.
    #[error("the document has {len} bytes in CBOR, the limit is {limit}")]
    TooLarge {
        /// The size in bytes.
        len: usize,
        /// The most bytes.
        limit: usize,
    },
}

impl Packed {
    /// Takes bytes that [`Document::to_cbor`] has made; refuses all others.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadPackedError> {
        let mut scan = Scan::new(bytes);
        let packed = Self::next(&mut scan)?;
        scan.end()?;
        Ok(packed)
    }

    /// Takes the document that comes next in a walk.
    pub fn next(scan: &mut Scan<'_>) -> Result<Self, ReadPackedError> {
        Scan::clone(scan).map()?;
        let bytes = scan.item()?;
        let (len, limit) = (bytes.len(), limits::DOCUMENT_BYTES);
        if len > limit {
            return Err(ReadPackedError::TooLarge { len, limit });
        }
        Ok(Self(bytes.into()))
    }

    /// The document.
    pub fn unpack(&self) -> Document {
        Document(Scan::new(&self.0).object().expect(CHECKED))
    }

    /// What stands at a place, given by the names of members and the numbers of elements that
    /// lead there.
    pub fn find(&self, steps: &[String]) -> Option<Value> {
        let place = Scan::new(&self.0).find(steps).expect(CHECKED);
        place.map(|mut place| place.value().expect(CHECKED))
    }

    /// The content as a JSON value.
    pub fn to_value(&self) -> Value {
        self.unpack().into_value()
    }

    /// The deterministic CBOR form.
    pub fn as_cbor(&self) -> &[u8] {
        &self.0
    }

    /// The fingerprint of the document.
    pub fn digest(&self) -> Digest {
        digest_of(&self.0)
    }
}

const CHECKED: &str = "the bytes were checked when they were packed";

impl From<&Document> for Packed {
    fn from(document: &Document) -> Self {
        Self(document.to_cbor().into())
    }
}

impl From<Document> for Packed {
    fn from(document: Document) -> Self {
        Self::from(&document)
    }
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpack().fmt(f)
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({self})")
    }
}
