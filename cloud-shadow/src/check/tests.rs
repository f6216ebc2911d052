//! What is wrong is found and said.

use gnomon_schemas::document::Document;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::domain::{Action, Author, Change, Command, Effect, Now, Precondition, Write};
use crate::store::{MemoryStore, Op};

/// A store with a node that has a shadow of three versions.
fn store() -> MemoryStore {
    let store = MemoryStore::new();
    check_schema(&store).unwrap();
    let mut domain = Domain::new(DomainConfig::default(), StdRng::seed_from_u64(1));
    let put = |n: u32| {
        Action::Write(Write {
            key: "device/a".parse().unwrap(),
            change: Change::Put(Document::parse(format!("{{\"n\":{n}}}").as_bytes()).unwrap()),
            when: Precondition::Any,
            fields: Vec::new(),
        })
    };
    for action in [Action::put_node(), put(1), put(2), put(3)] {
        let (node, by) = ("site-1".parse().unwrap(), Author::new("admin"));
        let done = domain.handle(Command { node, action, by }, Now::default()).unwrap();
        for effect in done.effects {
            if let Effect::Persist(ops) = effect {
                store.commit(&ops).unwrap();
            }
        }
    }
    store
}

fn checked(store: &MemoryStore) -> Result<CheckReport, CheckError> {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    check_store(&store)
}

#[test]
fn a_good_store_is_counted() {
    let report = checked(&store()).unwrap();
    let (schema, problems) = (crate::store::SCHEMA_VERSION, Vec::new());
    let expected = CheckReport {
        schema,
        nodes: 1,
        shadows: 1,
        versions: 3,
        sessions: 0,
        things: 0,
        thing_shadows: 0,
        thing_versions: 0,
        thing_certificates: 0,
        problems,
    };
    assert_eq!(report, expected);
}

#[test]
fn a_version_that_is_missing_or_unreadable_is_named() {
    let store = store();
    let rows = store.scan(history::PAST).unwrap();
    store.commit(&[Op::Delete { key: rows[1].0.clone() }]).unwrap();
    let report = checked(&store).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].contains("device/a at site-1"), "{report:?}");
    store.commit(&[Op::Put { key: rows[1].0.clone(), value: vec![1; 20] }]).unwrap();
    assert_eq!(checked(&store).unwrap().problems.len(), 1);
}

#[test]
fn history_of_nobody_is_named() {
    let store = store();
    let (key, value) = store.scan(history::PAST).unwrap().remove(0);
    let key = String::from_utf8(key).unwrap().replace("site-1", "site-2").into_bytes();
    store.commit(&[Op::Put { key, value }]).unwrap();
    assert!(checked(&store).unwrap().problems[0].contains("no such node"));
}

#[test]
fn a_shadow_that_cannot_be_read_is_an_error_that_names_its_node() {
    let store = store();
    let key = b"at/site-1/v/device/a".to_vec();
    assert!(store.get(&key).unwrap().is_some());
    store.commit(&[Op::Put { key, value: b"nonsense".to_vec() }]).unwrap();
    let error = checked(&store).unwrap_err();
    assert!(chain(&error).contains("site-1"), "{error}");
}

fn past_row(version: u64) -> Vec<u8> {
    [b"aws/h/pump-7/\0".as_slice(), &version.to_be_bytes(), b"\0"].concat()
}

/// A store with a thing that has a shadow, a deleted one and a certificate.
fn store_with_thing() -> MemoryStore {
    let store = MemoryStore::new();
    check_schema(&store).unwrap();
    let put = |key: &str, value: &str| Op::Put { key: key.into(), value: value.into() };
    let certificate = "{\"serial\":\"07\",\"not_after_s\":1}";
    store
        .commit(&[
            put("aws/s/pump-7/", "{\"v\":3}"),
            put("aws/d/pump-7/config", "{\"v\":1,\"t\":5}"),
            put("aws/t/pump-7", "2"),
            put("aws/c/pump-7/07", certificate),
            Op::Put { key: past_row(3), value: b"{\"t\":5,\"b\":\"admin\"}".to_vec() },
        ])
        .unwrap();
    store
}

#[test]
fn rows_of_things_are_counted() {
    let report = checked(&store_with_thing()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.things, report.thing_shadows, report.thing_certificates), (1, 2, 1));
    assert_eq!(report.thing_versions, 1);
}

#[test]
fn every_row_of_a_thing_that_is_damaged_is_named() {
    for key in ["aws/s/pump-7/", "aws/d/pump-7/config", "aws/t/pump-7", "aws/c/pump-7/07"] {
        let store = store_with_thing();
        store.commit(&[Op::Put { key: key.into(), value: b"nonsense".to_vec() }]).unwrap();
        let report = checked(&store).unwrap();
        assert!(report.problems.iter().any(|problem| problem.contains(key)), "{key}: {report:?}");
    }
}

#[test]
fn a_certificate_of_a_thing_that_is_nobodys_is_named_since_things_belong_to_somebody() {
    let store = store_with_thing();
    let value = b"{\"serial\":\"07\",\"not_after_s\":1}".to_vec();
    store.commit(&[Op::Put { key: b"aws/c/pump-8/07".to_vec(), value }]).unwrap();
    let report = checked(&store).unwrap();
    assert_eq!(report.problems, ["the thing pump-8 has certificates and is of no tenant"]);
    store.commit(&[Op::Put { key: b"schema".to_vec(), value: b"3".to_vec() }]).unwrap();
    assert_eq!(checked(&store).unwrap().problems, [""; 0], "the next start gives it a row");
}

#[test]
fn a_version_of_a_thing_that_is_damaged_is_named() {
    let store = store_with_thing();
    store.commit(&[Op::Put { key: past_row(3), value: b"nonsense".to_vec() }]).unwrap();
    let report = checked(&store).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].contains("aws/h/pump-7/"), "{report:?}");
}

#[test]
fn a_thing_that_counts_wrongly_is_named() {
    for (key, value) in
        [("aws/t/pump-7", "3"), ("aws/t/pump-8", "1"), ("aws/s/pump-9/", "{\"v\":1}")]
    {
        let store = store_with_thing();
        store.commit(&[Op::Put { key: key.into(), value: value.into() }]).unwrap();
        let report = checked(&store).unwrap();
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert!(report.problems[0].contains("counts"), "{report:?}");
    }
}
