//! What AWS does, as scenarios: requests in, documents and messages out.

use std::collections::BTreeMap;

use gnomon_schemas::topic::{Operation, ShadowId, ThingTopic};
use serde_json::{Value, json};

use super::*;
use crate::domain::Author;
use crate::rows::CertificateRecord;
use crate::store::Op;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub(super) struct Bench {
    pub(super) rows: Rows,
    pub(super) now: u64,
    pub(super) limits: Limits,
}

impl Bench {
    /// One round for one order: read, decide, write.
    pub(super) fn order(&mut self, order: &Order) -> Done {
        let get = |key: &[u8]| Ok::<_, ReadThingError>(self.rows.get(key).cloned());
        let scan = |prefix: &[u8]| {
            let below = self.rows.iter().filter(|(key, _)| key.starts_with(prefix));
            Ok(below.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        let mut things = Things::read(&Needs::of([order]), get, scan).unwrap();
        let done = things.handle(order, self.now * 1000, self.limits);
        for op in &done.ops {
            match op {
                Op::Put { key, value } => drop(self.rows.insert(key.clone(), value.clone())),
                Op::Delete { key } => drop(self.rows.remove(key)),
                Op::DeletePrefix { prefix } => self.rows.retain(|key, _| !key.starts_with(prefix)),
                Op::Trim { prefix, keep } => {
                    let keys = self.rows.keys().filter(|key| key.starts_with(prefix));
                    let gone: Vec<_> = keys.rev().skip(*keep).cloned().collect();
                    for key in gone {
                        self.rows.remove(&key);
                    }
                }
            }
        }
        done
    }

    /// What is published, as (last levels of the topic, document).
    fn ask(&mut self, id: &str, operation: Operation, body: &Value) -> Vec<(String, Value)> {
        let id = id_of(id);
        let request = Request::read(operation, body.to_string().as_bytes());
        let done = self.order(&Order::Shadow(id, request.unwrap(), Origin::Mqtt));
        let said = done.effects.into_iter().map(|effect| match effect {
            Effect::Publish(topic, body) => {
                (end_of(&topic), serde_json::from_slice(&body).unwrap())
            }
            Effect::Admit(..) => panic!("{effect:?}"),
        });
        said.collect()
    }

    fn update(&mut self, body: &Value) -> Vec<(String, Value)> {
        self.ask("t", Operation::Update, body)
    }

    fn get(&mut self) -> Value {
        self.ask("t", Operation::Get, &json!({})).remove(0).1
    }
}

fn admin() -> Author {
    Author::new("admin")
}

fn id_of(text: &str) -> ShadowId {
    let (thing, shadow) = text.split_once('~').map_or((text, None), |(t, s)| (t, Some(s)));
    ShadowId { thing: thing.parse().unwrap(), shadow: shadow.map(|s| s.parse().unwrap()) }
}

fn end_of(topic: &ThingTopic) -> String {
    let text = topic.to_string();
    let levels: Vec<_> = text.rsplit('/').take(2).collect();
    format!("{}/{}", levels[1], levels[0])
}

fn names(said: &[(String, Value)]) -> Vec<&str> {
    said.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn an_update_is_told_as_delta_documents_accepted() {
    let mut bench = Bench { now: 100, ..Bench::default() };
    let said = bench.update(&json!({
        "state": {"desired": {"led": {"on": true}}, "reported": {"n": 1}}, "clientToken": "c-1",
    }));
    let times = json!({"led": {"on": {"timestamp": 100}}});
    assert_eq!(
        said,
        [
            (
                "update/delta".to_owned(),
                json!({"version": 1, "timestamp": 100, "state": {"led": {"on": true}},
                       "metadata": times, "clientToken": "c-1"})
            ),
            (
                "update/documents".to_owned(),
                json!({"current": {
                           "state": {"desired": {"led": {"on": true}}, "reported": {"n": 1}},
                           "metadata": {"desired": times, "reported": {"n": {"timestamp": 100}}},
                           "version": 1},
                       "timestamp": 100, "clientToken": "c-1"})
            ),
            (
                "update/accepted".to_owned(),
                json!({"state": {"desired": {"led": {"on": true}}, "reported": {"n": 1}},
                       "metadata": {"desired": times, "reported": {"n": {"timestamp": 100}}},
                       "version": 1, "timestamp": 100, "clientToken": "c-1"})
            ),
        ]
    );
    bench.now = 101;
    let said = bench.update(&json!({"state": {"reported": {"led": {"on": true}}}}));
    assert_eq!(names(&said), ["update/documents", "update/accepted"], "no delta, no message");
    assert_eq!(said[0].1["previous"]["version"], 1);
    assert_eq!(said[0].1["current"]["version"], 2);
    let found = bench.get();
    assert_eq!(found["metadata"]["desired"], times, "what was not named keeps its time");
    assert!(found["state"].get("delta").is_none());
}

#[test]
fn a_document_is_merged_as_aws_merges() {
    let cases = [
        (json!({"a": 1}), json!({"a": null}), json!(null)),
        (json!({"a": 1}), json!({}), json!({"a": 1})),
        (json!({"a": 1}), json!({"b": null}), json!({"a": 1})),
        (json!({"a": {"b": 1}}), json!({"a": {}}), json!({"a": {"b": 1}})),
        (json!({"a": {"b": 1}}), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"a": 1}), json!({"a": {}}), json!({"a": {}})),
        (json!({"a": 1}), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"a": 1}), json!({"c": {"b": null}}), json!({"a": 1})),
        (json!({"a": 1}), json!({"c": {"b": null, "d": {}}}), json!({"a": 1, "c": {"d": {}}})),
        (json!({"a": [1, {"x": 1}]}), json!({"a": [{"y": 2}]}), json!({"a": [{"y": 2}]})),
        (json!({"a": {"b": 1}}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"state": 1}), json!({"timestamp": 0}), json!({"state": 1, "timestamp": 0})),
    ];
    for (before, patch, after) in cases {
        let mut bench = Bench::default();
        bench.update(&json!({"state": {"desired": before}}));
        bench.update(&json!({"state": {"desired": patch}}));
        let found = bench.get();
        assert_eq!(found["state"]["desired"], after, "{before} and {patch}");
        assert_eq!(found["version"], 2);
    }
}

#[test]
fn the_delta_is_what_is_desired_and_not_reported() {
    let cases = [
        (json!({"a": 1}), json!({"a": 1.0}), json!(null)),
        (json!({"a": 1}), json!({"a": "1"}), json!({"a": 1})),
        (json!({"a": 1}), json!({"a": true}), json!({"a": 1})),
        (json!({"a": 1}), json!({"b": 1}), json!({"a": 1})),
        (json!({"a": {}}), json!({"b": 1}), json!({"a": {}})),
        (json!({"a": {}}), json!({"a": {"b": 1}}), json!(null)),
        (json!({"a": [1, 2]}), json!({"a": [2, 1]}), json!({"a": [1, 2]})),
        (
            json!({"a": {"x": 1, "y": {"z": 2}}}),
            json!({"a": {"x": 1}}),
            json!({"a": {"y": {"z": 2}}}),
        ),
    ];
    for (desired, reported, delta) in cases {
        let mut bench = Bench::default();
        bench.update(&json!({"state": {"desired": desired, "reported": reported}}));
        assert_eq!(bench.get()["state"]["delta"], delta, "{desired} and {reported}");
    }
}

#[test]
fn null_clears_and_is_shown_as_it_was_sent() {
    let mut bench = Bench { now: 7, ..Bench::default() };
    bench.update(&json!({"state": {"desired": {"a": 1}, "reported": {"b": 1}}}));
    let said = bench.update(&json!({"state": {"desired": null}}));
    assert_eq!(said[1].1["state"], json!({"desired": null}));
    assert_eq!(said[1].1["metadata"], json!({"desired": {"timestamp": 7}}));
    assert_eq!(bench.get()["state"], json!({"reported": {"b": 1}}));
    let said = bench.update(&json!({"state": null}));
    let cleared = (&said[1].1["state"], &said[1].1["metadata"]);
    assert_eq!(cleared, (&json!(null), &json!({"timestamp": 7})));
    let empty = json!({"state": {}, "metadata": {}, "version": 3, "timestamp": 7});
    assert_eq!(bench.get(), empty);
}

#[test]
fn a_version_that_is_not_the_current_one_changes_nothing() {
    let mut bench = Bench::default();
    let ask = |version| json!({"state": {"desired": {"a": version}}, "version": version});
    let conflict = json!({"code": 409, "message": "Version conflict", "timestamp": 0});
    for version in [0, 1] {
        let said = bench.update(&ask(version));
        assert_eq!(said, [("update/rejected".to_owned(), conflict.clone())], "there is none");
    }
    bench.update(&json!({"state": {}}));
    for version in [0, 2] {
        assert_eq!(bench.update(&ask(version))[0].1, conflict);
    }
    assert_eq!(bench.update(&ask(1)).last().unwrap().1["version"], 2);
}

#[test]
fn a_deleted_shadow_goes_on_for_48_hours_and_alone() {
    let mut bench = Bench::default();
    bench.update(&json!({"state": {"desired": {"a": 1}}}));
    bench.ask("t~n", Operation::Update, &json!({"state": {"desired": {"a": 1}}}));
    let said = bench.ask("t", Operation::Delete, &json!({"clientToken": "x"}));
    let gone = json!({"version": 1, "timestamp": 0, "clientToken": "x"});
    assert_eq!(said, [("delete/accepted".to_owned(), gone)]);
    for operation in [Operation::Get, Operation::Delete] {
        let (name, body) = bench.ask("t", operation, &json!({})).remove(0);
        assert_eq!(name, format!("{}/rejected", operation.as_str()));
        assert_eq!(
            (&body["code"], &body["message"]),
            (&json!(404), &json!("No shadow exists with name: 't'"))
        );
    }
    let other = bench.ask("t~n", Operation::Get, &json!({})).remove(0).1;
    assert_eq!(other["version"], 1);
    let missing = bench.ask("t~m", Operation::Get, &json!({})).remove(0).1;
    assert_eq!(missing["message"], "No shadow exists with name: 't~m'");
    bench.now = Grave::KEPT_S - 1;
    bench.order(&Order::Forget(id_of("t")));
    let again = bench.update(&json!({"state": {}}));
    assert_eq!(again.last().unwrap().1["version"], 2);
    assert!(again[0].1.get("previous").is_none());
    bench.ask("t", Operation::Delete, &json!({}));
    bench.now += Grave::KEPT_S;
    bench.order(&Order::Forget(id_of("t")));
    assert_eq!(
        bench.rows.len(),
        3,
        "the other shadow, its version and the count: {:?}",
        bench.rows
    );
    assert_eq!(bench.update(&json!({"state": {}})).last().unwrap().1["version"], 1);
}

#[test]
fn what_is_not_acceptable_is_refused_in_the_words_of_aws() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "x": inner }));
    let of = |value: Value| value.to_string().into_bytes();
    let cases: [(Vec<u8>, u16, &str); 17] = [
        (b"".to_vec(), 400, "Payload contains invalid json"),
        (b"{".to_vec(), 400, "Payload contains invalid json"),
        (b"[]".to_vec(), 400, "Payload contains invalid json"),
        (b"{\"state\":{},\"state\":{}}".to_vec(), 400, "Payload contains invalid json"),
        (b"\"\xff\"".to_vec(), 415, "Unsupported documented encoding; supported encoding is UTF-8"),
        (b"{}".to_vec(), 400, "Missing required node: state"),
        (of(json!({"state": 1})), 400, "State node must be an object"),
        (of(json!({"state": {"desired": []}})), 400, "Desired node must be an object"),
        (of(json!({"state": {"reported": "x"}})), 400, "Reported node must be an object"),
        (of(json!({"state": {"delta": {}}})), 400, "State contains an invalid node"),
        (of(json!({"state": {"desired": {"a": [null]}}})), 400, "State contains an invalid node"),
        (of(json!({"state": {}, "version": -1})), 400, "Invalid version"),
        (of(json!({"state": {}, "version": "1"})), 400, "Invalid version"),
        (of(json!({"state": {}, "clientToken": 1})), 400, "Invalid clientToken"),
        (of(json!({"state": {}, "clientToken": "é".repeat(33)})), 400, "Invalid clientToken"),
        (
            of(json!({"state": {"desired": deep(8)}})),
            400,
            "JSON contains too many levels of nesting; maximum is 6",
        ),
        (vec![b' '; 200_000], 413, "The payload exceeds the maximum size allowed"),
    ];
    for (payload, code, message) in cases {
        let refused = Request::read(Operation::Update, &payload).unwrap_err().rejected;
        assert_eq!((refused.code(), refused.to_string().as_str()), (code, message));
    }
    let refused = Request::read(Operation::Update, b"{\"clientToken\":\"c\"}").unwrap_err();
    assert_eq!(refused.token.as_deref(), Some("c"), "a refusal can be told apart, too");
    assert!(Request::read(Operation::Update, &of(json!({"state": {"desired": deep(7)}}))).is_ok());
    let token = json!({"state": {}, "clientToken": "c".repeat(64)});
    assert!(Request::read(Operation::Update, &of(token)).is_ok());
    assert!(Request::read(Operation::Get, b"").is_ok());
    assert!(Request::read(Operation::Get, b"x").is_err());
    assert!(Request::read(Operation::Delete, b"x").is_ok(), "AWS ignores what a delete says");
}

#[test]
fn the_size_is_that_of_the_result_and_what_is_too_large_may_shrink() {
    let limits = Limits { document_bytes: 20, ..Limits::default() };
    let mut bench = Bench { limits, ..Bench::default() };
    bench.update(&json!({"state": {"desired": {"a": "12345"}}}));
    let said = bench.update(&json!({"state": {"reported": {"b": "12345"}}}));
    assert_eq!(said[0].1["code"], 413);
    bench.limits.document_bytes = 5;
    assert_eq!(names(&bench.update(&json!({"state": {"desired": {"a": "1"}}}))).len(), 3);
}

#[test]
fn a_thing_has_a_bounded_number_of_shadows() {
    let limits = Limits { shadows_per_thing: 2, ..Limits::default() };
    let mut bench = Bench { limits, ..Bench::default() };
    let state = json!({"state": {}});
    for id in ["t", "t~a"] {
        assert_eq!(names(&bench.ask(id, Operation::Update, &state)).len(), 2);
    }
    bench.ask("t~a", Operation::Delete, &json!({}));
    assert_eq!(bench.ask("t~b", Operation::Update, &state)[0].1["code"], 429);
    assert_eq!(names(&bench.ask("t~a", Operation::Update, &state)).len(), 2, "it is there again");
}

#[test]
fn rest_hears_its_refusals_alone_and_its_updates_are_told_to_all() {
    let mut bench = Bench::default();
    let mut rest = |operation, body: &[u8]| {
        let request = Request::read(operation, body).unwrap();
        bench.order(&Order::Shadow(id_of("t"), request, Origin::Rest(admin())))
    };
    let missing = rest(Operation::Get, b"");
    assert_eq!(missing.effects, []);
    assert_eq!(missing.answer, Err(Rejected::NoShadow(id_of("t"))));
    assert_eq!(rest(Operation::Update, b"{\"state\":{\"desired\":{\"a\":1}}}").effects.len(), 3);
    assert_eq!(rest(Operation::Get, b"").effects, []);
    assert_eq!(rest(Operation::Delete, b"").effects.len(), 1);
}

#[test]
fn certificates_come_and_go_and_run_out() {
    let mut bench = Bench { now: 10, ..Bench::default() };
    let certify = |n: u64| {
        let certificate =
            CertificateRecord { serial: format!("{n:x}"), not_after_s: 10 + n, replaces: None };
        Order::Certify("t".parse().unwrap(), certificate, Claim { by: admin(), tenant: None })
    };
    for n in 1..=8 {
        assert!(bench.order(&certify(n)).answer.is_ok());
    }
    assert_eq!(bench.order(&certify(9)).answer, Err(Rejected::TooManyCertificates));
    bench.now = 16;
    let Effect::Admit(_, serials) = bench.order(&certify(9)).effects.remove(0) else { panic!() };
    assert_eq!(serials, ["7", "8", "9"]);
    let revoke = Order::Revoke("t".parse().unwrap(), "8".to_owned(), admin());
    let done = bench.order(&revoke);
    assert_eq!(done.effects, [Effect::Admit("t".parse().unwrap(), vec!["7".into(), "9".into()])]);
    assert_eq!(bench.order(&revoke).answer, Err(Rejected::NoCertificate));
}

#[test]
fn a_restored_shadow_is_ahead_of_what_clients_have_seen() {
    let mut bench = Bench::default();
    bench.update(&json!({"state": {"desired": {"a": 1}}}));
    let rows = std::mem::take(&mut bench.rows);
    bench.rows = rows.into_iter().map(|(key, value)| (key.clone(), lifted(&key, value))).collect();
    let found = bench.get();
    assert_eq!(
        (&found["version"], &found["state"]["desired"]),
        (&json!(1_000_001), &json!({"a": 1}))
    );
}
