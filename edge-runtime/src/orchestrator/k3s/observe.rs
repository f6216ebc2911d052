//! From workloads and their pods to what the planner sees. Pure; the time is an argument.

use gnomon_schemas::id::NodeName;
use serde_json::Value;

use super::names::{self, Workload};
use crate::reconcile::model::{Health, Instance, InstanceState};

/// What is said when a pod was stopped and nobody saw with which code it ended.
const STOPPED: i64 = 143;
/// The kubelet or the node ended the pod and does not say how.
const LOST: i64 = 255;

/// What a workload is, if it is one of this node; `unix_ms`: the time.
pub(super) fn instance(
    node: &NodeName,
    kind: Workload,
    object: &Value,
    pods: &[Value],
    unix_ms: i64,
) -> Option<Instance> {
    let (slot, service_digest) = names::read_instance(node, object)?;
    let name = text(object, "/metadata/name")?;
    let own = pods.iter().filter(|pod| {
        pod.pointer("/metadata/labels")
            .and_then(|labels| labels.get(names::INSTANCE))
            .and_then(Value::as_str)
            == Some(name)
    });
    let newest = own.max_by_key(|pod| {
        let leaves = pod.pointer("/metadata/deletionTimestamp").is_some();
        (!leaves, text(pod, "/metadata/creationTimestamp").unwrap_or_default().to_owned())
    });
    let image = newest.and_then(|pod| text(pod, "/status/containerStatuses/0/imageID"));
    let image = image.filter(|image| !image.is_empty()).map(Into::into);
    let state = state(kind, object, newest, unix_ms);
    Some(Instance { id: kind.id(name), slot, service_digest, image, state })
}

fn state(kind: Workload, object: &Value, pod: Option<&Value>, unix_ms: i64) -> InstanceState {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return InstanceState::Stuck;
    }
    let asked = names::annotation(object, names::ASKED);
    if let Some(pod) = pod {
        return of_pod(pod, unix_ms);
    }
    match asked {
        None => InstanceState::Created,
        Some("stopped") => InstanceState::Exited { code: STOPPED },
        Some(_) if kind == Workload::Job && is_finished(object) => {
            InstanceState::Exited { code: LOST }
        }
        // Scaled down by hand: to start it again scales it up.
        Some(_) if object.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) => {
            InstanceState::Exited { code: STOPPED }
        }
        Some(_) => InstanceState::Running(Health::Starting),
    }
}

/// Whether a job has ended for good, in whatever way.
pub(super) fn is_finished(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let kind = text(condition, "/type");
        matches!(kind, Some("Complete" | "Failed")) && text(condition, "/status") == Some("True")
    })
}

fn of_pod(pod: &Value, unix_ms: i64) -> InstanceState {
    let container = pod.pointer("/status/containerStatuses/0");
    let at = |path| container.and_then(|container| container.pointer(path));
    if let Some(code) = at("/state/terminated/exitCode").and_then(Value::as_i64) {
        return InstanceState::Exited { code };
    }
    let phase = text(pod, "/status/phase");
    if phase == Some("Failed") {
        return InstanceState::Exited { code: LOST };
    }
    if text(pod, "/status/reason") == Some("NodeLost") || phase == Some("Unknown") {
        return InstanceState::Stuck;
    }
    if at("/state/running").is_some() {
        return InstanceState::Running(health(pod, container, unix_ms));
    }
    let ended = at("/lastState/terminated/exitCode").and_then(Value::as_i64);
    ended.map_or(InstanceState::Running(Health::Starting), |code| InstanceState::Exited { code })
}

fn health(pod: &Value, container: Option<&Value>, unix_ms: i64) -> Health {
    let window = names::annotation(pod, names::WINDOW).and_then(|text| text.parse::<i64>().ok());
    let Some(window) = window else { return Health::Unchecked };
    let ready = container.and_then(|it| it.pointer("/ready")).and_then(Value::as_bool);
    if ready == Some(true) {
        return Health::Healthy;
    }
    let started =
        container.and_then(|it| millis(text(it, "/state/running/startedAt")?)).unwrap_or(unix_ms);
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|it| text(it, "/type") == Some("Ready"));
    let changed = ready.and_then(|it| millis(text(it, "/lastTransitionTime")?)).unwrap_or(started);
    // The condition turned false after the start only if it had been true.
    if changed > started || unix_ms > started.saturating_add(window) {
        Health::Unhealthy
    } else {
        Health::Starting
    }
}

/// Why a pod does not come up, and whether that can pass by itself; `None`: nothing is wrong yet.
pub(super) fn trouble(pod: &Value) -> Option<(String, bool)> {
    let container = pod.pointer("/status/containerStatuses/0");
    let at = |path| container.and_then(|container| text(container, path));
    let terminated = at("/state/terminated/reason").or(at("/lastState/terminated/reason"));
    if let Some(reason @ ("StartError" | "ContainerCannotRun")) = terminated {
        let message = at("/state/terminated/message").or(at("/lastState/terminated/message"));
        return Some((format!("{reason}: {}", message.unwrap_or_default()), false));
    }
    if let Some(reason) = at("/state/waiting/reason") {
        let message = || at("/state/waiting/message").unwrap_or_default();
        return match reason {
            "ErrImagePull" | "ImagePullBackOff" | "CreateContainerConfigError" => {
                Some((format!("{reason}: {}", message()), true))
            }
            "InvalidImageName" | "CreateContainerError" | "RunContainerError" => {
                Some((format!("{reason}: {}", message()), false))
            }
            _ => None,
        };
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let unschedulable = conditions.into_iter().flatten().find(|it| {
        text(it, "/type") == Some("PodScheduled") && text(it, "/reason") == Some("Unschedulable")
    })?;
    Some((
        format!("no node can run it: {}", text(unschedulable, "/message").unwrap_or_default()),
        true,
    ))
}

/// Whether a pod has come so far that its container ran.
pub(super) fn has_begun(pod: &Value) -> bool {
    let state = pod.pointer("/status/containerStatuses/0/state");
    state.is_some_and(|state| state.get("running").is_some() || state.get("terminated").is_some())
}

pub(super) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

fn millis(time: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests;
