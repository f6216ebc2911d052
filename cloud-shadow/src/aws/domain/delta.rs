//! What of `desired` is not reported: objects key by key, everything else as one value.

use serde_json::{Map, Number, Value};

use super::Section;

/// The part of `desired` that differs, with its times; `None` if nothing differs.
pub(super) fn delta(desired: &Section, reported: Option<&Section>) -> Option<Section> {
    let none = Map::new();
    let reported = reported.map_or(&none, |reported| &reported.state);
    let section = objects(&desired.state, &desired.times, reported);
    (!section.is_empty()).then_some(section)
}

fn objects(
    desired: &Map<String, Value>,
    times: &Map<String, Value>,
    reported: &Map<String, Value>,
) -> Section {
    let mut found = Section::default();
    for (key, wanted) in desired {
        let time = times.get(key).cloned().unwrap_or_default();
        let (state, time) = match (wanted, reported.get(key), time) {
            (Value::Object(wanted), Some(Value::Object(held)), Value::Object(time)) => {
                let inner = objects(wanted, &time, held);
                if inner.is_empty() {
                    continue;
                }
                (Value::Object(inner.state), Value::Object(inner.times))
            }
            (_, Some(held), _) if is_same(wanted, held) => continue,
            (_, _, time) => (wanted.clone(), time),
        };
        found.state.insert(key.clone(), state);
        found.times.insert(key.clone(), time);
    }
    found
}

/// Equality of values; `1` and `1.0` are the same number, since many a device knows one kind only.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => is_same_number(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|((k, v), (l, w))| k == l && is_same(v, w))
        }
        (one, other) => one == other,
    }
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    if one.is_f64() == other.is_f64() {
        return one == other;
    }
    let (one, other) = (one.as_f64(), other.as_f64());
    one.zip(other).is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
}
