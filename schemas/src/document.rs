//! Documents and what can be done with them: merge, diff, compose, delta, digest
//! (protocol.md, section 2). Pure functions; the laws that they keep are in `document/laws.rs`.

use std::fmt;

use ciborium::Value as Cbor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use crate::cbor::{self, CanonicalMap, CborError};
use crate::json::{self, ParseJsonError};
use crate::limits;
use crate::version::Digest;

mod algebra;
#[cfg(test)]
mod laws;
mod packed;
mod patch;

pub use algebra::{delta, diff, merge};
pub use packed::{Packed, ReadPackedError};
pub use patch::{Change, InvalidPatch, Patch};

/// A JSON object without `null` anywhere, within the limits of [`limits`]; one half of a shadow.
///
/// ```
/// use gnomon_schemas::document::{Document, Patch, merge};
/// let doc = Document::parse(br#"{"rate": 1, "unit": "s"}"#).unwrap();
/// let patch = Patch::parse(br#"{"rate": 2, "unit": null}"#).unwrap();
/// assert_eq!(merge(&doc, &patch).to_string(), r#"{"rate":2}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document(Map<String, Value>);

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// The value is an array or a scalar.
    #[error("a document must be a JSON object")]
    NotAnObject,
    /// A `null` stands where a value must.
    #[error("null at {at:?}: a stored document holds no null")]
    Null {
        /// JSON pointer (RFC 6901) to the place.
        at: String,
    },
    /// Objects and arrays nest deeper than [`limits::DOCUMENT_DEPTH`].
    #[error("the document nests deeper than {limit} levels at {at:?}")]
    TooDeep {
        /// JSON pointer (RFC 6901) to the place.
        at: String,
        /// The most levels.
        limit: usize,
    },
    /// A key has more than [`limits::OBJECT_KEY_BYTES`] bytes.
    #[error("a key at {at:?} has {len} bytes, the limit is {limit}")]
    KeyTooLong {
        /// JSON pointer (RFC 6901) to the object that holds the key.
        at: String,
        /// The key's size in bytes.
        len: usize,
        /// The most bytes.
        limit: usize,
    },
    /// The deterministic CBOR form has more than [`limits::DOCUMENT_BYTES`] bytes.
    #[error("the document has {len} bytes in CBOR, the limit is {limit}")]
    TooLarge {
        /// The size in bytes.
        len: usize,
        /// The most bytes.
        limit: usize,
    },
}

/// Why bytes could not be read as a document or a patch.
#[derive(Debug, thiserror::Error)]
pub enum ReadDocumentError {
    /// The JSON text is malformed.
    #[error("the JSON cannot be read")]
    Json(#[from] ParseJsonError),
    /// The CBOR is malformed.
    #[error("the CBOR cannot be read")]
    Cbor(#[from] CborError),
    /// The content breaks a rule of documents.
    #[error("the content is not acceptable")]
    Invalid(#[from] InvalidDocument),
}

impl Document {
    /// The document `{}`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads JSON text; see [`json::parse`] for what is refused beyond malformed text.
    pub fn parse(text: &[u8]) -> Result<Self, ReadDocumentError> {
        Ok(Self::from_value(json::parse(text)?)?)
    }

    /// Takes a JSON value; refuses what a stored document may not hold.
    pub fn from_value(value: Value) -> Result<Self, InvalidDocument> {
        let Value::Object(mut object) = value else {
            return Err(InvalidDocument::NotAnObject);
        };
        check_object(&mut object, &Place::default(), false)?;
        Self(object).within_size()
    }

    /// Reads the CBOR form (any valid encoding; need not be the deterministic one).
    pub fn from_cbor(item: Cbor) -> Result<Self, ReadDocumentError> {
        Ok(Self::from_value(cbor::to_json(item)?)?)
    }

    /// The result of [`merge`], unless it would break a limit.
    pub fn apply(&self, patch: &Patch) -> Result<Self, InvalidDocument> {
        self.clone().applied(patch)
    }

    /// The same, for one who needs the document as it was no more.
    pub fn applied(mut self, patch: &Patch) -> Result<Self, InvalidDocument> {
        algebra::merge_object(&mut self.0, patch);
        Self::from_value(Value::Object(self.0))
    }

    /// The content.
    pub const fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The content as a JSON value.
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The content, taken.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Whether the document is `{}`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The deterministic CBOR form.
    pub fn to_cbor(&self) -> Vec<u8> {
        cbor::canonical(&self.0)
    }

    /// The fingerprint: equal exactly when the documents are.
    pub fn digest(&self) -> Digest {
        digest_of(&self.to_cbor())
    }

    fn within_size(self) -> Result<Self, InvalidDocument> {
        let len = cbor::canonical_len(&self.0);
        let limit = limits::DOCUMENT_BYTES;
        if len > limit { Err(InvalidDocument::TooLarge { len, limit }) } else { Ok(self) }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_string(&self.0).map_err(|_| fmt::Error)?.fmt(f)
    }
}

/// Serialises as the deterministic map.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CanonicalMap(&self.0).serialize(serializer)
    }
}

/// Reads from any format through the same checks as [`Document::from_value`].
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(value).map_err(serde::de::Error::custom)
    }
}

/// The fingerprint of a document's deterministic CBOR.
fn digest_of(cbor: &[u8]) -> Digest {
    let mut short = [0; 16];
    short.iter_mut().zip(Sha256::digest(cbor)).for_each(|(to, from)| *to = from);
    Digest(short)
}

/// The way from the root to the value being looked at; becomes a JSON pointer in errors. It lies on
/// the stack, since nearly always nobody asks for it.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    before: Option<(&'a Place<'a>, Step<'a>)>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

impl<'a> Place<'a> {
    fn pointer(&self) -> String {
        let mut steps = Vec::with_capacity(self.depth);
        let mut at = self;
        while let Some((before, step)) = at.before {
            steps.push(match step {
                Step::Member(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                Step::Element(index) => format!("/{index}"),
            });
            at = before;
        }
        steps.iter().rev().flat_map(|step| step.chars()).take(512).collect()
    }

    const fn member(&'a self, key: &'a str) -> Self {
        Self { before: Some((self, Step::Member(key))), depth: self.depth + 1 }
    }

    const fn element(&'a self, index: usize) -> Self {
        Self { before: Some((self, Step::Element(index))), depth: self.depth + 1 }
    }

    fn check_depth(&self) -> Result<(), InvalidDocument> {
        let limit = limits::DOCUMENT_DEPTH;
        if self.depth < limit {
            return Ok(());
        }
        Err(InvalidDocument::TooDeep { at: self.pointer(), limit })
    }
}

/// Checks an object and brings its numbers into normal form; `nulls` says whether members may be
/// null (they may in a patch, and never inside an array).
fn check_object(
    object: &mut Map<String, Value>,
    place: &Place<'_>,
    nulls: bool,
) -> Result<(), InvalidDocument> {
    place.check_depth()?;
    for (key, value) in object {
        let (len, limit) = (key.len(), limits::OBJECT_KEY_BYTES);
        if len > limit {
            return Err(InvalidDocument::KeyTooLong { at: place.pointer(), len, limit });
        }
        check_value(value, &place.member(key), nulls)?;
    }
    Ok(())
}

fn check_value(value: &mut Value, place: &Place<'_>, nulls: bool) -> Result<(), InvalidDocument> {
    match value {
        Value::Null if nulls => Ok(()),
        Value::Null => Err(InvalidDocument::Null { at: place.pointer() }),
        Value::Object(object) => check_object(object, place, nulls),
        Value::Array(items) => {
            place.check_depth()?;
            let mut items = items.iter_mut().enumerate();
            items.try_for_each(|(index, item)| check_value(item, &place.element(index), false))
        }
        Value::Number(number) => {
            if number.as_f64() == Some(0.0) && number.is_f64() {
                *number = Number::from_f64(0.0).expect("zero is finite");
            }
            Ok(())
        }
        Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_refused_and_the_error_points_at_it() {
        let error = Document::from_value(json!({"a": {"b/c": [1, null]}})).unwrap_err();
        assert_eq!(error, InvalidDocument::Null { at: "/a/b~1c/1".to_owned() });
    }

    #[test]
    fn depth_keys_and_size_are_limited() {
        let mut deep = json!({});
        for _ in 0..limits::DOCUMENT_DEPTH {
            deep = json!({ "x": deep });
        }
        assert!(matches!(Document::from_value(deep), Err(InvalidDocument::TooDeep { .. })));
        let long = json!({ "k".repeat(limits::OBJECT_KEY_BYTES + 1): 1 });
        assert!(matches!(Document::from_value(long), Err(InvalidDocument::KeyTooLong { .. })));
        let big = json!({ "k": "x".repeat(limits::DOCUMENT_BYTES) });
        assert!(matches!(Document::from_value(big), Err(InvalidDocument::TooLarge { .. })));
        assert_eq!(Document::from_value(json!([1])), Err(InvalidDocument::NotAnObject));
    }

    #[test]
    fn negative_zero_is_zero() {
        let negative = Document::parse(br#"{"x": -0.0}"#).unwrap();
        let positive = Document::parse(br#"{"x": 0.0}"#).unwrap();
        assert_eq!(negative.digest(), positive.digest());
    }

    #[test]
    fn a_merge_that_would_grow_too_large_is_refused() {
        let half = "x".repeat(limits::DOCUMENT_BYTES - 100);
        let doc = Document::from_value(json!({ "a": half })).unwrap();
        let patch = Patch::from_value(json!({ "b": half })).unwrap();
        assert!(matches!(doc.apply(&patch), Err(InvalidDocument::TooLarge { .. })));
    }
}
