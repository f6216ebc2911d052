//! A place in a document (RFC 6901).

use std::fmt;
use std::str::FromStr;

use gnomon_schemas::limits;
use serde_json::{Map, Value};

/// A JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(Vec<String>);

/// Why a text is no pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePointerError {
    /// It has no leading slash.
    #[error("a JSON pointer is empty or begins with `/`, as in `/pump/rate`")]
    NoSlash,
    /// A tilde is not followed by 0 or 1.
    #[error("in a JSON pointer `~` is written `~0` and `/` inside a name `~1`")]
    Tilde,
    /// It leads deeper than any document goes.
    #[error("a JSON pointer has at most {} steps", limits::DOCUMENT_DEPTH)]
    TooDeep,
}

/// What a pointer leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// The whole document.
    Root(&'a Map<String, Value>),
    /// A part of it.
    Value(&'a Value),
}

impl Pointer {
    /// The names on the way.
    pub fn steps(&self) -> &[String] {
        &self.0
    }

    /// What stands at the place.
    pub fn find<'a>(&self, object: &'a Map<String, Value>) -> Option<Found<'a>> {
        let Some((first, rest)) = self.0.split_first() else { return Some(Found::Root(object)) };
        let mut value = object.get(first)?;
        for step in rest {
            value = match value {
                Value::Object(object) => object.get(step)?,
                Value::Array(items) => items.get(index(step)?)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            };
        }
        Some(Found::Value(value))
    }
}

/// The parts of an object that the pointers lead to, each where it was. An array that a pointer
/// leads into is there as a whole.
pub fn project(object: &Map<String, Value>, pointers: &[Pointer]) -> Map<String, Value> {
    let mut part = Map::new();
    for pointer in pointers {
        copy(object, &mut part, pointer.steps());
    }
    part
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, steps: &[String]) {
    let Some((step, rest)) = steps.split_first() else {
        to.clone_from(from);
        return;
    };
    match from.get(step) {
        Some(Value::Object(inner)) if !rest.is_empty() => {
            let mut part = Map::new();
            copy(inner, &mut part, rest);
            if part.is_empty() {
                return;
            }
            if let Some(Value::Object(there)) = to.get_mut(step) {
                copy(inner, there, rest);
            } else {
                to.insert(step.clone(), Value::Object(part));
            }
        }
        Some(value @ Value::Array(_)) => {
            to.insert(step.clone(), value.clone());
        }
        Some(value) if rest.is_empty() => {
            to.insert(step.clone(), value.clone());
        }
        Some(_) | None => {}
    }
}

/// An index of an array: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let is_number = step.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = step == "0" || !step.starts_with('0');
    if is_number && is_short { step.parse().ok() } else { None }
}

impl FromStr for Pointer {
    type Err = ParsePointerError;

    fn from_str(text: &str) -> Result<Self, ParsePointerError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let rest = text.strip_prefix('/').ok_or(ParsePointerError::NoSlash)?;
        let steps: Vec<_> = rest.split('/').take(limits::DOCUMENT_DEPTH + 1).collect();
        if steps.len() > limits::DOCUMENT_DEPTH {
            return Err(ParsePointerError::TooDeep);
        }
        let unescape = |step: &str| {
            let tilde = step.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
            if tilde {
                Err(ParsePointerError::Tilde)
            } else {
                Ok(step.replace("~1", "/").replace("~0", "~"))
            }
        };
        steps.into_iter().map(unescape).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |step: &String| step.replace('~', "~0").replace('/', "~1");
        self.0.iter().try_for_each(|step| write!(f, "/{}", escape(step)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_pointer_finds_what_rfc_6901_says() {
        let document = object(&json!({ "foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8 }));
        for (text, found) in [
            ("/foo/0", Some(json!("bar"))),
            ("/", Some(json!(0))),
            ("/a~1b", Some(json!(1))),
            ("/m~0n", Some(json!(8))),
            ("/foo/00", None),
            ("/foo/2", None),
            ("/foo/bar", None),
        ] {
            let pointer: Pointer = text.parse().unwrap();
            assert_eq!(pointer.to_string(), text);
            assert_eq!(pointer.find(&document), found.as_ref().map(Found::Value), "{text}");
        }
        assert_eq!("".parse::<Pointer>().unwrap().find(&document), Some(Found::Root(&document)));
        for bad in ["foo", "/a~2", "/a~"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad}");
        }
        assert_eq!("/a".repeat(40).parse::<Pointer>(), Err(ParsePointerError::TooDeep));
    }

    #[test]
    fn a_part_keeps_its_place_and_an_array_is_whole() {
        let document = object(&json!({ "a": { "x": 1, "y": { "z": 2 } }, "b": [1, 2], "c": 3 }));
        let part = |texts: &[&str]| Value::Object(project(&document, &pointers(texts)));
        assert_eq!(part(&["/a/x", "/a/y/z"]), json!({ "a": { "x": 1, "y": { "z": 2 } } }));
        assert_eq!(part(&["/b/1", "/nothing", "/c/x"]), json!({ "b": [1, 2] }));
        assert_eq!(part(&["/a/x", "/a"]), json!({ "a": { "x": 1, "y": { "z": 2 } } }));
        assert_eq!(part(&["/a/none"]), json!({}));
        assert_eq!(part(&[""]), Value::Object(document.clone()));
    }
}
