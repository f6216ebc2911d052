//! What holds for every sequence of commands.

use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_schemas::wire::{Batch, Body, Entry, Hello, Message};
use proptest::prelude::*;
use serde_json::json;

use super::tests::{at, command, domain, put_node, write};
use super::*;
use crate::rows::NodeRecord;
use crate::store::{MemoryStore, Store as _};

fn node() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b")]
}

fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("node"), Just("device/x"), Just("device/x/y"), Just("app/web")]
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        (0..3).prop_map(|n| json!({ "n": n })),
        Just(json!({ "services": { "s": { "image": "i" } } })),
        Just(json!({})),
    ];
    prop_oneof![
        value.clone().prop_map(|value| Change::Put(Document::from_value(value).unwrap())),
        value.prop_map(|value| Change::Patch(Patch::from_value(value).unwrap())),
        Just(Change::Delete),
    ]
}

fn precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        3 => Just(Precondition::Any),
        1 => Just(Precondition::Present),
        1 => Just(Precondition::Absent),
        2 => (0..5_u64).prop_map(|version| Precondition::Version(Version(version))),
    ]
}

/// A message of a site whose history is always the same; most of them are out of place.
fn message() -> impl Strategy<Value = (Stream, Message)> {
    let epoch = Epoch(5);
    let hello = (0..4_u64).prop_map(move |seq| {
        (Stream::Down, Message::Hello(Hello { epoch, seq: Seq(seq), window: 1 }))
    });
    let batch = (0..3_u64, key(), 0..3).prop_map(move |(after, key, n)| {
        let document = Document::from_value(json!({ "n": n })).unwrap();
        let digest = document.digest();
        let key = key.parse().unwrap();
        let (base, version) = (Version::ZERO, Version(after + 1));
        let changes = vec![Entry { key, base, version, body: Body::Full(document, digest) }];
        let batch = Batch { epoch, after: Seq(after), seq: Seq(after + 1), changes };
        (Stream::Up, Message::Batch(batch))
    });
    let manifest = (1..3_u64).prop_map(move |seq| {
        let manifest = gnomon_schemas::wire::Manifest {
            epoch,
            seq: Seq(seq),
            answers: Epoch::NONE,
            part: 0,
            parts: 1,
            entries: Vec::new(),
        };
        (Stream::Up, Message::Manifest(manifest))
    });
    prop_oneof![hello, batch, manifest]
}

fn any_command() -> impl Strategy<Value = Command> {
    let session = (1..4_u64).prop_map(Session);
    prop_oneof![
        2 => node().prop_map(put_node),
        1 => node().prop_map(|node| command(node, Action::DeleteNode)),
        8 => (node(), key(), change(), precondition())
            .prop_map(|(node, key, change, when)| write(node, key, change, when)),
        2 => (node(), session.clone()).prop_map(|(n, s)| command(n, Action::Connected(s))),
        1 => (node(), session.clone()).prop_map(|(n, s)| command(n, Action::Disconnected(s, String::new()))),
        6 => (node(), session, message()).prop_map(|(node, session, (stream, message))| {
            command(node, Action::Received { session, stream, message, bytes: 1 })
        }),
        1 => node().prop_map(|node| command(node, Action::Timeout)),
    ]
}

/// Everything that can be seen.
fn seen(domain: &Domain) -> Vec<(NodeView, Vec<ShadowView>)> {
    domain.nodes().map(|node| (node.view(), node.shadows().collect())).collect()
}

/// What must come back from the store: all shadows, with their versions.
fn durable(domain: &Domain) -> Vec<(NodeName, usize, Vec<ShadowView>)> {
    let durable = |node: &Node| {
        let view = node.view();
        (view.name, view.shadows, node.shadows().collect())
    };
    domain.nodes().map(durable).collect()
}

fn reread(store: &MemoryStore) -> Domain {
    let mut domain = domain(Limits::default());
    for (key, value) in store.scan(rows::NODES).unwrap() {
        let (name, record): (_, NodeRecord) = rows::read_node(&key, &value).unwrap();
        let prefix = rows::at(&name);
        let rows = store.scan(&prefix).unwrap().into_iter();
        let rows: Vec<_> = rows.map(|(key, value)| (key[prefix.len()..].to_vec(), value)).collect();
        domain.load(&name, Some(record), &rows, at(0)).unwrap();
    }
    domain
}

fn version_of(domain: &Domain, view: &ShadowView) -> Version {
    domain.node(&view.node).map_or(Version::ZERO, |node| node.shadow(&view.key).version)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_command_keeps_the_laws(commands in prop::collection::vec(any_command(), 1..40)) {
        let store = MemoryStore::new();
        let mut domain = domain(Limits { shadows_per_node: 3, ..Limits::default() });
        domain.handle(put_node("a"), at(0)).map(|done| persist(&store, &done)).unwrap();
        for (step, command) in commands.into_iter().enumerate() {
            let before = seen(&domain);
            let versions = |view: &ShadowView| version_of(&domain, view);
            let known: Vec<_> = before.iter().flat_map(|(_, views)| views).map(versions).collect();
            match domain.handle(command, at(u64::try_from(step).unwrap())) {
                Err(_) => prop_assert_eq!(seen(&domain), before, "a refusal changed something"),
                Ok(done) => {
                    let told = changed(&done);
                    let views = before.iter().flat_map(|(_, views)| views);
                    for (view, old) in views.zip(known) {
                        let count = told.iter().filter(|t| (&t.node, &t.key) == (&view.node, &view.key));
                        let expected = Version(old.0 + u64::try_from(count.count()).unwrap());
                        let now = version_of(&domain, view);
                        prop_assert!(now == expected || domain.node(&view.node).is_none());
                    }
                    persist(&store, &done);
                }
            }
            prop_assert_eq!(durable(&reread(&store)), durable(&domain), "the store differs");
            let online = domain.nodes().filter(|node| node.presence.online).count();
            prop_assert_eq!(domain.census().online, online);
            prop_assert_eq!(domain.census().nodes, domain.nodes().count());
            prop_assert!(domain.nodes().all(|node| node.view().shadows <= 3));
        }
    }
}

fn persist(store: &MemoryStore, done: &Done) {
    for effect in &done.effects {
        if let Effect::Persist(ops) = effect {
            store.commit(ops).unwrap();
        }
    }
}

fn changed(done: &Done) -> Vec<ShadowView> {
    let view = |effect: &Effect| match effect {
        Effect::Notify(Notice::Shadow(change)) => Some((*change.view).clone()),
        Effect::Persist(_)
        | Effect::Send(..)
        | Effect::Admit(..)
        | Effect::Learnt(..)
        | Effect::Close(_)
        | Effect::Notify(_) => None,
    };
    done.effects.iter().filter_map(view).collect()
}
