//! What changed between two sights of a shadow, as one line.

use std::collections::BTreeMap;

use gnomon_schemas::document::{Document, diff};
use serde_json::Value;

use crate::api::{Node, Part, Shadow};
use crate::output::age::{now_ms, time_of_day};
use crate::output::brief;

const LINE: usize = 160;

/// The last sight of every shadow, by node and key.
pub(super) type Seen = BTreeMap<(String, String), Shadow>;

/// A line for each half that is new since the last sight; `None`: nothing is.
pub(super) fn line_of_shadow(seen: &mut Seen, shadow: Shadow) -> Option<String> {
    let place = (shadow.node.clone(), shadow.key.clone());
    let before = seen.get(&place);
    let start = format!("{} {} {}", time_of_day(now_ms()), shadow.node, shadow.key);
    let old = |half: fn(&Shadow) -> Option<&Part>| before.and_then(half);
    let lines: Vec<String> = [
        ("desired", old(|s| s.desired.as_ref()), shadow.desired.as_ref()),
        ("reported", old(|s| s.reported.as_ref()), shadow.reported.as_ref()),
    ]
    .into_iter()
    .filter_map(|(half, old, new)| Some(format!("{start} {half} {}", change(old, new)?)))
    .collect();
    seen.insert(place, shadow);
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn change(old: Option<&Part>, new: Option<&Part>) -> Option<String> {
    match (old, new) {
        (None, None) => None,
        (Some(_), None) => Some("deleted".to_owned()),
        (None, Some(new)) => Some(format!("v{} {}", new.version, brief(&new.document, LINE))),
        (Some(old), Some(new)) if old.version == new.version => None,
        (Some(old), Some(new)) => {
            let what = patch(&old.document, &new.document).unwrap_or_else(|| new.document.clone());
            Some(format!("v{} {}", new.version, brief(&what, LINE)))
        }
    }
}

fn patch(old: &Value, new: &Value) -> Option<Value> {
    let read = |value: &Value| Document::from_value(value.clone()).ok();
    serde_json::to_value(diff(&read(old)?, &read(new)?)).ok()
}

/// A line about a node's presence.
pub(super) fn line_of_node(node: &Node) -> String {
    let presence = if node.online { "online" } else { "offline" };
    let sync = if node.in_sync { "in sync" } else { "not in sync" };
    format!("{} {} node {presence}, {sync}", time_of_day(now_ms()), node.name)
}

/// A line about a node that was deleted.
pub(super) fn line_of_deleted(node: &str) -> String {
    format!("{} {node} node deleted", time_of_day(now_ms()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shadow(desired: u64, reported: u64) -> Shadow {
        serde_json::from_value(json!({
            "node": "site-1", "key": "app/web", "version": desired + reported,
            "desired": {"version": desired, "document": {"a": desired, "b": 1}},
            "reported": {"version": reported, "document": {"c": reported}},
            "delta": null,
        }))
        .unwrap()
    }

    #[test]
    fn only_the_half_that_changed_is_told_and_only_what_changed_in_it() {
        let mut seen = Seen::new();
        let first = line_of_shadow(&mut seen, shadow(1, 1)).unwrap();
        assert!(first.contains(r#"desired v1 {"a":1,"b":1}"#), "{first}");
        assert!(first.contains(r#"reported v1 {"c":1}"#), "{first}");
        let second = line_of_shadow(&mut seen, shadow(2, 1)).unwrap();
        assert!(second.ends_with(r#"site-1 app/web desired v2 {"a":2}"#), "{second}");
        assert_eq!(line_of_shadow(&mut seen, shadow(2, 1)), None);
    }

    #[test]
    fn a_deleted_half_is_told() {
        let mut seen = Seen::new();
        line_of_shadow(&mut seen, shadow(1, 1)).unwrap();
        let gone = Shadow { desired: None, ..shadow(1, 1) };
        let line = line_of_shadow(&mut seen, gone).unwrap();
        assert!(line.ends_with("desired deleted"), "{line}");
    }
}
