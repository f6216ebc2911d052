//! JSON values as YAML: block style, texts that YAML could misread in double quotes.

use serde_json::Value;

/// The value as a YAML document.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    if is_empty(value) {
        out.push_str(&scalar(value));
        out.push('\n');
    } else {
        block(value, 0, &mut out);
    }
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                out.push_str(&"  ".repeat(indent));
                out.push_str(&plain_or_quoted(key));
                out.push(':');
                after_key(member, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&"  ".repeat(indent));
                out.push('-');
                item_of_list(item, indent, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn after_key(value: &Value, indent: usize, out: &mut String) {
    if is_empty(value) {
        out.push(' ');
        out.push_str(&scalar(value));
        out.push('\n');
    } else {
        out.push('\n');
        block(value, indent + 1, out);
    }
}

/// The first line of an item stands behind its dash.
fn item_of_list(item: &Value, indent: usize, out: &mut String) {
    if is_empty(item) {
        out.push(' ');
        out.push_str(&scalar(item));
        out.push('\n');
        return;
    }
    let mut inner = String::new();
    block(item, indent + 1, &mut inner);
    out.push(' ');
    out.push_str(inner.trim_start());
}

/// Whether the value has no lines of its own.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), plain_or_quoted)
}

/// JSON's quoting is YAML's double quoting.
fn plain_or_quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if starts_well && !word && text.chars().all(safe) {
        return text.to_owned();
    }
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structures_become_blocks_and_risky_texts_are_quoted() {
        let value = json!({
            "a": {"b": [1, "no", {"x": "y:z", "k": []}, [true, null]], "e": {}},
            "image": "web/app-1.2",
            "port": "8080",
        });
        insta::assert_snapshot!(write(&value), @r#"
        a:
          b:
            - 1
            - "no"
            - k: []
              x: "y:z"
            - - true
              - null
          e: {}
        image: web/app-1.2
        port: "8080"
        "#);
    }

    #[test]
    fn a_bare_value_is_one_line() {
        assert_eq!(write(&json!([])), "[]\n");
        assert_eq!(write(&json!("x")), "x\n");
    }
}
