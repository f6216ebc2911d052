//! The index against a plain list of filters.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::filter::laws;

fn options(qos: Qos) -> SubscriptionOptions {
    SubscriptionOptions { qos, no_local: false, retain_as_published: false, id: None }
}

fn sessions(index: &Index, name: &str) -> Vec<u64> {
    let found = index.matches(&name.parse().unwrap(), None);
    found.into_iter().map(|m| m.key.get()).collect()
}

#[test]
fn overlapping_filters_deliver_once_with_the_best_qos() {
    let mut index = Index::default();
    index.insert(&"a/b".parse().unwrap(), SessionId(1), options(Qos::AtMostOnce));
    index.insert(&"a/+".parse().unwrap(), SessionId(1), options(Qos::AtLeastOnce));
    index.insert(&"#".parse().unwrap(), SessionId(1), options(Qos::AtMostOnce));
    let found = index.matches(&"a/b".parse().unwrap(), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].qos, Qos::AtLeastOnce);
}

#[test]
fn a_session_that_wants_no_echo_is_excluded_from_its_own() {
    let mut index = Index::default();
    let no_local = SubscriptionOptions { no_local: true, ..options(Qos::AtMostOnce) };
    index.insert(&"a".parse().unwrap(), SessionId(1), no_local);
    let from = |origin| index.matches(&"a".parse().unwrap(), origin).len();
    assert_eq!(from(Some(SessionId(1))), 0);
    assert_eq!(from(Some(SessionId(2))), 1);
    assert_eq!(from(None), 1);
}

#[test]
fn the_identifiers_of_all_matching_filters_are_collected() {
    let mut index = Index::default();
    for (filter, id) in [("a/b", 1), ("a/+", 2), ("c", 3)] {
        let options = SubscriptionOptions { id: NonZeroU32::new(id), ..options(Qos::AtMostOnce) };
        index.insert(&filter.parse().unwrap(), SessionId(1), options);
    }
    let mut found = index.matches(&"a/b".parse().unwrap(), None);
    found[0].ids.sort_unstable();
    assert_eq!(found[0].ids, [NonZeroU32::new(1).unwrap(), NonZeroU32::new(2).unwrap()]);
}

#[test]
fn one_unsubscribes_and_the_others_stay() {
    let mut index = Index::default();
    for session in 1..=3 {
        index.insert(&"a/+/c".parse().unwrap(), SessionId(session), options(Qos::AtMostOnce));
    }
    index.remove(&"a/+/c".parse().unwrap(), SessionId(2));
    index.remove(&"a/+/x".parse().unwrap(), SessionId(1));
    assert_eq!(sessions(&index, "a/b/c"), [1, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_index_agrees_with_a_list_of_filters(
        steps in prop::collection::vec((laws::filter(), 0..4_u64, any::<bool>()), 0..40),
        names in prop::collection::vec(laws::name(), 1..8),
    ) {
        let mut index = Index::default();
        let mut model = BTreeSet::new();
        for (filter, session, add) in steps {
            let session = SessionId(session);
            if add {
                index.insert(&filter, session, options(Qos::AtMostOnce));
                model.insert((session, filter));
            } else {
                index.remove(&filter, session);
                model.remove(&(session, filter));
            }
        }
        for name in names {
            let mut expected: Vec<_> =
                model.iter().filter(|(_, f)| f.matches(&name)).map(|(s, _)| *s).collect();
            expected.dedup();
            let found: Vec<_> = index.matches(&name, None).iter().map(|m| m.key).collect();
            prop_assert_eq!(found, expected);
        }
        for (session, filter) in model {
            index.remove(&filter, session);
        }
        prop_assert!(index.is_empty());
    }
}
