//! Since when a node is behind, and when it is no longer.

use super::super::command::{Action, Change, Precondition, Session};
use super::super::tests::{Site, at, command, domain, put_node, write};
use super::super::{Effect, Limits};
use super::*;
use crate::rows;
use crate::store::{MemoryStore, Store as _};
use gnomon_schemas::document::Document;

fn put(node: &str, key: &str, text: &str) -> super::super::Command {
    let document = Document::parse(text.as_bytes()).unwrap();
    write(node, key, Change::Put(document), Precondition::Any)
}

fn behind(domain: &Domain) -> Vec<(String, u64)> {
    domain.behind().map(|it| (it.node.name().to_string(), it.since_ms)).collect()
}

#[test]
fn a_node_is_behind_from_the_first_change_that_it_lacks_until_it_has_all() {
    let mut domain = domain(Limits::default());
    domain.handle(put_node("site-1"), at(0)).unwrap();
    assert!(behind(&domain).is_empty());
    domain.handle(put("site-1", "node", "{\"a\":1}"), at(10)).unwrap();
    domain.handle(put("site-1", "node", "{\"a\":2}"), at(20)).unwrap();
    assert_eq!(behind(&domain), [("site-1".to_owned(), 1_000_010)]);
    let session = Session(1);
    domain.handle(command("site-1", Action::Connected(session)), at(50)).unwrap();
    assert_eq!(behind(&domain).len(), 1, "to be there is not to have it");
    let mut site = Site::new();
    site.talk(&mut domain, session, Vec::new(), at(60));
    assert!(behind(&domain).is_empty());
    domain.handle(put("site-1", "device/a", "{}"), at(70)).unwrap();
    assert_eq!(behind(&domain), [("site-1".to_owned(), 1_000_070)]);
}

#[test]
fn how_long_it_took_is_said_once() {
    let mut domain = domain(Limits::default());
    domain.handle(put_node("site-1"), at(0)).unwrap();
    domain.handle(put("site-1", "node", "{}"), at(10)).unwrap();
    assert_eq!(domain.caught_up(), None);
    domain.handle(command("site-1", Action::Connected(Session(1))), at(20)).unwrap();
    let took = Site::new().talk(&mut domain, Session(1), Vec::new(), at(510));
    assert_eq!(took, [500]);
    domain.handle(put_node("site-2"), at(600)).unwrap();
    assert_eq!(domain.caught_up(), None);
}

#[test]
fn those_that_wait_longest_come_first_and_those_that_are_deleted_never() {
    let mut domain = domain(Limits::default());
    for (n, node) in ["site-c", "site-a", "site-b"].into_iter().enumerate() {
        domain.handle(put_node(node), at(0)).unwrap();
        domain.handle(put(node, "node", "{}"), at(n as u64)).unwrap();
    }
    let names: Vec<_> = behind(&domain).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["site-c", "site-a", "site-b"]);
    domain.handle(command("site-a", Action::DeleteNode), at(9)).unwrap();
    assert_eq!(behind(&domain).len(), 2);
}

#[test]
fn after_a_restart_what_was_desired_since_the_node_was_last_heard_of_is_missing() {
    let mut first = domain(Limits::default());
    let store = MemoryStore::new();
    let run = |domain: &mut Domain, command, now| {
        for effect in domain.handle(command, now).unwrap().effects {
            if let Effect::Persist(ops) = effect {
                store.commit(&ops).unwrap();
            }
        }
    };
    run(&mut first, put_node("site-1"), at(0));
    run(&mut first, put("site-1", "node", "{}"), at(1));
    run(&mut first, command("site-1", Action::Connected(Session(1))), at(5));
    let bye = Action::Disconnected(Session(1), "it left".to_owned());
    run(&mut first, command("site-1", bye), at(6));
    run(&mut first, put("site-1", "device/b", "{}"), at(8));
    run(&mut first, put("site-1", "device/a", "{}"), at(7));
    let name: NodeName = "site-1".parse().unwrap();
    let prefix = rows::at(&name);
    let relative = |(key, value): (Vec<u8>, Vec<u8>)| (key[prefix.len()..].to_vec(), value);
    let rows: Vec<_> = store.scan(&prefix).unwrap().into_iter().map(relative).collect();
    let listed = store.get(&rows::node(&name)).unwrap().unwrap();
    let (_, record) = rows::read_node(&rows::node(&name), &listed).unwrap();
    let mut second = domain(Limits::default());
    second.load(&name, Some(record), &rows, at(100)).unwrap();
    assert_eq!(behind(&second), [("site-1".to_owned(), 1_000_007)]);
    second.handle(command("site-1", Action::Connected(Session(2))), at(110)).unwrap();
    assert_eq!(behind(&second).len(), 1, "it has not said where it stands");
    Site::new().talk(&mut second, Session(2), Vec::new(), at(120));
    assert!(behind(&second).is_empty());
}
