//! What holds for every document and every request.

use gnomon_schemas::topic::Operation;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::tests::Bench;
use super::*;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab]?".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec((0..3_i64).prop_map(Value::from), 0..3).prop_map(Value::Array),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn patch() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[abc]", value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(object) => object.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn merged(patches: &[Map<String, Value>]) -> Section {
    let mut section = Section::default();
    (1..).zip(patches).for_each(|(at, patch)| section.merge(patch, at));
    section
}

proptest! {
    #[test]
    fn no_null_is_kept_and_every_leaf_has_a_time(patches in prop::collection::vec(patch(), 0..5)) {
        let section = merged(&patches);
        prop_assert!(!has_null(&Value::Object(section.state.clone())));
        prop_assert!(section.is_sound());
    }

    #[test]
    fn a_patch_that_is_repeated_changes_only_times(patches in prop::collection::vec(patch(), 1..5)) {
        let once = merged(&patches);
        let mut twice = once.clone();
        twice.merge(patches.last().unwrap(), 99);
        prop_assert_eq!(once.state, twice.state);
    }

    #[test]
    fn what_reports_the_delta_has_none(
        desired in prop::collection::vec(patch(), 0..4),
        reported in prop::collection::vec(patch(), 0..4),
    ) {
        let (desired, mut reported) = (merged(&desired), merged(&reported));
        let told = delta::delta(&desired, Some(&reported));
        if let Some(told) = told {
            prop_assert!(told.is_sound());
            reported.merge(&told.state, 99);
            prop_assert_eq!(delta::delta(&desired, Some(&reported)), None);
        }
    }

    #[test]
    fn any_bytes_are_a_request_or_a_refusal_of_a_known_code(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[\\[{}\":,a-z0-9 ]{0,100}",
    ) {
        for payload in [bytes.as_slice(), text.as_bytes()] {
            for operation in [Operation::Get, Operation::Update, Operation::Delete] {
                if let Err(unread) = Request::read(operation, payload) {
                    prop_assert!([400, 413, 415].contains(&unread.rejected.code()));
                }
            }
        }
    }

    #[test]
    fn any_requests_leave_rows_that_can_be_read_and_versions_that_grow(
        updates in prop::collection::vec((patch(), patch(), any::<bool>()), 1..8),
    ) {
        let mut bench = Bench::default();
        let id = gnomon_schemas::topic::ShadowId { thing: "t".parse().unwrap(), shadow: None };
        let mut last = 0;
        for (desired, reported, delete) in updates {
            let body = serde_json::json!({"state": {"desired": desired, "reported": reported}});
            let update = Request::read(Operation::Update, body.to_string().as_bytes()).unwrap();
            let done = bench.order(&Order::Shadow(id.clone(), update, Origin::Mqtt));
            let answer: Value = serde_json::from_slice(&done.answer.unwrap()).unwrap();
            let version = answer["version"].as_u64().unwrap();
            prop_assert_eq!(version, last + 1);
            last = version;
            if delete {
                let request = Request::Delete { token: None };
                let done = bench.order(&Order::Shadow(id.clone(), request, Origin::Mqtt));
                prop_assert!(done.answer.is_ok());
            }
            for (key, value) in &bench.rows {
                prop_assert!(!key.starts_with(SHADOWS) || shadow_of(key, value).is_ok());
                prop_assert!(!key.starts_with(GRAVES) || grave_of(key, value).is_ok());
            }
        }
    }
}
