//! Orders about things share the commit of the round, and nothing is said before it.

use gnomon_schemas::topic::{Operation, ShadowId};

use super::*;
use crate::aws::domain::{Order, Origin, Rejected, Request};

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
