//! Orders about things share the commit of the round, and nothing is said before it.

use gnomon_schemas::topic::{Operation, ShadowId};

use super::*;
use crate::access::Scope;
use crate::aws::domain::{Order, Origin, Rejected, Request};
use crate::store::Op;

fn order(operation: Operation, body: &[u8]) -> Order {
    let id = ShadowId { thing: "pump-7".parse().unwrap(), shadow: None };
    Order::Shadow(id, Request::read(operation, body).unwrap(), Origin::Mqtt)
}

#[tokio::test]
async fn an_update_is_said_after_it_is_durable_and_in_the_order_of_aws() {
    let bench = Bench::start(MemoryStore::new(), CoreConfig::default()).await;
    let update = || order(Operation::Update, b"{\"state\":{\"desired\":{\"a\":1}}}");
    bench.store.fail(Some(ErrorKind::StorageFull));
    let said = || bench.link.1.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let core = bench.core.handle();
    assert_eq!(core.order(update(), None).await, Err(Rejected::Unavailable));
    let ends = |said: Vec<String>| {
        let end = |topic: &String| topic.rsplit('/').next().unwrap().to_owned();
        said.iter().map(end).collect::<Vec<_>>()
    };
    assert_eq!(ends(said()), ["rejected"]);
    bench.store.fail(None);
    assert_eq!(core.order(order(Operation::Get, b""), None).await.unwrap_err().code(), 404);
    core.order(update(), None).await.unwrap();
    let all = ["rejected", "rejected", "delta", "documents", "accepted"];
    assert_eq!(ends(said()), all);
    let body = core.order(order(Operation::Get, b""), None).await.unwrap();
    assert!(String::from_utf8(body).unwrap().contains("\"version\":1"));
}

#[tokio::test]
async fn what_is_remembered_of_an_order_is_its_things_tenants_and_shares_its_commit() {
    let bench = Bench::start(MemoryStore::new(), CoreConfig::default()).await;
    let core = bench.core.handle();
    let id = ShadowId { thing: "pump-7".parse().unwrap(), shadow: Some("set".parse().unwrap()) };
    let tenant = Some("acme".parse().unwrap());
    let acme = Author::new("token/a").within(&Scope { tenant, ..Scope::default() });
    let give = async |operation, body: &[u8], by: Option<&Author>| {
        let request = Request::read(operation, body).unwrap();
        let is_itself = by.is_none();
        let author = || by.cloned().unwrap_or_else(|| Author::thing(&id.thing));
        let deed = Deed::of_request(&id, &request, is_itself, author);
        let origin = by.cloned().map_or(Origin::Mqtt, Origin::Rest);
        core.order(Order::Shadow(id.clone(), request, origin), deed).await
    };
    let desired: &[u8] = b"{\"state\":{\"desired\":{\"a\":1}}}";
    let reported: &[u8] = b"{\"state\":{\"reported\":{\"a\":1}}}";
    let both: &[u8] = b"{\"state\":{\"desired\":null,\"reported\":{\"a\":1}}}";
    let empty: &[u8] = b"{\"state\":null}";
    give(Operation::Update, reported, Some(&acme)).await.unwrap();
    give(Operation::Update, reported, None).await.unwrap();
    give(Operation::Get, b"", None).await.unwrap();
    give(Operation::Update, desired, None).await.unwrap();
    give(Operation::Update, both, None).await.unwrap();
    give(Operation::Update, empty, None).await.unwrap();
    give(Operation::Update, b"{\"state\":{},\"version\":99}", Some(&acme)).await.unwrap_err();
    bench.store.fail(Some(ErrorKind::StorageFull));
    give(Operation::Delete, b"", None).await.unwrap_err();
    bench.store.fail(None);
    give(Operation::Delete, b"", None).await.unwrap();
    let mut told = Vec::new();
    for (key, value) in bench.store.scan(AUDIT).unwrap() {
        for entry in read_audit(&key, &value).unwrap() {
            assert_eq!(entry.tenant, Some("acme".parse().unwrap()));
            assert_eq!((entry.target.as_str(), entry.outcome.as_str()), ("pump-7/set", "done"));
            told.push(format!("{} {}", entry.by, entry.action));
        }
    }
    let (its_update, its_delete) = ("thing/pump-7 thing.update", "thing/pump-7 thing.delete");
    let expected = [its_delete, its_update, its_update, its_update, "token/a thing.update"];
    assert_eq!(told, expected, "the newest first, and no report");
}

#[tokio::test]
async fn a_hundred_writers_with_a_version_have_one_winner_each() {
    let bench = Bench::start(MemoryStore::new(), CoreConfig::default()).await;
    let core = bench.core.handle();
    core.order(order(Operation::Update, b"{\"state\":{}}"), None).await.unwrap();
    for version in 1..=5 {
        let body = format!("{{\"state\":{{\"desired\":{{}}}},\"version\":{version}}}");
        let ask = |_| core.order(order(Operation::Update, body.as_bytes()), None);
        let answers = futures_util::future::join_all((0..100).map(ask)).await;
        let lost = answers.iter().filter(|answer| **answer == Err(Rejected::Conflict)).count();
        assert_eq!(lost, 99);
    }
}

#[tokio::test]
async fn a_damaged_row_costs_what_needs_it_and_nothing_else_in_the_round() {
    let bench = Bench::start(MemoryStore::new(), CoreConfig::default()).await;
    let of = |thing: &str, operation, body: &[u8]| {
        let id = ShadowId { thing: thing.parse().unwrap(), shadow: None };
        Order::Shadow(id, Request::read(operation, body).unwrap(), Origin::Mqtt)
    };
    let core = bench.core.handle();
    for thing in ["broken", "good"] {
        core.order(of(thing, Operation::Update, b"{\"state\":{}}"), None).await.unwrap();
    }
    let damage = Op::Put { key: b"aws/s/broken/".to_vec(), value: b"nonsense".to_vec() };
    bench.store.commit(&[damage]).unwrap();
    let ask = |thing| core.order(of(thing, Operation::Get, b""), None);
    let (broken, good, unknown) = tokio::join!(ask("broken"), ask("good"), ask("unknown"));
    assert_eq!(broken, Err(Rejected::Internal));
    assert!(good.is_ok());
    assert_eq!(unknown.unwrap_err().code(), 404);
    let update = of("broken", Operation::Update, b"{\"state\":{\"desired\":{\"a\":1}}}");
    assert_eq!(core.order(update, None).await, Err(Rejected::Internal));
    let kept = bench.store.get(b"aws/s/broken/").unwrap();
    assert_eq!(kept, Some(b"nonsense".to_vec()), "what is damaged is left for who repairs it");
}
