//! What people and other controllers do to objects of ours, and what becomes of it.

use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::OrchestratorError;
use gnomon_edge::reconcile::model::{Health, Instance, InstanceState, Slot, Step};
use gnomon_schemas::app::{
    AppSpec, ConfigSpec, FileMount, HealthCheck, HealthTest, Port, Protocol, RestartPolicy,
    ServiceSpec,
};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{objects, pod_of};
use crate::bench::{Bench, POLITE, RUNNING, app, service, slot};

/// A service with one of everything that the API server could write in another way than we do.
fn full() -> std::sync::Arc<AppSpec> {
    let mut spec = ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) };
    spec.environment =
        [("EMPTY".to_owned(), String::new()), ("HOME".to_owned(), "/".to_owned())].into();
    spec.configs = [("/etc/conf".to_owned(), FileMount::new("conf".parse().unwrap()))].into();
    spec.ports = vec![Port {
        container: 8080.try_into().unwrap(),
        host: None,
        host_ip: None,
        protocol: Protocol::Tcp,
    }]
    .into_iter()
    .collect();
    spec.resources.limits.cpu_millis = Some(1000);
    spec.resources.limits.memory_bytes = Some(64_000_000);
    spec.resources.reservations.cpu_millis = Some(10);
    let test = HealthTest::Shell("true".to_owned());
    spec.healthcheck = Some(HealthCheck { interval_ms: 1000, ..HealthCheck::new(test) });
    let config = ConfigSpec { content: "a = b\n".to_owned() };
    let configs = [("conf".parse().unwrap(), config)].into();
    std::sync::Arc::new(AppSpec { configs, ..(*app(spec)).clone() })
}

/// Waits until an instance shows, or no longer shows, that somebody changed it.
async fn until_altered(bench: &Bench, slot: &Slot, by: Option<&str>) -> Instance {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let found = bench.instance(slot).await;
        let is = match (by, &found.altered) {
            (None, None) => true,
            (Some(by), Some(what)) => what.contains(by),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}, not {by:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Spoils again and again what is set right, until that is refused. The pauses grow with each time, so that
/// a slow machine, too, comes to one that it does not outlast.
pub(crate) async fn refused(
    bench: &Bench,
    again: &Step,
    spoil: impl AsyncFn(),
) -> OrchestratorError {
    for _ in 0..7 {
        spoil().await;
        if let Err(error) = bench.orchestrator.apply(again).await {
            return error;
        }
    }
    panic!("who insists is fought without end")
}

async fn edit(kind: (&str, &str), name: &str, change: Value) {
    let by = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    objects(kind.0, kind.1).await.patch(name, &by, &Patch::Strategic(change)).await.unwrap();
}

const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");

pub(crate) async fn a_service_with_everything_is_as_it_was_applied(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &full()).await;
    let made = until_altered(bench, &web, None).await;
    bench.apply(Step::Create { slot: web.clone(), spec: full() }).await;
    let uid = pod_of(&made.id).await.metadata.uid;
    assert_eq!(until_altered(bench, &web, None).await.id, made.id);
    assert!(bench.instance(&web).await.state.is_running());
    assert_eq!(pod_of(&made.id).await.metadata.uid, uid, "no pod was made anew for it");
}

pub(crate) async fn a_field_of_ours_that_was_edited_is_set_right_and_others_are_not(bench: &Bench) {
    let (web, spec) = (slot("web"), full());
    bench.up(&web, &spec).await;
    let id = until_altered(bench, &web, None).await.id;
    let name = id.0.split_once('/').unwrap().1;
    let theirs =
        json!({ "metadata": { "labels": { "team": "retail" } }, "spec": { "minReadySeconds": 1 } });
    edit(DEPLOYMENT, name, theirs).await;
    until_altered(bench, &web, None).await;
    let evil = json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "main", "image": "gnomon-demo:2" }] } } } });
    edit(DEPLOYMENT, name, evil.clone()).await;
    let found = until_altered(bench, &web, Some("containers[main].image")).await;
    assert!(found.altered.unwrap().ends_with("by somebody"));
    bench.apply(Step::Create { slot: web.clone(), spec: spec.clone() }).await;
    until_altered(bench, &web, None).await;
    let live = objects("apps/v1", "Deployment").await.get(name).await.unwrap();
    assert_eq!(
        live.data.pointer("/spec/template/spec/containers/0/image"),
        Some(&json!("gnomon-demo:1"))
    );
    assert_eq!(live.data.pointer("/spec/minReadySeconds"), Some(&json!(1)), "that is not ours");
    assert_eq!(live.data.pointer("/spec/replicas"), Some(&json!(1)), "it goes on to run");
    // Who insists is not fought.
    let again = Step::Create { slot: web.clone(), spec };
    let insist = async || {
        edit(DEPLOYMENT, name, evil.clone()).await;
        until_altered(bench, &web, Some("image")).await;
    };
    let error = refused(bench, &again, insist).await;
    assert!(error.is_transient() && error.to_string().contains("again and again"), "{error}");
}

pub(crate) async fn what_a_workload_needs_is_made_again_without_a_restart(bench: &Bench) {
    let (web, spec) = (slot("web"), full());
    bench.up(&web, &spec).await;
    let made = until_altered(bench, &web, None).await;
    let uid = pod_of(&made.id).await.metadata.uid;
    let name = made.id.0.split_once('/').unwrap().1;
    objects("v1", "ConfigMap").await.delete(name, &DeleteParams::default()).await.unwrap();
    until_altered(bench, &web, Some("ConfigMap")).await;
    bench.apply(Step::Create { slot: web.clone(), spec: spec.clone() }).await;
    until_altered(bench, &web, None).await;
    let live = objects("apps/v1", "Deployment").await.get(name).await.unwrap();
    let address = &live.metadata.annotations.unwrap()["io.gnomon/address"];
    let change = json!({ "spec": { "selector": { "io.gnomon/service": "elsewhere" } } });
    edit(("v1", "Service"), address, change).await;
    until_altered(bench, &web, Some("spec.selector")).await;
    bench.apply(Step::Create { slot: web.clone(), spec: spec.clone() }).await;
    until_altered(bench, &web, None).await;
    assert_eq!(pod_of(&made.id).await.metadata.uid, uid, "all the while it ran");
    // Which of two pods goes is for Kubernetes to say.
    edit(DEPLOYMENT, name, json!({ "spec": { "replicas": 2 } })).await;
    until_altered(bench, &web, Some("spec.replicas was changed by somebody")).await;
    bench.apply(Step::Create { slot: web.clone(), spec }).await;
    until_altered(bench, &web, None).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while super::pods_of(&made.id).await.len() > 1 {
        assert!(Instant::now() < deadline, "the second pod goes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bench.until(&web, InstanceState::Running(Health::Healthy)).await;
}

pub(crate) async fn an_evicted_pod_and_a_deleted_workload_come_back(bench: &Bench) {
    let web = slot("web");
    let spec = app(ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) });
    bench.up(&web, &spec).await;
    let made = bench.instance(&web).await;
    let pod = pod_of(&made.id).await.metadata.name.unwrap();
    let eviction = kube::api::EvictParams::default();
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
        kube::Api::namespaced(super::admin().await, "gnomon");
    pods.evict(&pod, &eviction).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    while super::find_pod(&made.id).await.is_none_or(|it| it.metadata.name.as_ref() == Some(&pod))
        || bench.instance(&web).await.state != RUNNING
    {
        assert!(Instant::now() < deadline, "{:?}", bench.instance(&web).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let name = made.id.0.split_once('/').unwrap().1;
    let finalizer = json!({ "metadata": { "finalizers": ["example.com/stuck"] } });
    edit(DEPLOYMENT, name, finalizer).await;
    let deployments = objects("apps/v1", "Deployment").await;
    deployments.delete(name, &DeleteParams::default()).await.unwrap();
    bench.until(&web, InstanceState::Stuck).await;
    edit(
        DEPLOYMENT,
        name,
        json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["example.com/stuck"] } }),
    )
    .await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while bench.find(&web).await.is_some() {
        assert!(Instant::now() < deadline, "it is gone and still seen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.up(&web, &spec).await;
    assert_eq!(bench.instance(&web).await.id, made.id);
}
