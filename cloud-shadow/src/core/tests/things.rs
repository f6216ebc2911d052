//! Orders about things share the commit of the round, and nothing is said before it.

use gnomon_schemas::topic::{Operation, ShadowId};

use super::*;
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
