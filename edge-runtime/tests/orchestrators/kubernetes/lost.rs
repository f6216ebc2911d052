//! Somebody removes the list of what an app of manifests has: the labels of its objects say it, too.

use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::fake::Fake;
use gnomon_edge::reconcile::model::{InstanceId, Step};
use kube::api::DeleteParams;

use super::manifests::{DEPLOYMENT, WELL, create, get, place, shop, until};
use super::objects;
use crate::bench::Bench;

const OLD: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: @-old }\n";
const CONFIG: (&str, &str) = ("v1", "ConfigMap");

async fn remove_list(id: &InstanceId) {
    let name = id.0.split_once('/').unwrap().1;
    objects("v1", "ConfigMap").await.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_list_was_removed_is_changed_without_leaving_anything() {
    let mut bench = Bench::k3s();
    create(&bench, &shop("lost", 1, OLD)).await.unwrap();
    let before = until(&bench, WELL, None).await;
    let uid = get(DEPLOYMENT, "lost").await.unwrap().metadata.uid;
    remove_list(&before.id).await;
    bench.orchestrator = bench.reopen();
    create(&bench, &shop("lost", 2, "")).await.unwrap();
    let after = until(&bench, WELL, None).await;
    assert_eq!(after.id, before.id);
    assert!(get(CONFIG, "lost-old").await.is_none(), "it left the app");
    assert_eq!(get(DEPLOYMENT, "lost").await.unwrap().metadata.uid, uid, "it was not made anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_list_was_removed_while_no_agent_looked_is_found_by_the_next_one() {
    let mut bench = Bench::k3s();
    create(&bench, &shop("found", 1, OLD)).await.unwrap();
    let before = until(&bench, WELL, None).await;
    bench.orchestrator = Orchestrator::Fake(Fake::new());
    remove_list(&before.id).await;
    // What somebody copied has the labels, too, and is not Gnomon's.
    let mut copy = get(CONFIG, "found-old").await.unwrap();
    copy.metadata.name = Some("found-copy".to_owned());
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    copy.metadata.managed_fields = None;
    let configs = objects("v1", "ConfigMap").await;
    configs.create(&kube::api::PostParams::default(), &copy).await.unwrap();
    bench.orchestrator = bench.reopen();
    let deadline = Instant::now() + Duration::from_mins(1);
    let found = loop {
        if let Some(found) = bench.find(&place()).await {
            break found;
        }
        assert!(Instant::now() < deadline, "its objects are not found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(found.id, before.id);
    assert!(found.altered.is_some(), "it is not known which revision it is");
    // The planner was not told of the app: it goes.
    let (id, slot, grace) = (found.id.clone(), place(), Duration::ZERO);
    bench.apply(Step::Stop { id, slot, grace }).await;
    bench.remove(&place()).await;
    assert!(get(DEPLOYMENT, "found").await.is_none() && get(CONFIG, "found-old").await.is_none());
    assert!(get(CONFIG, "found-copy").await.is_some(), "that was never ours");
    configs.delete("found-copy", &DeleteParams::default()).await.unwrap();
    assert!(bench.all().await.is_empty());
}
