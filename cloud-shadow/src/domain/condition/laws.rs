//! What must hold of every condition and every value.

use proptest::prelude::*;
use serde_json::{Number, Value};

use super::*;

/// Numbers of all three kinds, many of them near those that a float cannot tell apart.
fn number() -> impl Strategy<Value = Number> {
    let edges = vec![0, 1, -1, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN];
    let near = |float: f64| [float, float.next_up(), float.next_down()];
    let floats = prop_oneof![
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        (any::<i64>(), 0..3_usize).prop_map(move |(n, at)| near(rounded(n))[at]),
        (prop::sample::select(edges.clone()), 0..3_usize)
            .prop_map(move |(n, at)| near(rounded(n))[at]),
        (-4..4_i32, 0..8_u8).prop_map(|(n, eighths)| f64::from(n) + f64::from(eighths) / 8.0),
        Just(18_446_744_073_709_551_616.0),
    ];
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-4..4_i64).prop_map(Number::from),
        prop::sample::select(edges).prop_map(Number::from),
        Just(Number::from(u64::MAX)),
        floats.prop_filter_map("finite", Number::from_f64),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "the nearest one is meant")]
fn rounded(n: i64) -> f64 {
    n as f64
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{0,3}", "[a\u{e9}\u{ffff}\u{10000}\u{10ffff}]{0,3}", any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::Number),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn ordered() -> impl Strategy<Value = Value> {
    prop_oneof![number().prop_map(Value::Number), text().prop_map(Value::from)]
}

fn holds(found: Option<&Value>, relation: Relation, operand: &Value) -> bool {
    let condition = FieldCondition::new("/a".parse().unwrap(), [(relation, operand.clone())]);
    condition.unwrap().holds_for(found)
}

/// A number as all its digits: whether it is below zero, before the point, behind it.
fn digits(number: &Number) -> (bool, String, String) {
    let text = match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => format!("{float:.1100}"),
        None => number.to_string(),
    };
    let (is_negative, text) = text.strip_prefix('-').map_or((false, &*text), |rest| (true, rest));
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0').to_owned();
    let rest = rest.trim_end_matches('0').to_owned();
    (is_negative && !(whole.is_empty() && rest.is_empty()), whole, rest)
}

/// The order of numbers as one learns it at school.
fn by_digits(one: &Number, other: &Number) -> Ordering {
    let ((below, whole, rest), (other_below, other_whole, other_rest)) =
        (digits(one), digits(other));
    let size = (whole.len(), whole, rest).cmp(&(other_whole.len(), other_whole, other_rest));
    match (below, other_below) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

fn model(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => Some(by_digits(one, other)),
        (Value::String(one), Value::String(other)) => {
            let points = |text: &str| text.chars().map(u32::from).collect::<Vec<_>>();
            Some(points(one).cmp(&points(other)))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn of_two_numbers_or_texts_one_is_less_or_greater_or_neither(
        found in value(), operand in ordered(),
    ) {
        let is = |relation| holds(Some(&found), relation, &operand);
        let (less, greater) = (is(Relation::Less), is(Relation::Greater));
        let same = is(Relation::AtMost) && is(Relation::AtLeast);
        let held = [less, same, greater].into_iter().filter(|held| *held).count();
        let pair = (found.is_number() && operand.is_number())
            || (found.is_string() && operand.is_string());
        prop_assert_eq!(held, usize::from(pair));
        prop_assert_eq!(is(Relation::AtMost), less || same);
        prop_assert_eq!(is(Relation::AtLeast), greater || same);
        prop_assert!(!is(Relation::Equals) || same);
    }

    #[test]
    fn a_relation_and_its_opposite_never_hold_together_and_never_both_fail(
        found in prop::option::of(value()), operand in value(), bound in ordered(),
    ) {
        let is = |relation, operand| holds(found.as_ref(), relation, operand);
        prop_assert_ne!(is(Relation::Equals, &operand), is(Relation::Not, &operand));
        prop_assert_ne!(is(Relation::Exists, &operand), is(Relation::Absent, &operand));
        if found.as_ref().is_some_and(|found| model(found, &bound).is_some()) {
            prop_assert_ne!(is(Relation::Less, &bound), is(Relation::AtLeast, &bound));
            prop_assert_ne!(is(Relation::Greater, &bound), is(Relation::AtMost, &bound));
        }
    }

    #[test]
    fn the_order_is_that_of_all_digits_and_of_code_points(found in ordered(), operand in ordered()) {
        let model = model(&found, &operand);
        let is = |relation| holds(Some(&found), relation, &operand);
        prop_assert_eq!(is(Relation::Less), model == Some(Ordering::Less));
        prop_assert_eq!(is(Relation::Greater), model == Some(Ordering::Greater));
        prop_assert_eq!(is(Relation::AtMost), model.is_some_and(Ordering::is_le));
        prop_assert_eq!(is(Relation::AtLeast), model.is_some_and(Ordering::is_ge));
        let turned = |relation| holds(Some(&operand), relation, &found);
        prop_assert_eq!(is(Relation::Less), turned(Relation::Greater));
        prop_assert_eq!(is(Relation::AtMost), turned(Relation::AtLeast));
    }

    #[test]
    fn one_of_and_contains_are_equals_again_and_again(
        found in value(), more in prop::collection::vec(value(), 0..6), at in any::<prop::sample::Index>(),
        is_there in any::<bool>(),
    ) {
        let mut all = more;
        if is_there || all.is_empty() {
            all.insert(at.index(all.len() + 1), found.clone());
        }
        let any = all.iter().any(|one| holds(Some(&found), Relation::Equals, one));
        let array = Value::Array(all);
        prop_assert_eq!(holds(Some(&found), Relation::OneOf, &array), any);
        prop_assert_eq!(holds(Some(&array), Relation::Contains, &found), any);
        prop_assert!(!holds(None, Relation::OneOf, &array));
    }

    #[test]
    fn a_prefix_is_what_a_text_goes_on_from(one in text(), other in text(), found in value()) {
        let whole = Value::from(format!("{one}{other}"));
        prop_assert!(holds(Some(&whole), Relation::Prefix, &Value::from(one.clone())));
        let naive = found.as_str().is_some_and(|text| {
            let (mut text, mut prefix) = (text.chars(), one.chars());
            prefix.all(|c| text.next() == Some(c))
        });
        prop_assert_eq!(holds(Some(&found), Relation::Prefix, &Value::from(one)), naive);
    }
}
