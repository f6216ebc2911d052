//! What keeps a pod from a node, for a moment or for good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::reconcile::model::Step;
use gnomon_schemas::app::{AppSpec, Port, Protocol, RestartPolicy, ServiceSpec};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use super::objects;
use crate::bench::{Bench, POLITE, RUNNING, app, service, slot};

/// Waits until a pod of the bench's node is so.
async fn until_pod(bench: &Bench, what: &str, is: impl Fn(&DynamicObject) -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    let own = bench.node.as_str();
    loop {
        let pods = objects("v1", "Pod").await.list(&ListParams::default()).await.unwrap().items;
        let is_own = |pod: &DynamicObject| {
            let notes = pod.metadata.annotations.iter().flatten();
            notes.into_iter().any(|(name, value)| name == "io.gnomon/node" && value == own)
        };
        if pods.iter().any(|pod| is_own(pod) && is(pod)) {
            return;
        }
        assert!(Instant::now() < deadline, "no pod {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the cluster has said that no node takes the pod of the bench's node.
async fn until_unplaced(bench: &Bench) {
    let is_unplaced = |pod: &DynamicObject| {
        let conditions = pod.data.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|it| it["reason"] == "Unschedulable")
    };
    until_pod(bench, "is without a node", is_unplaced).await;
}

async fn until_placed(bench: &Bench) {
    until_pod(bench, "has a node", |pod| pod.data.pointer("/spec/nodeName").is_some()).await;
}

/// A pod that is not ours and has a port of the machine; and a service that wants it.
async fn rivals(bench: &Bench, offset: u16) -> (String, Arc<AppSpec>) {
    let number = 31_000 + u16::try_from(std::process::id() % 400).unwrap() + offset;
    let name = format!("theirs-{}", bench.node);
    let pods = objects("v1", "Pod").await;
    let theirs = json!({
        "metadata": { "name": name },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "gnomon-demo:1",
            "ports": [{ "containerPort": 8080, "hostPort": number }] }] },
    });
    let theirs = serde_json::from_value(theirs).unwrap();
    pods.create(&PostParams::default(), &theirs).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let has_node = async || {
        let pod = pods.get(&name).await.unwrap();
        pod.data.pointer("/spec/nodeName").is_some()
    };
    while !has_node().await {
        assert!(Instant::now() < deadline, "the other pod has no node");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let port = Port {
        container: 8080.try_into().unwrap(),
        host: Some(number.try_into().unwrap()),
        host_ip: None,
        protocol: Protocol::Tcp,
    };
    let ports = [port].into();
    let alive = ServiceSpec { restart: RestartPolicy::Always, ports, ..service(POLITE) };
    (name, app(alive))
}

pub(crate) async fn a_pod_that_no_node_takes_at_first_only_delays_its_service(bench: &Bench) {
    let web = slot("web");
    let (theirs, spec) = rivals(bench, 0).await;
    let id = bench.create(&web, &spec).await.id;
    let free = async {
        until_unplaced(bench).await;
        let begun = Instant::now();
        objects("v1", "Pod").await.delete(&theirs, &DeleteParams::default()).await.unwrap();
        until_placed(bench).await;
        begun.elapsed()
    };
    let start = Step::Start { id, slot: web.clone() };
    let (started, late) = tokio::join!(bench.orchestrator.apply(&start), free);
    if let Err(error) = started {
        assert!(late > Duration::from_secs(20), "it was not waited for: {late:?}, {error}");
        assert!(error.is_transient(), "{error}");
        bench.start(&web).await;
    }
    bench.until(&web, RUNNING).await;
}

pub(crate) async fn a_port_that_somebody_else_has_in_the_cluster_is_named_until_it_is_free(
    bench: &Bench,
) {
    let web = slot("web");
    let (theirs, spec) = rivals(bench, 400).await;
    let id = bench.create(&web, &spec).await.id;
    let start = Step::Start { id, slot: web.clone() };
    let error = bench.orchestrator.apply(&start).await.expect_err("the port is not free");
    assert!(error.is_transient() && error.to_string().contains("free ports"), "{error}");
    assert!(!bench.instance(&web).await.state.is_running(), "it is tried again");
    objects("v1", "Pod").await.delete(&theirs, &DeleteParams::default()).await.unwrap();
    bench.until(&web, RUNNING).await;
}
