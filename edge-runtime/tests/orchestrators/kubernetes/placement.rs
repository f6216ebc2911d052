//! What keeps a pod from a node, for a moment or for good.

use std::time::{Duration, Instant};

use gnomon_edge::reconcile::model::Step;
use gnomon_schemas::app::{AppSpec, Mount, Port, Protocol, RestartPolicy, ServiceSpec, VolumeSpec};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{admin, objects};
use crate::bench::{Bench, POLITE, RUNNING, app, service, slot};

async fn make(api: &Api<DynamicObject>, object: Value) {
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

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

/// The claim of the bench's app is made anew, of a class that nobody provides.
async fn unbind(bench: &Bench, class: &str) -> String {
    let claims = objects("v1", "PersistentVolumeClaim").await;
    let mut found = claims.list(&ListParams::default()).await.unwrap().items;
    found.retain(|it| {
        let notes = it.metadata.annotations.iter().flatten();
        notes
            .into_iter()
            .any(|(name, value)| name == "io.gnomon/node" && *value == bench.node.as_str())
    });
    let found = found.pop().unwrap();
    let name = found.metadata.name.unwrap();
    claims.delete(&name, &DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while claims.get_opt(&name).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the claim is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let claim = json!({
        "metadata": { "name": name, "labels": found.metadata.labels, "annotations": found.metadata.annotations },
        "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } } },
    });
    make(&claims, claim).await;
    name
}

pub(crate) async fn a_claim_that_is_bound_late_only_delays_its_service(bench: &Bench) {
    let web = slot("web");
    let mount = Mount::Volume { name: "films".parse().unwrap(), read_only: false };
    let volumes = [("/films".to_owned(), mount)].into();
    let alive = ServiceSpec { restart: RestartPolicy::Always, volumes, ..service(POLITE) };
    let volumes = [("films".parse().unwrap(), VolumeSpec::default())].into();
    let spec = std::sync::Arc::new(AppSpec { volumes, ..(*app(alive)).clone() });
    let id = bench.create(&web, &spec).await.id;
    let class = format!("late-{}", bench.node);
    let claim = unbind(bench, &class).await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "PersistentVolume"));
    let volumes: Api<DynamicObject> = Api::all_with(admin().await, &kind);
    let late = async {
        until_unplaced(bench).await;
        let begun = Instant::now();
        let volume = json!({
            "metadata": { "name": class },
            "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"],
                "capacity": { "storage": "1Gi" }, "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": { "namespace": "gnomon", "name": claim },
                "hostPath": { "path": bench.dir.path(), "type": "Directory" } },
        });
        make(&volumes, volume).await;
        until_placed(bench).await;
        begun.elapsed()
    };
    let start = Step::Start { id, slot: web.clone() };
    let (started, late) = tokio::join!(bench.orchestrator.apply(&start), late);
    if let Err(error) = started {
        assert!(late > Duration::from_secs(20), "it was not waited for: {late:?}, {error}");
        assert!(error.is_transient(), "{error}");
        bench.start(&web).await;
    }
    bench.until(&web, RUNNING).await;
    volumes.delete(&class, &DeleteParams::default()).await.unwrap();
}

pub(crate) async fn a_port_that_somebody_else_has_in_the_cluster_is_named_until_it_is_free(
    bench: &Bench,
) {
    let (web, number) = (slot("web"), 31_000 + u16::try_from(std::process::id() % 1000).unwrap());
    let name = format!("theirs-{}", bench.node);
    let pods = objects("v1", "Pod").await;
    let theirs = json!({
        "metadata": { "name": name },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "gnomon-demo:1",
            "ports": [{ "containerPort": 8080, "hostPort": number }] }] },
    });
    make(&pods, theirs).await;
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
    let id = bench.create(&web, &app(alive)).await.id;
    let start = Step::Start { id, slot: web.clone() };
    let error = bench.orchestrator.apply(&start).await.expect_err("the port is not free");
    assert!(error.is_transient() && error.to_string().contains("free ports"), "{error}");
    assert!(!bench.instance(&web).await.state.is_running(), "it is tried again");
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    bench.until(&web, RUNNING).await;
}
