//! `merge`, `diff` and `delta`: total functions over documents.

use serde_json::{Map, Value};

use super::{Change, Document, Patch};

/// The document after the patch (RFC 7396).
#[must_use]
pub fn merge(document: &Document, patch: &Patch) -> Document {
    let mut object = document.0.clone();
    merge_object(&mut object, patch);
    Document(object)
}

/// The smallest patch that turns `from` into `to`: `merge(from, diff(from, to)) == to`.
#[must_use]
pub fn diff(from: &Document, to: &Document) -> Patch {
    diff_object(&from.0, &to.0)
}

/// The members of `desired` that `reported` does not have with the same value; `None` if there
/// are none. Arrays and scalars count as one value. This is the `delta` of AWS IoT shadows:
/// members that only `reported` has are not part of it.
#[must_use]
pub fn delta(desired: &Document, reported: &Document) -> Option<Document> {
    let object = delta_object(&desired.0, &reported.0);
    if object.is_empty() { None } else { Some(Document(object)) }
}

/// What a member becomes when `patch` is merged into it.
pub(super) fn merge_value(value: Option<&Value>, patch: &Patch) -> Value {
    let mut object = match value {
        Some(Value::Object(object)) => object.clone(),
        _ => Map::new(),
    };
    merge_object(&mut object, patch);
    Value::Object(object)
}

pub(super) fn merge_object(object: &mut Map<String, Value>, patch: &Patch) {
    for (key, change) in &patch.0 {
        match change {
            Change::Remove => {
                object.remove(key);
            }
            Change::Set(value) => {
                object.insert(key.clone(), value.clone());
            }
            Change::Merge(inner) => {
                if let Some(Value::Object(member)) = object.get_mut(key) {
                    merge_object(member, inner);
                } else {
                    object.insert(key.clone(), merge_value(None, inner));
                }
            }
        }
    }
}

fn diff_object(from: &Map<String, Value>, to: &Map<String, Value>) -> Patch {
    let mut patch = Patch::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.0.insert(key.clone(), Change::Remove);
    }
    for (key, value) in to {
        let change = match (from.get(key), value) {
            (Some(old), new) if old == new => continue,
            (Some(Value::Object(old)), Value::Object(new)) => Change::Merge(diff_object(old, new)),
            (_, Value::Object(new)) => Change::Merge(diff_object(&Map::new(), new)),
            (_, new) => Change::Set(new.clone()),
        };
        patch.0.insert(key.clone(), change);
    }
    patch
}

fn delta_object(desired: &Map<String, Value>, reported: &Map<String, Value>) -> Map<String, Value> {
    let mut delta = Map::new();
    for (key, wanted) in desired {
        match (wanted, reported.get(key)) {
            (wanted, Some(actual)) if wanted == actual => {}
            (Value::Object(wanted), Some(Value::Object(actual))) => {
                let inner = delta_object(wanted, actual);
                if !inner.is_empty() {
                    delta.insert(key.clone(), Value::Object(inner));
                }
            }
            (wanted, _) => {
                delta.insert(key.clone(), wanted.clone());
            }
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(value: Value) -> Document {
        Document::from_value(value).unwrap()
    }

    /// The test cases of RFC 7396, appendix A, whose target and result are objects without null.
    #[test]
    fn the_cases_of_rfc_7396_hold() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (target, patch, result) in cases {
            let patch = Patch::from_value(patch).unwrap();
            assert_eq!(merge(&document(target), &patch), document(result));
        }
    }

    #[test]
    fn a_diff_names_only_what_changed() {
        let from = document(json!({"a": {"x": 1, "y": 2}, "b": [1, 2], "c": true}));
        let to = document(json!({"a": {"x": 1, "y": 3}, "b": [1, 2]}));
        assert_eq!(diff(&from, &to).to_value().unwrap(), json!({"a": {"y": 3}, "c": null}));
    }

    #[test]
    fn a_delta_holds_what_is_wanted_and_not_reported() {
        let desired = document(json!({"a": {"x": 1, "y": 2}, "b": [1]}));
        let reported = document(json!({"a": {"x": 1, "y": 9, "z": 0}, "b": [1], "extra": 1}));
        assert_eq!(delta(&desired, &reported), Some(document(json!({"a": {"y": 2}}))));
        assert_eq!(delta(&desired, &desired), None);
    }
}
