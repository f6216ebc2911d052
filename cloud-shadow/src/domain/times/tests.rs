//! Stamps follow their fields through every kind of change.

use gnomon_schemas::document::merge;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn document(value: Value) -> Document {
    Document::from_value(value).unwrap()
}

fn stamp(version: u64) -> Stamp {
    Stamp { version: Version(version), unix_ms: version * 10 }
}

/// The versions of the leaves, in order.
fn versions(times: &Times, document: &Document) -> Vec<u64> {
    let mut stamps = times.stamps();
    (0..leaves_in(document.as_object())).map(|_| stamps.take().version.0).collect()
}

#[test]
fn only_what_changed_or_was_named_gets_a_new_stamp() {
    let old = document(json!({ "a": 1, "b": { "x": 1, "y": [1], "z": {} }, "c": true, "d": 1 }));
    let patch = json!({ "a": 1, "b": { "y": [2] }, "bb": { "n": 1, "m": 2 }, "c": null });
    let patch = Patch::from_value(patch).unwrap();
    let new = merge(&old, &patch);
    let times = Times::all(&old, stamp(1)).written(&old, &new, Some(&patch), stamp(2));
    // a, b/x, b/y, b/z, bb/m, bb/n, d
    assert_eq!(versions(&times, &new), [2, 1, 2, 1, 2, 2, 1]);
    let times = Times::all(&old, stamp(1)).written(&old, &new, None, stamp(2));
    assert_eq!(versions(&times, &new), [1, 1, 2, 1, 2, 2, 1]);
}

#[test]
fn a_field_that_becomes_an_object_and_back_keeps_the_others_in_place() {
    let first = document(json!({ "a": {}, "b": 1 }));
    let second = document(json!({ "a": { "x": 1, "y": 2 }, "b": 1 }));
    let times = Times::all(&first, stamp(1)).written(&first, &second, None, stamp(2));
    assert_eq!(versions(&times, &second), [2, 2, 1]);
    let third = times.written(&second, &first, None, stamp(3));
    assert_eq!(versions(&third, &first), [3, 1]);
}

#[test]
fn a_document_written_at_once_costs_one_run() {
    let many: Map<String, Value> = (0..500).map(|n| (format!("k{n}"), json!(n))).collect();
    let times = Times::all(&document(Value::Object(many)), stamp(1));
    assert_eq!(serde_json::to_string(&times).unwrap(), "[[500,1,10]]");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![(0..3).prop_map(Value::from), Just(json!([1])), Just(json!({}))];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::btree_map("[a-d]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    })
}

fn any_document() -> impl Strategy<Value = Document> {
    prop::collection::btree_map("[a-d]", value(), 0..4)
        .prop_map(|map| document(Value::Object(map.into_iter().collect())))
}

/// What the runs mean: the stamp of each leaf by its place.
fn by_place(times: &Times, document: &Document) -> Vec<(String, Value, Stamp)> {
    fn walk(
        at: &str,
        object: &Map<String, Value>,
        stamps: &mut Stamps,
        out: &mut Vec<(String, Value, Stamp)>,
    ) {
        for (key, value) in object {
            let at = format!("{at}/{key}");
            match value.as_object().filter(|inner| !inner.is_empty()) {
                Some(inner) => walk(&at, inner, stamps, out),
                None => out.push((at, value.clone(), stamps.take())),
            }
        }
    }
    let mut out = Vec::new();
    walk("", document.as_object(), &mut times.stamps(), &mut out);
    out
}

proptest! {
    #[test]
    fn a_leaf_keeps_its_stamp_exactly_while_it_keeps_its_value(
        documents in prop::collection::vec(any_document(), 2..6)
    ) {
        let mut times = Times::all(&documents[0], stamp(1));
        for (n, pair) in documents.windows(2).enumerate() {
            let now = stamp(u64::try_from(n).unwrap() + 2);
            let before = by_place(&times, &pair[0]);
            times = times.written(&pair[0], &pair[1], None, now);
            for (place, value, stamp) in by_place(&times, &pair[1]) {
                let old = before.iter().find(|(at, was, _)| *at == place && *was == value);
                prop_assert_eq!(stamp, old.map_or(now, |(_, _, stamp)| *stamp), "{}", place);
            }
            let counted: usize = times.0.iter().map(|run| run.0).sum();
            prop_assert_eq!(counted, leaves_in(pair[1].as_object()));
        }
    }
}
