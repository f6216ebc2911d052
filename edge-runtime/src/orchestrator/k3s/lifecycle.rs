//! Reads, starts, stops and removes workloads, each looked at again before it is touched. What is
//! waited for is told by the watches.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::mirror::{Cache, Kind};
use super::names::{self, Workload};
use super::{K3s, K3sError, WORK, drift, events, files, manifests, observe, registries};
use crate::reconcile::model::{Instance, InstanceId, InstanceState, Observed, Slot};

/// How long a pod may be without a node before that is believed: a scheduler also says so of a pod
/// whose volume claim it has not seen yet, and tries again at once.
const PLACED: Duration = Duration::from_secs(10);

pub(super) async fn observe(k3s: &K3s) -> Result<Observed, K3sError> {
    let (node, now) = (&k3s.settings.node, now());
    let cache = k3s.mirror().look().await?;
    let read = |kind: Workload, object: &Value| {
        let pods = cache.pods(observe::text(object, "/metadata/name")?);
        let mut instance = observe::instance(node, kind, object, pods, now)?;
        instance.altered = instance.altered.or_else(|| missing(&cache, object));
        Some(instance)
    };
    let of = |kind: Workload| cache.all(kind.followed()).map(move |it| (kind, it));
    let workloads = of(Workload::Deployment).chain(of(Workload::Job));
    let instances = workloads.filter_map(|(kind, object)| read(kind, object));
    let instances = instances.chain(manifests::observe(k3s, &cache, now));
    let instances = instances.map(|it: Instance| (it.id.clone(), it)).collect();
    let mut app_resources: Vec<_> =
        cache.all(Kind::Service).filter_map(|it| names::read_app(node, it)).collect();
    app_resources.sort();
    app_resources.dedup();
    Ok(Observed { instances, app_resources, ..Observed::default() })
}

/// What a workload needs and somebody removed or changed.
fn missing(cache: &Cache, object: &Value) -> Option<Box<str>> {
    drift::needed(object).find_map(|(kind, name)| match cache.get(kind, name) {
        None => Some(format!("{} {name} is gone", kind.name()).into()),
        Some(found) => {
            let what = drift::found(found)?;
            Some(format!("of {} {name} {what}", kind.name()).into())
        }
    })
}

pub(super) async fn start(k3s: &K3s, id: &InstanceId, slot: &Slot) -> Result<(), K3sError> {
    if manifests::is(id) {
        // Its objects run as soon as they are made.
        return Ok(());
    }
    let Some((kind, name, found)) = find(k3s, id, slot).await? else {
        return Err(K3sError::Gone(id.clone()));
    };
    registries::write(k3s).await?;
    let pods = pods(k3s, &name).await?;
    let newest = observe::newest(pods.iter());
    let asked = names::annotation(&found, names::ASKED);
    let waits = asked == Some("started")
        && observe::stalled(kind, &found, newest.map(|pod| &**pod), now()).is_some();
    if waits || state(k3s, kind, &found, &pods).is_some_and(InstanceState::is_running) {
        return until_begun(k3s, kind, &name, slot).await;
    }
    // What has ended makes room: a job cannot run twice, and a pod that crashed is hurried.
    // Its pod ends a while before a job says that it has.
    if kind == Workload::Job && (asked == Some("started") || observe::is_finished(&found)) {
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
    until_begun(k3s, kind, &name, slot).await
}

/// Waits until the container runs, or says why it does not.
async fn until_begun(k3s: &K3s, kind: Workload, name: &str, slot: &Slot) -> Result<(), K3sError> {
    let mut outcome = k3s.mirror().until(WORK, |cache| begun(cache, kind, name)).await?;
    if let Some(Err((reason, _))) = &outcome
        && observe::is_unplaced(reason)
    {
        let other = |cache: &Cache| match begun(cache, kind, name) {
            Some(Err((reason, _))) if observe::is_unplaced(&reason) => None,
            outcome => outcome,
        };
        outcome = k3s.mirror().until(PLACED, other).await?.or(outcome);
    }
    match outcome {
        Some(Ok(())) => Ok(()),
        Some(Err((reason, transient))) if !transient || reason != observe::TAKES_LONG => {
            Err(K3sError::NotStarting { reason, transient })
        }
        Some(Err(_)) | None => {
            let reason = events::why(k3s, name).await?;
            let reason =
                reason.unwrap_or_else(|| format!("no container of {slot} began to run in time"));
            Err(K3sError::NotStarting { reason, transient: true })
        }
    }
}

/// Whether the container of a workload runs, or why it does not and whether that can pass by
/// itself; `None`: nothing is known yet.
fn begun(cache: &Cache, kind: Workload, name: &str) -> Option<Result<(), (String, bool)>> {
    let leaves = |pod: &Value| pod.pointer("/metadata/deletionTimestamp").is_some();
    let pod = observe::newest(cache.pods(name).filter(|pod| !leaves(pod)));
    if pod.is_some_and(|pod| observe::has_begun(pod) && observe::trouble(pod).is_none()) {
        return Some(Ok(()));
    }
    let object = cache.get(kind.followed(), name)?;
    let pod = pod.map(|pod| &**pod);
    let trouble = pod.and_then(observe::trouble);
    trouble.or_else(|| observe::stalled(kind, object, pod, now())).map(Err)
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
    k3s.put(&job, false).await.map(drop)
}

pub(super) async fn stop(
    k3s: &K3s,
    id: &InstanceId,
    slot: &Slot,
    grace: Duration,
) -> Result<(), K3sError> {
    if manifests::is(id) {
        return Box::pin(manifests::stop(k3s, id, slot, grace)).await;
    }
    let Some((kind, name, found)) = find(k3s, id, slot).await? else { return Ok(()) };
    let pods = pods(k3s, &name).await?;
    if !state(k3s, kind, &found, &pods).is_some_and(InstanceState::is_running) {
        return Ok(());
    }
    let asked = |asked: &str| json!({ "annotations": { names::ASKED: asked } });
    let change = match kind {
        Workload::Deployment => json!({ "metadata": asked("stopped"), "spec": { "replicas": 0 } }),
        Workload::Job => json!({ "metadata": asked("stopped"), "spec": { "suspend": true } }),
    };
    k3s.change(kind, &name, &change).await?;
    delete_pods(k3s, &pods, grace.as_millis().div_ceil(1000)).await?;
    let gone = k3s.mirror().until(grace + WORK, |cache| {
        (cache.pods(&name).next().is_none()).then(|| cache.ended(&name))
    });
    let ended = gone.await?.ok_or_else(|| K3sError::NotStopping(id.clone()))?;
    // The pod has taken its exit code with it.
    if let Some(code) = ended {
        let change = json!({ "metadata": asked(&format!("stopped {code}")) });
        k3s.change(kind, &name, &change).await?;
    }
    Ok(())
}

pub(super) async fn remove(k3s: &K3s, id: &InstanceId, slot: &Slot) -> Result<(), K3sError> {
    if manifests::is(id) {
        return manifests::remove(k3s, id, slot).await;
    }
    let Some((kind, name, found)) = find(k3s, id, slot).await? else { return Ok(()) };
    let pods = pods(k3s, &name).await?;
    if state(k3s, kind, &found, &pods).is_some_and(InstanceState::is_running) {
        return Err(K3sError::StillRuns(id.clone()));
    }
    // First, so that it is done again if it is broken off here.
    files::remove_lonely_service(k3s, slot, &name).await?;
    k3s.delete(kind.api_version(), kind.kind(), &name, &DeleteParams::foreground()).await?;
    until_gone(k3s, kind, &name).await
}

async fn until_gone(k3s: &K3s, kind: Workload, name: &str) -> Result<(), K3sError> {
    let gone = k3s.mirror().until(WORK, |cache| {
        let is_gone = cache.get(kind.followed(), name).is_none();
        (is_gone && cache.pods(name).next().is_none()).then_some(())
    });
    gone.await?.ok_or_else(|| K3sError::NotStopping(kind.id(name)))
}

async fn delete_pods(k3s: &K3s, pods: &[Arc<Value>], grace: u128) -> Result<(), K3sError> {
    let grace = u32::try_from(grace).unwrap_or(u32::MAX);
    let params = DeleteParams { grace_period_seconds: Some(grace), ..DeleteParams::default() };
    for name in pods.iter().filter_map(|pod| observe::text(pod, "/metadata/name")) {
        k3s.delete("v1", "Pod", name, &params).await?;
    }
    Ok(())
}

async fn pods(k3s: &K3s, name: &str) -> Result<Vec<Arc<Value>>, K3sError> {
    let cache = k3s.mirror().look().await?;
    Ok(cache.pods(name).cloned().collect())
}

fn state(k3s: &K3s, kind: Workload, found: &Value, pods: &[Arc<Value>]) -> Option<InstanceState> {
    observe::instance(&k3s.settings.node, kind, found, pods.iter(), now()).map(|it| it.state)
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
