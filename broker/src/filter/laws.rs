//! Laws of the filter algebra over generated filters and names.

use proptest::prelude::*;

use super::*;

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just(""), Just("$s"), Just("é")]
}

pub(crate) fn name() -> impl Strategy<Value = TopicName> {
    prop::collection::vec(level(), 1..5)
        .prop_filter_map("a name is not empty", |levels| levels.join("/").parse().ok())
}

pub(crate) fn filter() -> impl Strategy<Value = TopicFilter> {
    let part = prop_oneof![3 => level().boxed(), 2 => Just("+").boxed()];
    (prop::collection::vec(part, 0..4), any::<bool>()).prop_filter_map(
        "valid",
        |(mut parts, rest)| {
            if rest {
                parts.push("#");
            }
            parts.join("/").parse().ok()
        },
    )
}

/// The definition of matching, written over split vectors.
fn matches_by_definition(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => matches_by_definition(filter, name),
        ([a, filter @ ..], [b, name @ ..]) => a == b && matches_by_definition(filter, name),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn matching_follows_its_definition(filter in filter(), name in name()) {
        let parts: Vec<_> = filter.as_str().split('/').collect();
        let names: Vec<_> = name.as_str().split('/').collect();
        let hidden = name.is_reserved() && matches!(parts[0], "+" | "#");
        prop_assert_eq!(filter.matches(&name), !hidden && matches_by_definition(&parts, &names));
    }

    #[test]
    fn what_is_included_matches_nothing_outside(outer in filter(), inner in filter(), name in name()) {
        if outer.includes(&inner) && inner.matches(&name) {
            prop_assert!(outer.matches(&name), "{outer} includes {inner} but misses {name}");
        }
    }

    #[test]
    fn what_is_not_included_has_a_witness_outside(outer in filter(), inner in filter()) {
        // `/#` would match the empty name, which no message has: inclusion is cautious there.
        if inner.as_str() != "/#" && !outer.includes(&inner) {
            let found = witnesses(&inner)
                .into_iter()
                .any(|name| inner.matches(&name) && !outer.matches(&name));
            prop_assert!(found, "{outer} should include {inner}");
        }
    }

    #[test]
    fn inclusion_is_reflexive_and_transitive(a in filter(), b in filter(), c in filter()) {
        prop_assert!(a.includes(&a));
        if a.includes(&b) && b.includes(&c) {
            prop_assert!(a.includes(&c));
        }
    }

    #[test]
    fn no_leading_wildcard_reaches_a_reserved_name(filter in filter(), name in name()) {
        if name.is_reserved() && !filter.as_str().starts_with('$') {
            prop_assert!(!filter.matches(&name));
        }
    }
}

/// Names that a filter matches, with a level that no generated filter spells out.
fn witnesses(filter: &TopicFilter) -> Vec<TopicName> {
    let base: Vec<&str> =
        filter.as_str().split('/').map(|l| if l == "+" { "other" } else { l }).collect();
    let (last, head) = base.split_last().unwrap();
    let texts = if *last == "#" {
        let deep = [head, &["other"; 6]].concat().join("/");
        let one = [head, &["other"]].concat().join("/");
        vec![head.join("/"), one, deep]
    } else {
        vec![base.join("/")]
    };
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}
