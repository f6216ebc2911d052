//! The laws of the document algebra (protocol.md, section 2) over generated documents.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Document, Packed, Patch, delta, diff, merge};
use crate::cbor;

/// Few names, so that generated documents often share members.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[abc]", "[a-c]{2}", "ä"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3..3i32).prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        "[a-zé\"]{0,4}".prop_map(Value::String),
    ]
}

fn value(nulls: bool) -> impl Strategy<Value = Value> {
    let null = if nulls { Just(Value::Null).boxed() } else { scalar().boxed() };
    let leaf = prop_oneof![
        4 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::Array),
        2 => null,
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::btree_map(name(), inner, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
    })
}

fn object(nulls: bool) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name(), value(nulls), 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

pub(super) fn document() -> impl Strategy<Value = Document> {
    object(false).prop_map(|value| Document::from_value(value).unwrap())
}

fn path() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof![name(), "[012]"], 0..4)
}

/// Patches as users write them, and composed ones, which can say more.
fn patch() -> impl Strategy<Value = Patch> {
    let written = || object(true).prop_map(|value| Patch::from_value(value).unwrap());
    prop_oneof![written(), (written(), written()).prop_map(|(p, q)| p.compose(q))]
}

proptest! {
    #[test]
    fn packing_and_unpacking_gives_the_same(a in document(), b in document()) {
        let packed = Packed::from(&a);
        prop_assert_eq!(&packed.unpack(), &a);
        prop_assert_eq!((packed.digest(), packed.as_cbor()), (a.digest(), &*a.to_cbor()));
        prop_assert_eq!(&Packed::read(packed.as_cbor()).unwrap(), &packed);
        prop_assert_eq!(packed == Packed::from(&b), a == b);
    }

    #[test]
    fn what_is_found_in_the_packed_is_what_stands_there(a in document(), steps in path()) {
        let root = a.to_value();
        let step = |value: &Value, step: &String| match value {
            Value::Object(object) => object.get(step).cloned(),
            Value::Array(items) => items.get(step.parse::<usize>().ok()?).cloned(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let found = steps.iter().try_fold(root, |value, name| step(&value, name));
        prop_assert_eq!(Packed::from(&a).find(&steps), found);
    }

    #[test]
    fn no_damaged_byte_makes_a_packed_document_that_is_not_one(
        a in document(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = a.to_cbor();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(packed) = Packed::read(&bytes) {
            prop_assert_eq!(packed.unpack().to_cbor(), bytes);
        }
    }

    #[test]
    fn merging_a_diff_gives_the_target(a in document(), b in document()) {
        prop_assert_eq!(merge(&a, &diff(&a, &b)), b);
    }

    #[test]
    fn the_diff_of_equals_is_empty(a in document()) {
        prop_assert!(diff(&a, &a).is_empty());
    }

    #[test]
    fn a_diff_can_always_be_said_in_rfc_7396(a in document(), b in document()) {
        let patch = diff(&a, &b);
        let again = Patch::from_value(patch.to_value().unwrap()).unwrap();
        prop_assert_eq!(again, patch);
    }

    #[test]
    fn a_composed_patch_does_what_the_two_do(a in document(), p in patch(), q in patch()) {
        prop_assert_eq!(merge(&merge(&a, &p), &q), merge(&a, &p.compose(q)));
    }

    #[test]
    fn compose_is_associative(p in patch(), q in patch(), r in patch()) {
        let left = p.clone().compose(q.clone()).compose(r.clone());
        prop_assert_eq!(left, p.compose(q.compose(r)));
    }

    #[test]
    fn the_digest_is_equal_exactly_when_documents_are(a in document(), b in document()) {
        prop_assert_eq!(a == b, a.digest() == b.digest());
        prop_assert_eq!(a.digest(), merge(&Document::new(), &diff(&Document::new(), &a)).digest());
    }

    #[test]
    fn documents_survive_cbor_and_json(a in document()) {
        let cbor = Document::from_cbor(cbor::decode(&a.to_cbor()).unwrap()).unwrap();
        prop_assert_eq!(&cbor, &a);
        prop_assert_eq!(&Document::parse(a.to_string().as_bytes()).unwrap(), &a);
        prop_assert_eq!(cbor.to_cbor(), a.to_cbor());
    }

    #[test]
    fn patches_survive_cbor(p in patch()) {
        prop_assert_eq!(Patch::from_cbor(cbor::decode(&p.to_cbor()).unwrap()).unwrap(), p);
    }

    #[test]
    fn merging_the_delta_into_reported_satisfies_desired(d in document(), r in document()) {
        if let Some(missing) = delta(&d, &r) {
            let patch = Patch::from_value(missing.into_value()).unwrap();
            prop_assert_eq!(delta(&d, &merge(&r, &patch)), None);
        }
    }

    #[test]
    fn bytes_from_strangers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(item) = cbor::decode(&bytes) {
            let document = Document::from_cbor(item.clone());
            let patch = Patch::from_cbor(item);
            prop_assert!(document.is_err() || patch.is_ok());
        }
        prop_assert!(Document::parse(&bytes).is_err() || bytes.first() != Some(&b'['));
    }
}

#[test]
fn an_object_that_becomes_empty_is_not_an_object_that_goes() {
    let doc = |value| Document::from_value(value).unwrap();
    let (full, empty, gone) = (doc(json!({"k": {"a": 1}})), doc(json!({"k": {}})), doc(json!({})));
    assert_eq!(merge(&full, &diff(&full, &empty)), empty);
    assert_eq!(merge(&full, &diff(&full, &gone)), gone);
}
