//! Reads, starts, stops and removes workloads, each looked at again before it is touched.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::names::{self, Workload};
use super::{K3s, K3sError, WORK, observe};
use crate::reconcile::model::{Instance, InstanceId, Observed, Slot};

/// How often a pod that comes or goes is looked at.
const LOOK: Duration = Duration::from_millis(300);

pub(super) async fn observe(k3s: &K3s) -> Result<Observed, K3sError> {
    let node = &k3s.settings.node;
    let selector = names::of_node(node);
    // The pods last: a workload that is seen has those that belong to what it was asked.
    let services = k3s.list("v1", "Service", &selector).await?;
    let deployments = k3s.list("apps/v1", "Deployment", &selector).await?;
    let jobs = k3s.list("batch/v1", "Job", &selector).await?;
    let pods = k3s.list("v1", "Pod", &selector).await?;
    let deployments = deployments.into_iter().map(|it| (Workload::Deployment, it));
    let workloads = deployments.chain(jobs.into_iter().map(|it| (Workload::Job, it)));
    let read = |(kind, it): (_, Value)| observe::instance(node, kind, &it, &pods, now());
    let instances = workloads.filter_map(read).map(|it: Instance| (it.id.clone(), it));
    let mut app_resources: Vec<_> =
        services.iter().filter_map(|it| names::read_app(node, it)).collect();
    app_resources.sort();
    app_resources.dedup();
    Ok(Observed { instances: instances.collect(), app_resources })
}

pub(super) async fn start(k3s: &K3s, id: &InstanceId, slot: &Slot) -> Result<(), K3sError> {
    let Some((kind, name, found)) = find(k3s, id, slot).await? else {
        return Err(K3sError::Gone(id.clone()));
    };
    let pods = k3s.pods(&name).await?;
    let state =
        observe::instance(&k3s.settings.node, kind, &found, &pods, now()).map(|it| it.state);
    if state.is_some_and(|state| state.is_running()) {
        return until_begun(k3s, &name, slot).await;
    }
    // What has ended makes room: a job cannot run twice, and a pod that crashed is hurried.
    // Its pod ends a while before a job says that it has.
    let has_run = names::annotation(&found, names::ASKED) == Some("started");
    if kind == Workload::Job && (has_run || observe::is_finished(&found)) {
        make_again(k3s, &name, &found).await?;
    } else {
        delete_pods(k3s, &pods, 0).await?;
    }
    let asked = json!({ "annotations": { names::ASKED: "started" } });
    let change = match kind {
        Workload::Deployment => json!({ "metadata": asked, "spec": { "replicas": 1 } }),
        Workload::Job => json!({ "metadata": asked, "spec": { "suspend": false } }),
    };
    k3s.change(kind, &name, &change).await?;
    until_begun(k3s, &name, slot).await
}

/// Waits until the container runs, or says why it does not.
async fn until_begun(k3s: &K3s, name: &str, slot: &Slot) -> Result<(), K3sError> {
    let deadline = Instant::now() + WORK;
    loop {
        let pods = k3s.pods(name).await?;
        let pod = pods.iter().find(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
        let trouble = pod.and_then(observe::trouble);
        if let Some((reason, transient)) = trouble {
            return Err(K3sError::NotStarting { reason, transient });
        }
        if pod.is_some_and(observe::has_begun) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let reason = format!("no container of {slot} began to run in time");
            return Err(K3sError::NotStarting { reason, transient: true });
        }
        sleep(LOOK).await;
    }
}

/// A finished job is replaced by an equal one. Its files go with it, so that one with files is
/// only removed: the planner makes all of it anew.
async fn make_again(k3s: &K3s, name: &str, found: &Value) -> Result<(), K3sError> {
    k3s.delete("batch/v1", "Job", name, &DeleteParams::foreground()).await?;
    until_gone(k3s, Workload::Job, name).await?;
    let volumes = found.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
    let is_file = |it: &Value| it.get("configMap").is_some() || it.get("secret").is_some();
    if volumes.into_iter().flatten().any(is_file) {
        return Err(K3sError::Gone(Workload::Job.id(name)));
    }
    let mut template = found.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|label, _| label.starts_with("io.gnomon/") || label.starts_with("app."));
    }
    let metadata = |key: &str| found.pointer(&format!("/metadata/{key}")).cloned();
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "labels": metadata("labels"), "annotations": metadata("annotations"),
        },
        "spec": { "suspend": true, "backoffLimit": 0, "template": template },
    });
    k3s.put(&job).await.map(drop)
}

pub(super) async fn stop(
    k3s: &K3s,
    id: &InstanceId,
    slot: &Slot,
    grace: Duration,
) -> Result<(), K3sError> {
    let Some((kind, name, found)) = find(k3s, id, slot).await? else { return Ok(()) };
    let pods = k3s.pods(&name).await?;
    let state =
        observe::instance(&k3s.settings.node, kind, &found, &pods, now()).map(|it| it.state);
    if !state.is_some_and(|state| state.is_running()) {
        return Ok(());
    }
    let asked = json!({ "annotations": { names::ASKED: "stopped" } });
    let change = match kind {
        Workload::Deployment => json!({ "metadata": asked, "spec": { "replicas": 0 } }),
        Workload::Job => json!({ "metadata": asked, "spec": { "suspend": true } }),
    };
    k3s.change(kind, &name, &change).await?;
    delete_pods(k3s, &pods, grace.as_millis().div_ceil(1000)).await?;
    let deadline = Instant::now() + grace + WORK;
    while !k3s.pods(&name).await?.is_empty() {
        if Instant::now() > deadline {
            return Err(K3sError::NotStopping(id.clone()));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

pub(super) async fn remove(k3s: &K3s, id: &InstanceId, slot: &Slot) -> Result<(), K3sError> {
    let Some((kind, name, found)) = find(k3s, id, slot).await? else { return Ok(()) };
    let pods = k3s.pods(&name).await?;
    let state =
        observe::instance(&k3s.settings.node, kind, &found, &pods, now()).map(|it| it.state);
    if state.is_some_and(|state| state.is_running()) {
        return Err(K3sError::StillRuns(id.clone()));
    }
    k3s.delete(kind.api_version(), kind.kind(), &name, &DeleteParams::foreground()).await?;
    until_gone(k3s, kind, &name).await
}

async fn until_gone(k3s: &K3s, kind: Workload, name: &str) -> Result<(), K3sError> {
    let deadline = Instant::now() + WORK;
    while k3s.get(kind, name).await?.is_some() {
        if Instant::now() > deadline {
            return Err(K3sError::NotStopping(kind.id(name)));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

async fn delete_pods(k3s: &K3s, pods: &[Value], grace: u128) -> Result<(), K3sError> {
    let grace = u32::try_from(grace).unwrap_or(u32::MAX);
    let params = DeleteParams { grace_period_seconds: Some(grace), ..DeleteParams::default() };
    for name in pods.iter().filter_map(|pod| observe::text(pod, "/metadata/name")) {
        k3s.delete("v1", "Pod", name, &params).await?;
    }
    Ok(())
}

/// The workload, if it is there; one that is not this slot's is an error.
async fn find(
    k3s: &K3s,
    id: &InstanceId,
    slot: &Slot,
) -> Result<Option<(Workload, String, Value)>, K3sError> {
    let Some((kind, name)) = Workload::of(id) else { return Ok(None) };
    let Some(found) = k3s.get(kind, name).await? else { return Ok(None) };
    match names::read_instance(&k3s.settings.node, &found) {
        Some((of, _)) if of == *slot => Ok(Some((kind, name.to_owned(), found))),
        _ => Err(K3sError::AnotherSlot(id.clone())),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
