//! JSON objects to deterministic CBOR without a way round through serde: what [`super::Canonical`]
//! makes, byte for byte, and how long that would be. Reads nothing; [`super::Scan`] does.

use half::f16;
use serde_json::{Map, Number, Value};

use super::key_order;
use super::scan::{ARRAY, MAP, NEGATIVE, NULL, TEXT, UNSIGNED, head_len, put_head};

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
pub(super) const HALF: u8 = 0xf9;
pub(super) const SINGLE: u8 = 0xfa;
pub(super) const DOUBLE: u8 = 0xfb;

/// The object's encoding.
pub(crate) fn canonical(object: &Map<String, Value>) -> Vec<u8> {
    /// Room for a small document.
    const ROOM: usize = 256;
    let mut bytes = Vec::with_capacity(ROOM);
    put_object(&mut bytes, object);
    bytes
}

/// How many bytes that has.
pub(crate) fn canonical_len(object: &Map<String, Value>) -> usize {
    let member = |(key, value): (&String, &Value)| text_len(key) + value_len(value);
    head_len(object.len()) + object.iter().map(member).sum::<usize>()
}

/// How many bytes the shortest form of a float has, its initial byte included.
pub(super) fn float_len(number: f64) -> usize {
    if f16::from_f64(number).to_f64().to_bits() == number.to_bits() {
        3
    } else if f64::from(to_single(number)).to_bits() == number.to_bits() {
        5
    } else {
        9
    }
}

fn put_object(into: &mut Vec<u8>, object: &Map<String, Value>) {
    put_head(into, MAP, object.len() as u64);
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by(|(a, _), (b, _)| key_order(a, b));
    for (key, value) in entries {
        put_text(into, key);
        put_value(into, value);
    }
}

fn put_value(into: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => into.push(NULL),
        Value::Bool(value) => into.push(if *value { TRUE } else { FALSE }),
        Value::Number(number) => put_number(into, number),
        Value::String(text) => put_text(into, text),
        Value::Array(items) => {
            put_head(into, ARRAY, items.len() as u64);
            for item in items {
                put_value(into, item);
            }
        }
        Value::Object(object) => put_object(into, object),
    }
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    put_head(into, TEXT, text.len() as u64);
    into.extend_from_slice(text.as_bytes());
}

fn put_number(into: &mut Vec<u8>, number: &Number) {
    match integer(number) {
        Some((major, number)) => put_head(into, major, number),
        None => put_float(into, number.as_f64().unwrap_or_default()),
    }
}

fn put_float(into: &mut Vec<u8>, number: f64) {
    match float_len(number) {
        3 => {
            into.push(HALF);
            into.extend(f16::from_f64(number).to_be_bytes());
        }
        5 => {
            into.push(SINGLE);
            into.extend(to_single(number).to_be_bytes());
        }
        _ => {
            into.push(DOUBLE);
            into.extend(number.to_be_bytes());
        }
    }
}

fn value_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => match integer(number) {
            Some((_, number)) => head_len(usize::try_from(number).unwrap_or(usize::MAX)),
            None => float_len(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => text_len(text),
        Value::Array(items) => head_len(items.len()) + items.iter().map(value_len).sum::<usize>(),
        Value::Object(object) => canonical_len(object),
    }
}

const fn text_len(text: &str) -> usize {
    head_len(text.len()) + text.len()
}

/// The major type and the number of an integer; `None`: it is none.
fn integer(number: &Number) -> Option<(u8, u64)> {
    if let Some(number) = number.as_u64() {
        return Some((UNSIGNED, number));
    }
    let number = number.as_i64()?;
    u64::try_from(-1 - number).ok().map(|number| (NEGATIVE, number))
}

#[expect(clippy::cast_possible_truncation, reason = "whether something was lost is looked at")]
const fn to_single(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cbor::{CanonicalMap, encode};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<f32>().prop_map(|number| Value::from(f64::from(number))),
            any::<i16>().prop_map(|number| Value::from(f64::from(number) / 16.0)),
            "[a-z]{0,30}|\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 30, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{0,3}|\\PC{0,4}", inner, 0..30)
                    .prop_map(|object| Value::Object(object.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_short_way_ends_where_serde_does(value in value()) {
            let object: Map<_, _> = [("x".to_owned(), value)].into_iter().collect();
            let expected = encode(&CanonicalMap(&object));
            prop_assert_eq!(canonical_len(&object), expected.len());
            prop_assert_eq!(canonical(&object), expected);
        }
    }

    #[test]
    fn every_width_of_a_number_is_right_at_its_edges() {
        let edges = [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX];
        let unsigned = edges.into_iter().map(Value::from);
        let negative = edges
            .into_iter()
            .filter_map(|edge| i64::try_from(edge).ok().map(|edge| Value::from(-1 - edge)));
        let floats = [0.0, -0.0, 65_504.0, 65_505.0, 5.96e-8, 1e-40, f64::MAX, f64::MIN_POSITIVE];
        let all: Vec<_> = unsigned.chain(negative).chain(floats.map(Value::from)).collect();
        for value in all {
            let object: Map<_, _> = [(String::new(), value)].into_iter().collect();
            let expected = encode(&CanonicalMap(&object));
            assert_eq!(
                (canonical(&object), canonical_len(&object)),
                (expected.clone(), expected.len())
            );
        }
    }
}
