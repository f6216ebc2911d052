//! Whether an object has become what it says, by the rules of kstatus, which Flux and `kubectl` plug-ins
//! know: those of a few kinds, and for all others the generation seen and the usual conditions. Pure.

use serde_json::Value;

use crate::orchestrator::k3s::observe::text;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// As it says.
    Current,
    /// On the way, and what is missing.
    InProgress(String),
    /// It does not get there by itself, and why.
    Failed(String),
}

use Status::{Current, Failed, InProgress};

/// The status of an object; of one whose content is not known, `Current`.
pub(super) fn of(object: &Value) -> Status {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return InProgress("it is being deleted".to_owned());
    }
    generic(object).or_else(|| of_kind(object)).unwrap_or_else(|| ready(object))
}

/// What holds for every kind that follows the conventions.
fn generic(object: &Value) -> Option<Status> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if let (Some(generation), Some(observed)) = (generation, observed)
        && observed < generation
    {
        return Some(InProgress("its controller has not seen the change yet".to_owned()));
    }
    if let Some(condition) = is_true(object, "Reconciling") {
        return Some(InProgress(said(condition)));
    }
    is_true(object, "Stalled").map(|condition| Failed(said(condition)))
}

fn of_kind(object: &Value) -> Option<Status> {
    let api_version = text(object, "/apiVersion").unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")?) {
        ("apps", "Deployment") => Some(deployment(object)),
        ("apps", "StatefulSet") => Some(stateful_set(object)),
        ("apps", "DaemonSet") => Some(daemon_set(object)),
        ("apps", "ReplicaSet") => Some(replica_set(object)),
        ("batch", "Job") => Some(job(object)),
        ("", "Pod") => Some(pod(object)),
        ("", "PersistentVolumeClaim") => Some(claim(object)),
        ("", "Service") => Some(service(object)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(definition(object)),
        ("batch", "CronJob") | ("", "ConfigMap" | "Secret") => Some(Current),
        _ => None,
    }
}

fn ready(object: &Value) -> Status {
    match condition(object, "Ready") {
        Some(ready) if text(ready, "/status") != Some("True") => InProgress(said(ready)),
        Some(_) | None => Current,
    }
}

fn deployment(object: &Value) -> Status {
    let late = condition(object, "Progressing")
        .filter(|it| text(it, "/reason") == Some("ProgressDeadlineExceeded"));
    if let Some(late) = late {
        return Failed(said(late));
    }
    if observed(object).is_none() {
        return InProgress("its controller has not seen it yet".to_owned());
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let [all, updated, available, ready] =
        ["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"]
            .map(|it| count(object, it));
    if let Some(failed) = is_true(object, "ReplicaFailure") {
        return InProgress(said(failed));
    }
    if updated < wanted {
        return InProgress(format!("{updated} of {wanted} pods are of the new revision"));
    }
    if all > wanted {
        return InProgress(format!("{} pods of before still end", all - wanted));
    }
    if ready < wanted || available < wanted {
        return InProgress(format!("{} of {wanted} pods are ready", ready.min(available)));
    }
    let is_out = condition(object, "Progressing")
        .is_none_or(|it| text(it, "/reason") == Some("NewReplicaSetAvailable"));
    if is_out { Current } else { InProgress("it is being rolled out".to_owned()) }
}

fn stateful_set(object: &Value) -> Status {
    if text(object, "/spec/updateStrategy/type") == Some("OnDelete") {
        return Current;
    }
    if observed(object).is_none() {
        return InProgress("its controller has not seen it yet".to_owned());
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let [all, updated, ready] =
        ["replicas", "updatedReplicas", "readyReplicas"].map(|it| count(object, it));
    if all > wanted {
        return InProgress(format!("{} pods of before still end", all - wanted));
    }
    if ready < wanted {
        return InProgress(format!("{ready} of {wanted} pods are ready"));
    }
    let kept = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let due = (wanted - kept).max(0);
    let is_whole = kept > 0
        || text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if updated < due && !(is_whole && kept == 0) {
        return InProgress(format!("{updated} of {due} pods are of the new revision"));
    }
    if is_whole { Current } else { InProgress("its pods are being replaced".to_owned()) }
}

fn daemon_set(object: &Value) -> Status {
    if observed(object).is_none() {
        return InProgress("its controller has not seen it yet".to_owned());
    }
    let wanted = count(object, "desiredNumberScheduled");
    let parts = [
        ("currentNumberScheduled", "have a pod"),
        ("updatedNumberScheduled", "have a pod of the new revision"),
        ("numberAvailable", "have a pod that is available"),
        ("numberReady", "have a pod that is ready"),
    ];
    let short = parts.into_iter().find(|(part, _)| count(object, part) < wanted);
    short.map_or(Current, |(part, what)| {
        InProgress(format!("{} of {wanted} nodes {what}", count(object, part)))
    })
}

fn replica_set(object: &Value) -> Status {
    if let Some(failed) = is_true(object, "ReplicaFailure") {
        return InProgress(said(failed));
    }
    let (wanted, ready) =
        (number(object, "/spec/replicas").unwrap_or(1), count(object, "readyReplicas"));
    let all = count(object, "replicas");
    if ready < wanted || all > wanted {
        return InProgress(format!("{ready} of {wanted} pods are ready"));
    }
    Current
}

fn job(object: &Value) -> Status {
    if let Some(failed) = is_true(object, "Failed") {
        return Failed(said(failed));
    }
    let is_suspended = object.pointer("/spec/suspend") == Some(&Value::Bool(true));
    let has_begun = text(object, "/status/startTime").is_some();
    if has_begun || is_suspended || is_true(object, "Complete").is_some() {
        return Current;
    }
    InProgress("it has not begun".to_owned())
}

fn pod(object: &Value) -> Status {
    let waits = |what: &str| {
        let all = object.pointer("/status/containerStatuses").and_then(Value::as_array);
        let mut waiting = all.into_iter().flatten().filter_map(|it| it.pointer("/state/waiting"));
        waiting.find(|it| text(it, "/reason") == Some(what)).map(said)
    };
    match text(object, "/status/phase") {
        Some("Succeeded") => Current,
        Some("Failed") => {
            Failed(text(object, "/status/message").unwrap_or("a container failed").to_owned())
        }
        Some("Running") => match waits("CrashLoopBackOff") {
            Some(why) => Failed(why),
            None if is_true(object, "Ready").is_some() => Current,
            None => InProgress("it is not ready".to_owned()),
        },
        _ => {
            let placed = condition(object, "PodScheduled");
            let placed = placed.filter(|it| text(it, "/status") == Some("False"));
            let why = placed.map(said).or_else(|| waits("ImagePullBackOff"));
            InProgress(why.unwrap_or_else(|| "it has not begun".to_owned()))
        }
    }
}

fn claim(object: &Value) -> Status {
    match text(object, "/status/phase") {
        Some("Bound") => Current,
        Some("Lost") => Failed("its volume is lost".to_owned()),
        _ => InProgress("it has no volume yet".to_owned()),
    }
}

fn service(object: &Value) -> Status {
    let is_balancer = text(object, "/spec/type") == Some("LoadBalancer");
    let has_address = text(object, "/spec/clusterIP").is_some_and(|it| !it.is_empty());
    if is_balancer && !has_address {
        InProgress("it has no address yet".to_owned())
    } else {
        Current
    }
}

fn definition(object: &Value) -> Status {
    let named = condition(object, "NamesAccepted");
    if let Some(refused) = named.filter(|it| text(it, "/status") == Some("False")) {
        return Failed(said(refused));
    }
    match condition(object, "Established") {
        Some(it) if text(it, "/status") == Some("True") => Current,
        Some(it) if text(it, "/reason") != Some("Installing") => Failed(said(it)),
        Some(_) | None => InProgress("it is not established yet".to_owned()),
    }
}

fn observed(object: &Value) -> Option<i64> {
    number(object, "/status/observedGeneration")
}

fn count(object: &Value, part: &str) -> i64 {
    object.get("status").and_then(|it| it.get(part)).and_then(Value::as_i64).unwrap_or(0)
}

fn number(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path).and_then(Value::as_i64)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    all.into_iter().flatten().find(|it| text(it, "/type") == Some(kind))
}

fn is_true<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    condition(object, kind).filter(|it| text(it, "/status") == Some("True"))
}

/// What a condition says, in its own words.
fn said(condition: &Value) -> String {
    let part = |path| text(condition, path).filter(|it| !it.is_empty());
    match (part("/reason"), part("/message")) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => text(condition, "/type").unwrap_or("it is not well").to_owned(),
    }
}

#[cfg(test)]
mod tests;
