//! Strict reading of JSON from users: what `serde_json` would silently drop is refused here.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

use crate::limits;

/// Why a text is not acceptable JSON.
#[derive(Debug, thiserror::Error)]
pub enum ParseJsonError {
    /// The text is larger than any document could be.
    #[error("the JSON text has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// The text's size in bytes.
        len: usize,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The text is malformed, nests too deep, or names a key twice; the source says where.
    #[error("malformed JSON")]
    Malformed(#[source] serde_json::Error),
}

/// Reads one JSON value; refuses a key that occurs twice in one object, trailing text, and more
/// than [`limits::JSON_BYTES`] bytes.
pub fn parse(text: &[u8]) -> Result<Value, ParseJsonError> {
    if text.len() > limits::JSON_BYTES {
        return Err(ParseJsonError::TooLarge { len: text.len(), limit: limits::JSON_BYTES });
    }
    let mut deserializer = Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut deserializer).map_err(ParseJsonError::Malformed)?;
    deserializer.end().map_err(ParseJsonError::Malformed)?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} occurs twice")));
            }
            let value = access.next_value_seed(Self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_json_reads_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"c":18446744073709551615}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_would_be_dropped_silently_is_refused() {
        for bad in [r#"{"a":1,"a":2}"#, "{} x", "", "{", "1e999", "\"\\ud800\"", "[1,]"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad} was accepted");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn an_oversize_text_is_refused_before_it_is_read() {
        let text = vec![b' '; limits::JSON_BYTES + 1];
        assert!(matches!(parse(&text), Err(ParseJsonError::TooLarge { .. })));
    }
}
