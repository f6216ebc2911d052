//! Small documents with every shape that the algebra tells apart, edited without the algebra.

use gnomon_schemas::document::{Document, Packed, Patch};
use serde_json::{Map, Value, json};

/// How many different fields there are.
pub(super) const FIELDS: u8 = 7;

/// The document with one field set, or removed if `value` is 0. The `padding` makes a patch
/// cheaper than the whole.
pub(super) fn edit(old: Option<&Document>, field: u8, value: u8, padding: usize) -> Document {
    let mut object = old.map(|old| old.as_object().clone()).unwrap_or_default();
    if padding > 0 {
        object.insert("padding".to_owned(), json!("x".repeat(padding)));
    }
    let (name, inner) = match field % FIELDS {
        0 => ("number", None),
        1 => ("text", None),
        2 => ("list", None),
        3 => ("either", None),
        4 => ("either", Some("a")),
        5 => ("nest", Some("a")),
        _ => ("nest", Some("b")),
    };
    if let Some(inner) = inner {
        let member = object.entry(name).or_insert_with(|| json!({}));
        if !member.is_object() {
            *member = json!({});
        }
        if let Value::Object(member) = member {
            put(member, inner, field, value);
        }
    } else {
        put(&mut object, name, field, value);
    }
    checked(object)
}

/// What a site reports of what it was asked for.
pub(super) fn report(desired: &Packed) -> Document {
    let mut object = Map::new();
    object.insert("is".to_owned(), desired.to_value());
    checked(object)
}

/// Whether this is the report of that.
pub(super) fn follows(reported: &Packed, desired: &Packed) -> bool {
    *reported == Packed::from(report(desired))
}

/// Whether a document is such a report.
pub(super) fn is_report(document: &Packed) -> bool {
    document.find(&["is".to_owned()]).is_some()
}

/// The document, altered.
pub(super) fn damaged(document: &Document) -> Document {
    let mut object = document.as_object().clone();
    object.insert("damaged".to_owned(), json!(true));
    checked(object)
}

/// The patch that alters a document in the same way.
pub(super) fn damage() -> Patch {
    Patch::from_value(json!({"damaged": true})).expect("a small patch is a patch")
}

fn put(object: &mut Map<String, Value>, name: &str, field: u8, value: u8) {
    if value == 0 {
        object.remove(name);
        return;
    }
    let value = match field % FIELDS {
        1 => json!(format!("value {value}")),
        2 => json!([value, value / 2, {"deep": value % 3}]),
        _ => json!(value),
    };
    object.insert(name.to_owned(), value);
}

fn checked(object: Map<String, Value>) -> Document {
    Document::from_value(Value::Object(object)).expect("small objects without null are documents")
}
