//! What must hold of every past.

use std::collections::BTreeMap;

use gnomon_schemas::topic::Operation;
use proptest::prelude::*;

use super::super::tests::Bench;
use super::super::{Order, Origin, Request};
use super::*;

const DAY: u64 = 24 * 60 * 60;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![(0..3_i64).prop_map(Value::from), "[ab]?".prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec((0..3_i64).prop_map(Value::from), 0..3).prop_map(Value::Array),
            state_with(inner).prop_map(Value::Object),
        ]
    })
}

fn state_with(value: impl Strategy<Value = Value>) -> impl Strategy<Value = State> {
    prop::collection::btree_map("[abc]", value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn state() -> impl Strategy<Value = State> {
    state_with(value())
}

/// A request about the shadow; `None`: it is deleted.
fn request() -> impl Strategy<Value = Option<Value>> {
    let nullable = |state: State| {
        let sparse = |(at, (key, value))| (key, if at % 3 == 2 { Value::Null } else { value });
        Value::Object(state.into_iter().enumerate().map(sparse).collect())
    };
    let section = prop_oneof![
        1 => Just(Some(Value::Null)),
        1 => Just(None),
        4 => state().prop_map(move |state| Some(nullable(state))),
    ];
    let update = (section.clone(), section).prop_map(|(desired, reported)| {
        let sections = [("desired", desired), ("reported", reported)];
        let given = sections.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
        Some(Value::Object(given.collect()))
    });
    prop_oneof![1 => Just(None), 6 => update]
}

fn id() -> ShadowId {
    ShadowId { thing: "t".parse().unwrap(), shadow: None }
}

/// What the rows tell, newest first.
fn told(bench: &Bench) -> Vec<PastRevision> {
    let get = |key: Vec<u8>| bench.rows.get(&key);
    let live = get([b"aws/s/t/".as_slice()].concat());
    let dead = get([b"aws/d/t/".as_slice()].concat());
    let seen = match (live, dead) {
        (Some(live), _) => Slot::Present(serde_json::from_slice(live).unwrap()),
        (None, Some(dead)) => Slot::Deleted(serde_json::from_slice(dead).unwrap()),
        (None, None) => Slot::Absent,
    };
    let rows = bench.rows.iter().rev().filter(|(key, _)| key.starts_with(&past_of(&id())));
    unfold_past(&seen, rows.map(|(key, value)| past_entry(key, value).unwrap())).collect()
}

proptest! {
    #[test]
    fn a_diff_leads_from_one_state_to_the_other(from in state(), to in state()) {
        let mut made = from.clone();
        merge(&mut made, &diff(&from, &to));
        prop_assert_eq!(&made, &to);
        prop_assert_eq!(diff(&to, &to), State::new());
    }

    #[test]
    fn every_version_is_what_it_was(
        steps in prop::collection::vec((request(), 0..DAY), 1..40), versions in 1..24_usize,
    ) {
        let mut bench = Bench::default();
        bench.limits.versions = versions;
        let mut model: Vec<(Mark, u64, Option<State>)> = Vec::new();
        for (request, wait_s) in steps {
            bench.now += wait_s;
            let (operation, body) = match &request {
                Some(state) => {
                    (Operation::Update, serde_json::json!({ "state": state }).to_string())
                }
                None => (Operation::Delete, String::new()),
            };
            let request = Request::read(operation, body.as_bytes()).unwrap();
            let done = bench.order(&Order::Shadow(id(), request, Origin::Mqtt));
            let Ok(answer) = done.answer else { continue };
            let answer: BTreeMap<String, Value> = serde_json::from_slice(&answer).unwrap();
            let version = answer["version"].as_u64().unwrap();
            if version == 1 && operation == Operation::Update {
                model.clear();
            }
            let live = bench.rows.get(b"aws/s/t/".as_slice());
            let state = live.map(|row| state_of(&serde_json::from_slice(row).unwrap()));
            let mark = Mark { version, is_end: operation == Operation::Delete };
            model.push((mark, bench.now * 1000, state));
        }
        let told = told(&bench);
        let least = model.len().min(versions);
        prop_assert!((least..=model.len()).contains(&told.len()), "{} of {}", told.len(), model.len());
        let bound = versions + 2 * usize::try_from(UNCUT).unwrap();
        prop_assert!(told.len() <= bound, "{} are kept of {versions}", told.len());
        for (revision, (mark, at_ms, state)) in told.iter().zip(model.iter().rev()) {
            prop_assert_eq!(revision.mark, *mark);
            prop_assert_eq!((revision.at_ms, revision.by.as_str()), (*at_ms, "thing/t"));
            prop_assert_eq!(&revision.state, state);
            let mut made = revision.before.clone().unwrap_or_default();
            merge(&mut made, &revision.patch());
            prop_assert_eq!(made, state.clone().unwrap_or_default());
        }
    }
}

#[test]
fn what_came_later_than_what_was_seen_is_left_out_and_a_restore_keeps_the_past() {
    let entry = |version, undo: Option<&str>| {
        let undo = undo.map(|text| serde_json::from_str(text).unwrap());
        let mark = Mark { version, is_end: false };
        (mark, PastEntry { at_ms: version, by: "admin".to_owned(), undo })
    };
    let entries = || [entry(2, Some(r#"{"desired":{"a":1}}"#)), entry(1, None)];
    let seen = |version| {
        let mut desired = Section::default();
        desired.merge(serde_json::json!({ "a": 2 }).as_object().unwrap(), 1);
        Slot::Present(Shadow { version, desired: Some(desired), ..Shadow::default() })
    };
    let told =
        |slot: &Slot| unfold_past(slot, entries()).map(|it| it.mark.version).collect::<Vec<_>>();
    assert_eq!(told(&seen(2)), [2, 1]);
    assert_eq!(told(&seen(1)), [1]);
    assert_eq!(told(&seen(2 + LIFT)), [2, 1]);
    assert_eq!(told(&seen(7)), [0; 0], "a step is missing");
    assert_eq!(told(&Slot::Absent), [0; 0]);
}
