//! One section of a document, `desired` or `reported`, with the time of each leaf.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The values, and beside each leaf when it was last written, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Section {
    /// The values.
    #[serde(rename = "s")]
    pub state: Map<String, Value>,
    /// `{"timestamp": N}` in the place of each leaf.
    #[serde(rename = "t")]
    pub times: Map<String, Value>,
}

impl Section {
    /// Merges a patch; only leaves that it names get the new time. An empty object is a value, an
    /// object of nothing but nulls makes nothing.
    pub fn merge(&mut self, patch: &Map<String, Value>, at: u64) {
        merge(&mut self.state, &mut self.times, patch, at);
    }

    /// Whether nothing is in it; AWS then leaves it out.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    /// Its size as AWS counts it: serialised, without times.
    pub fn bytes(&self) -> usize {
        serde_json::to_vec(&self.state).map_or(usize::MAX, |text| text.len())
    }

    /// Whether every leaf has a time and nothing else has one.
    pub fn is_sound(&self) -> bool {
        fits(&self.state, &self.times)
    }
}

/// The times of a value that is written now; also for nulls, as `update/accepted` shows them.
pub(super) fn stamp(value: &Value, at: u64) -> Value {
    match value {
        Value::Object(object) => Value::Object(stamp_all(object, at)),
        Value::Array(items) => items.iter().map(|item| stamp(item, at)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            json!({ "timestamp": at })
        }
    }
}

pub(super) fn stamp_all(object: &Map<String, Value>, at: u64) -> Map<String, Value> {
    object.iter().map(|(key, value)| (key.clone(), stamp(value, at))).collect()
}

fn merge(
    state: &mut Map<String, Value>,
    times: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    at: u64,
) {
    for (key, change) in patch {
        let held = (state.get_mut(key), times.get_mut(key));
        let fresh = match (change, held) {
            (Value::Null, _) => {
                state.remove(key);
                times.remove(key);
                continue;
            }
            (Value::Object(patch), (Some(Value::Object(state)), Some(Value::Object(times)))) => {
                merge(state, times, patch, at);
                continue;
            }
            (Value::Object(_), (held, _)) => match (without_nulls(change), held.is_some()) {
                (Some(fresh), _) => fresh,
                (None, true) => Value::Object(Map::new()),
                (None, false) => continue,
            },
            (_, _) => change.clone(),
        };
        times.insert(key.clone(), stamp(&fresh, at));
        state.insert(key.clone(), fresh);
    }
}

/// A value without its nulls; nothing if it was made of nulls only.
fn without_nulls(value: &Value) -> Option<Value> {
    let Value::Object(object) = value else {
        return if value.is_null() { None } else { Some(value.clone()) };
    };
    if object.is_empty() {
        return Some(value.clone());
    }
    let keep = |(key, value): (&String, &Value)| Some((key.clone(), without_nulls(value)?));
    let kept: Map<String, Value> = object.iter().filter_map(keep).collect();
    if kept.is_empty() { None } else { Some(Value::Object(kept)) }
}

fn fits(state: &Map<String, Value>, times: &Map<String, Value>) -> bool {
    let pairs = state.iter().zip(times);
    state.len() == times.len()
        && pairs.into_iter().all(|((key, value), (name, time))| key == name && fit(value, time))
}

fn fit(value: &Value, time: &Value) -> bool {
    match (value, time) {
        (Value::Object(state), Value::Object(times)) => fits(state, times),
        (Value::Array(items), Value::Array(times)) => {
            items.len() == times.len() && items.iter().zip(times).all(|(v, t)| fit(v, t))
        }
        (Value::Bool(_) | Value::Number(_) | Value::String(_), Value::Object(leaf)) => {
            leaf.len() == 1 && leaf.get("timestamp").is_some_and(Value::is_u64)
        }
        _ => false,
    }
}
