//! What a device can say, and what it means.

use gnomon_schemas::document::Document;
use gnomon_schemas::version::Version;
use serde_json::json;

use super::super::times::Times;
use super::*;

fn half(version: u64, value: &Value) -> HalfView {
    let document = Document::from_value(value.clone()).unwrap();
    let version = Version(version);
    let times = Times::all(&document, Stamp { version, unix_ms: 0 });
    HalfView { version, document: document.into(), changed_ms: None, times }
}

fn of(wanted: &Value, found: &Value) -> Vec<(String, Ack)> {
    acks(&half(7, wanted), Some(&half(1, found))).into_iter().collect()
}

fn one(found: &Value) -> Ack {
    of(&json!({ "x": 5 }), &json!({ "x": found }))[0].1.clone()
}

fn pending(because: Option<&str>) -> Ack {
    Ack::Pending { because: because.map(str::to_owned) }
}

#[test]
fn a_plain_value_is_applied_or_pending() {
    assert_eq!(one(&json!(5)), Ack::Applied);
    assert_eq!(one(&json!(4)), pending(None));
    assert_eq!(acks(&half(1, &json!({ "x": 5 })), None)["/x"], pending(None));
}

#[test]
fn an_answer_says_applied_pending_or_refused_because() {
    assert_eq!(one(&json!({ "value": 5, "ac": 200, "av": 7 })), Ack::Applied);
    assert_eq!(one(&json!({ "ac": 200, "av": 7 })), Ack::Applied);
    assert_eq!(
        one(&json!({ "value": 4, "ac": 202, "av": 7, "ad": "wait" })),
        pending(Some("wait"))
    );
    let refused = |because: &str| Ack::Refused { because: because.to_owned() };
    let answer = json!({ "value": 4, "ac": 400, "av": 7, "ad": "above 4" });
    assert_eq!(one(&answer), refused("above 4"));
    assert_eq!(one(&json!({ "value": 4, "ac": 500 })), refused("code 500"));
}

#[test]
fn an_answer_to_an_earlier_version_says_nothing_of_this_one() {
    assert_eq!(one(&json!({ "value": 4, "ac": 400, "av": 6, "ad": "above 4" })), pending(None));
    assert_eq!(one(&json!({ "value": 5, "ac": 200, "av": 6 })), Ack::Applied);
}

#[test]
fn an_answer_to_an_object_speaks_for_all_in_it() {
    let wanted = json!({ "a/b": { "x": 1, "y": 2 }, "z": {} });
    let found = json!({ "a/b": { "value": { "x": 1 }, "ac": 400, "ad": "no y" }, "z": {} });
    let refused = Ack::Refused { because: "no y".to_owned() };
    let expected = [("/a~1b/x", refused.clone()), ("/a~1b/y", refused), ("/z", Ack::Applied)];
    assert_eq!(of(&wanted, &found), expected.map(|(at, ack)| (at.to_owned(), ack)));
}

#[test]
fn what_only_looks_like_an_answer_is_a_value() {
    let wanted = json!({ "x": { "ac": 1, "on": true } });
    assert!(of(&wanted, &wanted).iter().all(|(_, ack)| *ack == Ack::Applied));
    let wanted = json!({ "x": { "ac": 1 } });
    assert_eq!(of(&wanted, &wanted)[0].1, Ack::Applied);
}
