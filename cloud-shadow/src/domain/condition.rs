//! What must stand at a place of a document: the conditions of writes and of searches. What an app's
//! secrets hold is for them what readers see of it, so that nobody finds it out by asking.

use std::cmp::Ordering;

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use serde_json::{Number, Value};

use super::pointer::{Found, Pointer};
use super::secrets;

#[cfg(test)]
mod laws;

/// The most values of [`Relation::OneOf`].
pub const ONE_OF: usize = 32;

/// How what stands there has to be to the value that a condition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It is this value; `1` and `1.0` are different ones.
    Equals,
    /// It is not this value; also where nothing stands.
    Not,
    /// Something stands there.
    Exists,
    /// Nothing stands there.
    Absent,
    /// It is a number or a text that comes before this one.
    Less,
    /// It is a number or a text that does not come after this one.
    AtMost,
    /// It is a number or a text that comes after this one.
    Greater,
    /// It is a number or a text that does not come before this one.
    AtLeast,
    /// It is one of these values.
    OneOf,
    /// It is a text that begins with this one.
    Prefix,
    /// It is an array that has this value.
    Contains,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Equals,
        Self::Not,
        Self::Exists,
        Self::Absent,
        Self::Less,
        Self::AtMost,
        Self::Greater,
        Self::AtLeast,
        Self::OneOf,
        Self::Prefix,
        Self::Contains,
    ];

    /// What it is called in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::Not => "not",
            Self::Exists => "exists",
            Self::Absent => "absent",
            Self::Less => "less",
            Self::AtMost => "at_most",
            Self::Greater => "greater",
            Self::AtLeast => "at_least",
            Self::OneOf => "one_of",
            Self::Prefix => "prefix",
            Self::Contains => "contains",
        }
    }

    /// What in it makes no sense with this value.
    fn check(self, operand: &Value) -> Result<(), BadCondition> {
        match self {
            Self::Equals | Self::Not | Self::Contains | Self::Exists | Self::Absent => Ok(()),
            Self::Less | Self::AtMost | Self::Greater | Self::AtLeast => {
                let has_order = operand.is_number() || operand.is_string();
                if has_order { Ok(()) } else { Err(BadCondition::NoOrder(self.name())) }
            }
            Self::Prefix if operand.is_string() => Ok(()),
            Self::Prefix => Err(BadCondition::NoText),
            Self::OneOf => match operand.as_array().map(Vec::len) {
                Some(1..=ONE_OF) => Ok(()),
                Some(_) | None => Err(BadCondition::NoChoice),
            },
        }
    }
}

/// Why a condition says nothing that could hold or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    /// It has a place, and does not say how that has to be.
    #[error(
        "it needs exactly one of `equals`, `not`, `exists`, `absent`, `less`, `at_most`, \
         `greater`, `at_least`, `one_of`, `prefix` and `contains`, and has none"
    )]
    Nothing,
    /// It says more than one thing.
    #[error("it has `{0}` and `{1}`; send a condition for each, on the same pointer")]
    Several(&'static str, &'static str),
    /// The value has no order.
    #[error("`{0}` compares with a number or a text")]
    NoOrder(&'static str),
    /// What a text should begin with is none.
    #[error("`prefix` is a text")]
    NoText,
    /// There is nothing to choose from, or too much.
    #[error("`one_of` is an array of 1 to {ONE_OF} values")]
    NoChoice,
}

/// What must stand at a place for a write to be accepted, or for a shadow to be found.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldCondition {
    /// The place.
    pointer: Pointer,
    relation: Relation,
    operand: Value,
}

impl FieldCondition {
    /// A condition on a place, of what a request says about it.
    pub fn new(
        pointer: Pointer,
        given: impl IntoIterator<Item = (Relation, Value)>,
    ) -> Result<Self, BadCondition> {
        let mut given = given.into_iter();
        let (relation, operand) = given.next().ok_or(BadCondition::Nothing)?;
        if let Some((other, _)) = given.next() {
            return Err(BadCondition::Several(relation.name(), other.name()));
        }
        relation.check(&operand)?;
        Ok(Self { pointer, relation, operand })
    }

    /// The place.
    pub const fn pointer(&self) -> &Pointer {
        &self.pointer
    }

    /// What has to be there.
    pub const fn relation(&self) -> Relation {
        self.relation
    }

    /// Whether it holds for the document of a shadow, or for there being none.
    pub fn holds(&self, key: &ShadowKey, document: Option<&Packed>) -> bool {
        let Some(document) = document else { return self.holds_for(None) };
        if key.app().is_none() || !secrets::is_near(&self.pointer) {
            return self.holds_for(document.find(self.pointer.steps()).as_ref());
        }
        let whole = document.unpack();
        let shown = secrets::hide(whole.as_object());
        match self.pointer.find(&shown) {
            None => self.holds_for(None),
            Some(Found::Value(value)) => self.holds_for(Some(value)),
            Some(Found::Root(object)) => self.holds_for(Some(&Value::Object(object.clone()))),
        }
    }

    /// Whether it holds for what stands there.
    fn holds_for(&self, found: Option<&Value>) -> bool {
        let operand = &self.operand;
        let ordered = |wanted: fn(Ordering) -> bool| {
            found.and_then(|found| order(found, operand)).is_some_and(wanted)
        };
        match self.relation {
            Relation::Equals => found == Some(operand),
            Relation::Not => found != Some(operand),
            Relation::Exists => found.is_some(),
            Relation::Absent => found.is_none(),
            Relation::Less => ordered(Ordering::is_lt),
            Relation::AtMost => ordered(Ordering::is_le),
            Relation::Greater => ordered(Ordering::is_gt),
            Relation::AtLeast => ordered(Ordering::is_ge),
            Relation::OneOf => {
                let choice = operand.as_array().map(Vec::as_slice).unwrap_or_default();
                found.is_some_and(|found| choice.contains(found))
            }
            Relation::Prefix => {
                let texts = found.and_then(Value::as_str).zip(operand.as_str());
                texts.is_some_and(|(text, prefix)| text.starts_with(prefix))
            }
            Relation::Contains => {
                let items = found.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                items.contains(operand)
            }
        }
    }
}

/// The order of two numbers, or of two texts by code points; others have none.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => numbers(one, other),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// The order of two numbers by what they are worth, without rounding either.
fn numbers(one: &Number, other: &Number) -> Option<Ordering> {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (Some(one), None) => other.as_f64().map(|other| against(one, other)),
        (None, Some(other)) => one.as_f64().map(|one| against(other, one).reverse()),
        (None, None) => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// The order of a whole number of at most 64 bits and a number with a fraction.
fn against(whole: i128, float: f64) -> Ordering {
    let floor = float.floor();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction, and what is too large becomes more than any whole number here"
    )]
    let below = floor as i128;
    whole.cmp(&below).then(if float > floor { Ordering::Less } else { Ordering::Equal })
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::document::Document;
    use serde_json::json;

    use super::*;

    fn condition(pointer: &str, relation: Relation, operand: Value) -> FieldCondition {
        FieldCondition::new(pointer.parse().unwrap(), [(relation, operand)]).unwrap()
    }

    fn holds(document: &Value, pointer: &str, relation: Relation, operand: Value) -> bool {
        let document = Packed::from(Document::from_value(document.clone()).unwrap());
        let key = "device/pump-7".parse().unwrap();
        condition(pointer, relation, operand).holds(&key, Some(&document))
    }

    #[test]
    fn every_relation_means_what_it_says() {
        use Relation::{
            Absent, AtLeast, AtMost, Contains, Equals, Exists, Greater, Less, Not, OneOf, Prefix,
        };
        let pump = json!({ "n": 4, "half": 0.5, "name": "north-7", "tags": ["a", 1], "on": true });
        let yes = Value::Bool(true);
        for (pointer, relation, operand, expected) in [
            ("/n", Equals, json!(4), true),
            ("/n", Equals, json!(4.0), false),
            ("/n", Not, json!(5), true),
            ("/nothing", Not, json!(5), true),
            ("/n", Exists, yes.clone(), true),
            ("/nothing", Exists, yes.clone(), false),
            ("/nothing", Absent, yes, true),
            ("/n", Less, json!(4.5), true),
            ("/n", Less, json!(4), false),
            ("/n", AtMost, json!(4.0), true),
            ("/half", Greater, json!(0), true),
            ("/half", Greater, json!(1), false),
            ("/half", AtLeast, json!(0.5), true),
            ("/nothing", Less, json!(1), false),
            ("/on", AtLeast, json!(0), false),
            ("/name", Greater, json!("north-10"), true),
            ("/name", Less, json!(5), false),
            ("/n", OneOf, json!([3, 4]), true),
            ("/n", OneOf, json!([3, "4"]), false),
            ("/name", Prefix, json!("north-"), true),
            ("/name", Prefix, json!("south-"), false),
            ("/n", Prefix, json!(""), false),
            ("/tags", Contains, json!("a"), true),
            ("/tags", Contains, json!("1"), false),
            ("/name", Contains, json!("n"), false),
        ] {
            let said = format!("{pointer} {} {operand}", relation.name());
            assert_eq!(holds(&pump, pointer, relation, operand), expected, "{said}");
        }
    }

    #[test]
    fn numbers_that_a_float_cannot_tell_apart_are_told_apart() {
        let at_the_edge =
            json!({ "n": 9_007_199_254_740_993_u64, "top": u64::MAX, "low": i64::MIN });
        let two_to_53 = json!(9_007_199_254_740_992.0);
        assert!(holds(&at_the_edge, "/n", Relation::Greater, two_to_53.clone()));
        assert!(!holds(&at_the_edge, "/n", Relation::AtMost, two_to_53));
        assert!(holds(&at_the_edge, "/top", Relation::Less, json!(18_446_744_073_709_551_616.0)));
        assert!(holds(&at_the_edge, "/top", Relation::Less, json!(1e300)));
        assert!(holds(&at_the_edge, "/low", Relation::Greater, json!(-1e300)));
        assert!(holds(
            &at_the_edge,
            "/low",
            Relation::AtLeast,
            json!(-9_223_372_036_854_775_808.0)
        ));
        assert!(holds(&at_the_edge, "/low", Relation::Less, json!(u64::MAX)));
    }

    #[test]
    fn a_condition_that_says_nothing_is_refused_by_name() {
        let new = |given: Vec<(Relation, Value)>| {
            FieldCondition::new("/a".parse().unwrap(), given).map(drop).unwrap_err()
        };
        assert_eq!(new(vec![]), BadCondition::Nothing);
        let range = vec![(Relation::AtLeast, json!(1)), (Relation::Less, json!(5))];
        assert_eq!(new(range), BadCondition::Several("at_least", "less"));
        for operand in [json!(null), json!(true), json!([1]), json!({})] {
            assert_eq!(new(vec![(Relation::Less, operand)]), BadCondition::NoOrder("less"));
        }
        assert_eq!(new(vec![(Relation::Prefix, json!(1))]), BadCondition::NoText);
        for operand in [json!(1), json!([]), json!(vec![0; ONE_OF + 1])] {
            assert_eq!(new(vec![(Relation::OneOf, operand)]), BadCondition::NoChoice);
        }
        let nothing = BadCondition::Nothing.to_string();
        assert!(Relation::ALL.iter().all(|relation| nothing.contains(relation.name())));
    }

    #[test]
    fn a_secret_is_what_is_shown_of_it() {
        let app = json!({ "secrets": { "key": { "content": "hunter2" } } });
        let document = Packed::from(Document::from_value(app.clone()).unwrap());
        let (secret, key) = ("/secrets/key/content", "app/web".parse().unwrap());
        let holds = |pointer: &str, relation, operand| {
            condition(pointer, relation, operand).holds(&key, Some(&document))
        };
        assert!(!holds(secret, Relation::Equals, json!("hunter2")));
        assert!(!holds(secret, Relation::Prefix, json!("h")));
        assert!(!holds(secret, Relation::Greater, json!("g")));
        assert!(!holds("/secrets", Relation::Equals, app["secrets"].clone()));
        assert!(holds(secret, Relation::Not, json!("hunter2")));
        assert!(holds(secret, Relation::Equals, json!(secrets::HIDDEN)));
        let shown = json!({ "secrets": { "key": { "content": secrets::HIDDEN } } });
        assert!(holds("", Relation::Equals, shown));
        assert!(holds(secret, Relation::Exists, json!(true)));
        let other = "device/web".parse().unwrap();
        let equals = condition(secret, Relation::Equals, json!("hunter2"));
        assert!(equals.holds(&other, Some(&document)), "only apps have secrets");
    }
}
