//! CBOR for documents and messages: deterministic on the way out (RFC 8949, section 4.2.1),
//! suspicious on the way in.

use ciborium::Value as Cbor;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};

use crate::limits;

mod canonical;
mod scan;

pub(crate) use canonical::{canonical, canonical_len};
pub use scan::{Build, Scan, ScanError};

/// Why bytes are not acceptable CBOR.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// There are more bytes than any message may have.
    #[error("the CBOR has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// The size in bytes.
        len: usize,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The bytes are cut off, malformed or nest too deep.
    #[error("malformed CBOR")]
    Malformed(#[source] ciborium::de::Error<std::io::Error>),
    /// One CBOR item was read and bytes were left over.
    #[error("{0} bytes follow the CBOR item")]
    Trailing(usize),
    /// A CBOR item has no counterpart in JSON (bytes, tags, `undefined`, NaN, infinity, an
    /// integer beyond 64 bits, a key that is no text).
    #[error("a CBOR item of kind {0} has no place in a document")]
    NotJson(&'static str),
    /// A map names a key twice.
    #[error("a CBOR map names the key {0:?} twice")]
    DuplicateKey(String),
}

/// Encodes a value; maps come out as the value's `Serialize` orders them.
///
/// Writing into memory cannot fail, and none of the types of this crate refuse to serialise.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("memory takes every write");
    bytes
}

/// Decodes exactly one item from at most [`limits::MESSAGE_BYTES`] bytes.
pub fn decode(bytes: &[u8]) -> Result<Cbor, CborError> {
    const NESTING: usize = limits::DOCUMENT_DEPTH + 8;
    if bytes.len() > limits::MESSAGE_BYTES {
        return Err(CborError::TooLarge { len: bytes.len(), limit: limits::MESSAGE_BYTES });
    }
    let mut rest = bytes;
    let item = ciborium::de::from_reader_with_recursion_limit(&mut rest, NESTING)
        .map_err(CborError::Malformed)?;
    if rest.is_empty() { Ok(item) } else { Err(CborError::Trailing(rest.len())) }
}

/// Serialises a JSON value deterministically: shortest integers and floats, definite lengths,
/// keys in the bytewise order of their encodings.
pub(crate) struct Canonical<'a>(pub(crate) &'a Value);

/// Serialises a JSON object as [`Canonical`] does.
pub(crate) struct CanonicalMap<'a>(pub(crate) &'a Map<String, Value>);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(&Canonical(item)))?;
                seq.end()
            }
            Value::Object(object) => CanonicalMap(object).serialize(serializer),
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                scalar.serialize(serializer)
            }
        }
    }
}

impl Serialize for CanonicalMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by(|(a, _), (b, _)| key_order(a, b));
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (key, value) in entries {
            map.serialize_entry(key, &Canonical(value))?;
        }
        map.end()
    }
}

/// The bytewise order of the encodings of two text keys: the head holds the length, so the
/// shorter comes first.
pub(crate) fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Turns a CBOR item into the JSON value that it stands for.
pub(crate) fn to_json(item: Cbor) -> Result<Value, CborError> {
    match item {
        Cbor::Null => Ok(Value::Null),
        Cbor::Bool(value) => Ok(Value::Bool(value)),
        Cbor::Text(text) => Ok(Value::String(text)),
        Cbor::Integer(integer) => integer_to_json(integer),
        Cbor::Float(float) => {
            Number::from_f64(float).map(Value::Number).ok_or(CborError::NotJson("NaN or infinity"))
        }
        Cbor::Array(items) => {
            items.into_iter().map(to_json).collect::<Result<_, _>>().map(Value::Array)
        }
        Cbor::Map(entries) => entries_to_json(entries).map(Value::Object),
        Cbor::Bytes(_) => Err(CborError::NotJson("byte string")),
        Cbor::Tag(..) => Err(CborError::NotJson("tag")),
        _ => Err(CborError::NotJson("unknown")),
    }
}

/// Turns the entries of a CBOR map into a JSON object.
pub(crate) fn entries_to_json(entries: Vec<(Cbor, Cbor)>) -> Result<Map<String, Value>, CborError> {
    let mut object = Map::new();
    for (key, value) in entries {
        let key = key.into_text().map_err(|_| CborError::NotJson("key that is no text"))?;
        let value = to_json(value)?;
        if object.contains_key(&key) {
            return Err(CborError::DuplicateKey(key));
        }
        object.insert(key, value);
    }
    Ok(object)
}

fn integer_to_json(integer: ciborium::value::Integer) -> Result<Value, CborError> {
    if let Ok(value) = u64::try_from(integer) {
        return Ok(Value::Number(value.into()));
    }
    i64::try_from(integer)
        .map(|value| Value::Number(value.into()))
        .map_err(|_| CborError::NotJson("integer beyond 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_the_order_of_rfc_8949() {
        let value = serde_json::json!({"b": 1, "aa": 2, "a": 3});
        let expected = [0xa3, 0x61, b'a', 3, 0x61, b'b', 1, 0x62, b'a', b'a', 2];
        assert_eq!(encode(&Canonical(&value)), expected);
    }

    #[test]
    fn numbers_take_their_shortest_form() {
        assert_eq!(encode(&Canonical(&serde_json::json!(1.5))), [0xf9, 0x3e, 0x00]);
        assert_eq!(encode(&Canonical(&serde_json::json!(23))), [0x17]);
        assert_eq!(encode(&Canonical(&serde_json::json!(-500))), [0x39, 0x01, 0xf3]);
    }

    #[test]
    fn items_without_a_json_counterpart_are_refused() {
        for bytes in [&[0x41, 0x00][..], &[0xc0, 0x60], &[0xf9, 0x7e, 0x00], &[0xa1, 0x01, 0x01]] {
            assert!(to_json(decode(bytes).unwrap()).is_err(), "{bytes:x?} was accepted");
        }
        let twice = decode(&[0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02]).unwrap();
        assert!(matches!(to_json(twice), Err(CborError::DuplicateKey(key)) if key == "a"));
    }

    #[test]
    fn cut_off_trailing_and_bottomless_bytes_are_refused() {
        assert!(matches!(decode(&[0x82, 0x01]), Err(CborError::Malformed(_))));
        assert!(matches!(decode(&[0x01, 0x02]), Err(CborError::Trailing(1))));
        assert!(matches!(decode(&[0x81; 1000]), Err(CborError::Malformed(_))));
        let claims_four_gigabytes = [0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(matches!(decode(&claims_four_gigabytes), Err(CborError::Malformed(_))));
    }
}
