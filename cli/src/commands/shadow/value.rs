//! `field.path=value` arguments as one JSON object.

use serde_json::{Map, Value};

/// One object with every field in its place. A dot inside a name is written `\.`.
pub(super) fn from_fields(fields: &[String]) -> Result<Value, String> {
    let mut root = Map::new();
    for field in fields {
        let Some((path, text)) = split(field) else {
            return Err(format!("{field:?} is not of the form FIELD.PATH=VALUE"));
        };
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        insert(&mut root, &path, value)
            .map_err(|()| format!("{field:?} contradicts an earlier field: one holds the other"))?;
    }
    Ok(Value::Object(root))
}

fn split(field: &str) -> Option<(Vec<String>, &str)> {
    let mut path = vec![String::new()];
    let mut characters = field.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '=' => {
                let complete = path.iter().all(|name| !name.is_empty());
                return complete.then_some((path, field.get(at + 1..)?));
            }
            '.' => path.push(String::new()),
            '\\' => path.last_mut()?.push(characters.next()?.1),
            other => path.last_mut()?.push(other),
        }
    }
    None
}

fn insert(object: &mut Map<String, Value>, path: &[String], value: Value) -> Result<(), ()> {
    let [name, rest @ ..] = path else { return Err(()) };
    if rest.is_empty() {
        return if object.insert(name.clone(), value).is_none() { Ok(()) } else { Err(()) };
    }
    match object.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => insert(inner, rest, value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: &[&str]) -> Result<Value, String> {
        from_fields(&fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_json_where_they_can_be_and_text_where_not() {
        let value = read(&["a.b=80", "a.c=x=y", "d=null", r"e\.f=[1]", "g=", "h=\"7\""]).unwrap();
        assert_eq!(
            value,
            json!({"a": {"b": 80, "c": "x=y"}, "d": null, "e.f": [1], "g": "", "h": "7"})
        );
    }

    #[test]
    fn what_has_no_clear_place_is_refused() {
        for fields in [
            &["a"][..],
            &["=1"],
            &["a..b=1"],
            &["a=1", "a.b=2"],
            &["a.b=1", "a=2"],
            &["a=1", "a=1"],
        ] {
            assert!(read(fields).is_err(), "{fields:?} was accepted");
        }
    }
}
