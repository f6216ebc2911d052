//! The history through the core, and stores of the schema before it.

use gnomon_schemas::key::ShadowKey;

use super::*;
use crate::domain::{HistoryLimits, Revision};
use crate::rows;
use crate::store::{Op, SCHEMA_VERSION};

fn past(key: &str, half: Half) -> Past {
    Past { node: "site-1".parse().unwrap(), key: key.parse().unwrap(), half }
}

impl Bench {
    async fn revisions(&self, key: &str, half: Half) -> Result<Vec<Revision>, Refusal> {
        self.core.handle().look_back(past(key, half), |all| all.collect()).await
    }
}

fn text(revision: &Revision) -> Option<String> {
    revision.document.as_ref().map(ToString::to_string)
}

fn config(versions: usize) -> CoreConfig {
    let mut config = CoreConfig::default();
    config.domain.history = HistoryLimits { versions, ..HistoryLimits::default() };
    config
}

#[tokio::test]
async fn every_version_is_there_with_its_author_also_after_a_restart() {
    let bench = Bench::with_node().await;
    for text in ["{\"a\":1}", "{\"a\":1,\"b\":[2]}", "{\"b\":[2]}"] {
        bench.put(text).await.unwrap();
    }
    let change = Action::Write(Write {
        key: ShadowKey::Node,
        change: Change::Delete,
        when: Precondition::Any,
        fields: Vec::new(),
    });
    bench.act(change).await.unwrap();
    let store = bench.store.clone();
    bench.core.stop().await;
    let bench = Bench::start(store, CoreConfig::default()).await;
    let revisions = bench.revisions("node", Half::Desired).await.unwrap();
    let texts: Vec<_> = revisions.iter().map(text).collect();
    let documents = ["{\"b\":[2]}", "{\"a\":1,\"b\":[2]}", "{\"a\":1}"];
    assert_eq!(texts[0], None);
    assert_eq!(texts[1..], documents.map(|text| Some(text.to_owned())));
    let versions: Vec<u64> = revisions.iter().map(|revision| revision.entry.version.0).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
    assert!(revisions.iter().all(|revision| revision.entry.by.as_str() == "admin"));
    let unknown = bench.revisions("device/never", Half::Desired).await.unwrap_err();
    assert_eq!(unknown.code(), "unknown_shadow");
}

#[tokio::test]
async fn the_number_of_versions_is_bounded_in_the_answer_and_in_the_store() {
    let bench = Bench::start(MemoryStore::new(), config(10)).await;
    bench.act(Action::put_node()).await.unwrap();
    for n in 0..100 {
        bench.put(&format!("{{\"n\":{n}}}")).await.unwrap();
    }
    let revisions = bench.revisions("node", Half::Desired).await.unwrap();
    assert_eq!(revisions.len(), 10);
    assert_eq!(text(&revisions[9]).unwrap(), "{\"n\":90}");
    let rows = bench.store.scan(rows::history::PAST).unwrap().len();
    assert!((10..=26).contains(&rows), "{rows} rows");
}

#[tokio::test]
async fn a_deleted_node_takes_its_history_with_it() {
    let bench = Bench::with_node().await;
    bench.put("{\"a\":1}").await.unwrap();
    bench.act(Action::DeleteNode).await.unwrap();
    assert_eq!(bench.store.scan(rows::history::PAST).unwrap(), []);
}

/// The rows of a store that the version before wrote.
const SCHEMA_1: &str = include_str!("schema-1.rows");

fn of_schema_1() -> MemoryStore {
    let store = MemoryStore::new();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let op = |line: &str| {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let value = value.as_bytes().chunks(2).map(byte).collect();
        Op::Put { key: key.as_bytes().to_vec(), value }
    };
    store.commit(&SCHEMA_1.lines().map(op).collect::<Vec<_>>()).unwrap();
    store
}

#[tokio::test]
async fn a_store_of_schema_1_is_brought_up_and_keeps_everything() {
    let store = of_schema_1();
    let bench = Bench::start(store.clone(), CoreConfig::default()).await;
    assert_eq!(store.get(b"schema").unwrap(), Some(SCHEMA_VERSION.to_string().into_bytes()));
    let look = |domain: &Domain, _: crate::domain::Now| {
        let node = domain.node(&"site-1".parse().unwrap()).unwrap();
        node.shadows().collect::<Vec<_>>()
    };
    let shadows = bench.core.handle().read(look).await.unwrap();
    let keys: Vec<_> = shadows.iter().map(|view| view.key.to_string()).collect();
    assert_eq!(keys, ["node", "app/web", "device/pump:1/limits", "device/x"]);
    let node = &shadows[0];
    assert_eq!((node.version, node.desired_version()), (Version(3), Version(2)));
    let reported = node.reported.as_ref().unwrap();
    assert_eq!(reported.changed_ms, Some(1_000_010), "as the old record has it");
    assert_eq!(reported.times.stamps().take().unix_ms, 1_000_010);
    let revisions = bench.revisions("node", Half::Desired).await.unwrap();
    assert_eq!(revisions.len(), 1);
    assert_eq!(text(&revisions[0]).unwrap(), "{\"rate\":2,\"unit\":\"s\"}");
    assert_eq!(revisions[0].entry.by, Author::cloud());

    bench.put("{\"rate\":3}").await.unwrap();
    let after = bench.revisions("node", Half::Desired).await.unwrap();
    assert_eq!(after.iter().map(text).collect::<Vec<_>>()[1], text(&revisions[0]));
    bench.core.stop().await;
    let again = Bench::start(store, CoreConfig::default()).await;
    assert_eq!(again.revisions("node", Half::Desired).await.unwrap(), after, "it happens once");
}

#[tokio::test]
async fn a_migration_that_was_cut_short_is_done_again() {
    let store = of_schema_1();
    let whole = of_schema_1();
    Bench::start(whole.clone(), CoreConfig::default()).await.core.stop().await;
    let first = whole.scan(rows::history::PAST).unwrap().into_iter().take(3);
    let ops: Vec<Op> = first.map(|(key, value)| Op::Put { key, value }).collect();
    store.commit(&ops).unwrap();
    let bench = Bench::start(store.clone(), CoreConfig::default()).await;
    bench.core.stop().await;
    let keys = |store: &MemoryStore| {
        let rows = store.scan(b"").unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&store), keys(&whole));
}
