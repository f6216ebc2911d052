//! From workloads and their pods to what the planner sees. Pure; the time is an argument.

use gnomon_schemas::id::NodeName;
use serde_json::Value;

use super::drift;
use super::names::{self, Workload};
use crate::reconcile::model::{Health, Instance, InstanceState};

/// What is said when a pod was stopped and nobody saw with which code it ended.
const STOPPED: i64 = 143;
/// The kubelet or the node ended the pod and does not say how.
const LOST: i64 = 255;
/// Said of a pod of which nothing else can be said.
pub(super) const TAKES_LONG: &str = "it takes long";
/// Begins what is said of a pod that no node takes.
const UNPLACED: &str = "no node can run it";
/// A pod that has not begun after so long, in milliseconds, does not begin by itself.
const LATE: i64 = 5 * 60 * 1000;

/// What a workload is, if it is one of this node; `unix_ms`: the time.
pub(super) fn instance(
    node: &NodeName,
    kind: Workload,
    object: &Value,
    pods: impl Iterator<Item = impl AsRef<Value>>,
    unix_ms: i64,
) -> Option<Instance> {
    let (slot, service_digest) = names::read_instance(node, object)?;
    let name = text(object, "/metadata/name")?;
    let speaker = newest(pods);
    let pod = speaker.as_ref().map(AsRef::as_ref);
    let image = pod.and_then(|pod| text(pod, "/status/containerStatuses/0/imageID"));
    let image = image.filter(|image| !image.is_empty()).map(Into::into);
    let state = state(kind, object, pod, unix_ms);
    let ended = ["/state/terminated/reason", "/lastState/terminated/reason"]
        .iter()
        .find_map(|at| text(pod?.pointer("/status/containerStatuses/0")?, at));
    let ended = ended.or_else(|| text(pod?, "/status/reason"));
    let lost = pod.filter(|pod| is_out_of_reach(pod)).map(|_| "its node does not answer");
    let remark =
        lost.or(ended.filter(|why| !matches!(*why, "Completed" | "Error"))).map(Into::into);
    let altered = drift::found(object).map(Into::into);
    Some(Instance { id: kind.id(name), slot, service_digest, image, state, note: remark, altered })
}

/// The pod that speaks for a workload.
pub(super) fn newest<T: AsRef<Value>>(pods: impl Iterator<Item = T>) -> Option<T> {
    pods.max_by_key(|pod| {
        let pod = pod.as_ref();
        let leaves = pod.pointer("/metadata/deletionTimestamp").is_some();
        (!leaves, text(pod, "/metadata/creationTimestamp").unwrap_or_default().to_owned())
    })
}

fn state(kind: Workload, object: &Value, pod: Option<&Value>, unix_ms: i64) -> InstanceState {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return InstanceState::Stuck;
    }
    let asked = names::annotation(object, names::ASKED);
    if asked.is_none() {
        // A pod that is there is one of a workload of the same name that was deleted.
        return InstanceState::Created;
    }
    if asked == Some("started") && stalled(kind, object, pod, unix_ms).is_some() {
        // It is started again, and says why it does not start.
        return InstanceState::Created;
    }
    if let Some(pod) = pod {
        return of_pod(pod, unix_ms);
    }
    match asked {
        Some(asked) if asked.starts_with("stopped") => {
            let code = asked.split_once(' ').and_then(|(_, code)| code.parse().ok());
            InstanceState::Exited { code: code.unwrap_or(STOPPED) }
        }
        Some(_) if kind == Workload::Job && is_finished(object) => {
            InstanceState::Exited { code: LOST }
        }
        // Scaled down by hand: to start it again scales it up.
        Some(_) if object.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) => {
            InstanceState::Exited { code: STOPPED }
        }
        Some(_) | None => InstanceState::Running(Health::Starting),
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
    if at("/state/running").is_some() && is_out_of_reach(pod) {
        // Whether it still runs nobody can tell; the cluster moves it or its node comes back.
        return InstanceState::Running(Health::Starting);
    }
    if at("/state/running").is_some() {
        return InstanceState::Running(health(pod, container, unix_ms));
    }
    let ended = at("/lastState/terminated/exitCode").and_then(Value::as_i64);
    ended.map_or(InstanceState::Running(Health::Starting), |code| InstanceState::Exited { code })
}

/// Whether the cluster has lost the node of a pod: it takes readiness from the pod, which only the
/// kubelet can take from its container.
fn is_out_of_reach(pod: &Value) -> bool {
    let container = pod.pointer("/status/containerStatuses/0/ready").and_then(Value::as_bool);
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let mut ready =
        conditions.into_iter().flatten().filter(|it| text(it, "/type") == Some("Ready"));
    container == Some(true) && ready.any(|it| text(it, "/status") == Some("False"))
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

/// Why what was started has not begun to run and does not seem to, and whether that can pass by
/// itself; `None`: it runs, or nothing speaks against it yet.
pub(super) fn stalled(
    kind: Workload,
    object: &Value,
    pod: Option<&Value>,
    unix_ms: i64,
) -> Option<(String, bool)> {
    let late = |since: Option<&str>| {
        let since = since.and_then(millis)?;
        (unix_ms > since.saturating_add(LATE)).then(|| (TAKES_LONG.to_owned(), true))
    };
    if let Some(pod) = pod {
        let ran = has_begun(pod)
            || pod.pointer("/status/containerStatuses/0/lastState/terminated").is_some();
        if ran || text(pod, "/status/phase").is_some_and(|it| it != "Pending") {
            return None;
        }
        return trouble(pod).or_else(|| late(text(pod, "/metadata/creationTimestamp")));
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let refused = conditions.into_iter().flatten().find(|it| {
        text(it, "/type") == Some("ReplicaFailure") && text(it, "/status") == Some("True")
    });
    if let Some(refused) = refused {
        let reason = format!("no pod is made: {}", text(refused, "/message").unwrap_or_default());
        return Some((reason, true));
    }
    let since = text(object, "/status/startTime");
    late(since).filter(|_| kind == Workload::Job && !is_finished(object))
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
            "ErrImagePull" | "ImagePullBackOff" => {
                // One text for both, which alternate: a report must not change while nothing does.
                let message = message().rsplit("ErrImagePull: ").next().unwrap_or_default();
                Some((format!("ErrImagePull: {message}"), true))
            }
            "CreateContainerConfigError" => Some((format!("{reason}: {}", message()), true)),
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
    let message = text(unschedulable, "/message").unwrap_or_default();
    Some((format!("{UNPLACED}: {message}"), true))
}

/// Whether a trouble is that no node takes the pod.
pub(super) fn is_unplaced(reason: &str) -> bool {
    reason.starts_with(UNPLACED)
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
