//! What a write changed, told per node.

use std::iter;

use serde_json::Value;

use crate::api::Part;

/// The most fields that are named.
const SHOWN: usize = 8;

/// What the cloud shows in place of a secret: whether that changed cannot be told from it.
const HIDDEN: &str = "[redacted]";

/// One line for the node, and one for each changed field.
pub(super) fn describe(
    key: &str,
    node: &str,
    version: u64,
    before: Option<&Part>,
    after: &Value,
) -> String {
    let Some(before) = before else {
        let services =
            after.get("services").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        let objects = after.pointer("/services/manifests/manifests").and_then(Value::as_object);
        let size = objects.map_or_else(
            || crate::output::count(services, "service"),
            |objects| crate::output::count(objects.len(), "object"),
        );
        return format!("{key} on {node}: created (v{version}, {size})");
    };
    let mut lines = Vec::new();
    compare(&before.document, after, &mut Vec::new(), &mut lines);
    if lines.is_empty() {
        lines.push("~ secrets".to_owned());
    }
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("and {more} more"));
    }
    let headline = format!("{key} on {node}: changed (v{} -> v{version})", before.version);
    iter::once(headline).chain(lines).collect::<Vec<_>>().join("\n  ")
}

fn compare<'v>(old: &'v Value, new: &'v Value, path: &mut Vec<&'v str>, lines: &mut Vec<String>) {
    if old == new || old == HIDDEN {
        return;
    }
    let (Value::Object(old_members), Value::Object(new_members)) = (old, new) else {
        lines.push(format!("~ {}: {} -> {}", path.join("."), shown(path, old), shown(path, new)));
        return;
    };
    let gone = old_members.iter().filter(|(name, _)| !new_members.contains_key(*name));
    for (name, _) in gone {
        path.push(name);
        lines.push(format!("- {}", path.join(".")));
        path.pop();
    }
    for (name, member) in new_members {
        path.push(name);
        match old_members.get(name) {
            Some(old_member) => compare(old_member, member, path, lines),
            None => lines.push(format!("+ {}: {}", path.join("."), shown(path, member))),
        }
        path.pop();
    }
}

/// What a secret holds is never shown.
fn shown(path: &[&str], value: &Value) -> String {
    if path.first() == Some(&"secrets") {
        return "(secret)".to_owned();
    }
    crate::output::brief(value, 60)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn part(document: Value) -> Part {
        Part { version: 3, document, updated_ms: None, rest: Map::new() }
    }

    #[test]
    fn each_changed_field_is_named_and_secrets_are_not_shown() {
        let before = part(json!({
            "services": {"web": {"image": "a:1", "environment": {"A": "1"}, "replicas": 2}},
            "secrets": {"key": {"content": "old"}},
        }));
        let after = json!({
            "services": {"web": {"image": "a:2", "environment": {"A": "1", "B": "2"}}},
            "secrets": {"key": {"content": "new"}},
        });
        insta::assert_snapshot!(describe("app/web", "site-1", 4, Some(&before), &after), @r#"
        app/web on site-1: changed (v3 -> v4)
          ~ secrets.key.content: (secret) -> (secret)
          - services.web.replicas
          + services.web.environment.B: "2"
          ~ services.web.image: "a:1" -> "a:2"
        "#);
    }

    #[test]
    fn a_long_list_of_changes_is_cut() {
        let before = part(json!({}));
        let after: Map<String, Value> = (0..20).map(|n| (format!("f{n:02}"), json!(n))).collect();
        let text = describe("app/web", "site-1", 4, Some(&before), &Value::Object(after));
        assert!(text.ends_with("\n  and 12 more"), "{text}");
    }

    #[test]
    fn a_first_write_says_how_much_it_is() {
        let text = describe("app/web", "site-1", 1, None, &json!({"services": {"a": {}}}));
        assert_eq!(text, "app/web on site-1: created (v1, 1 service)");
    }
}
