//! What each state of workload and pod means.

use gnomon_schemas::app::Revision;
use serde_json::json;

use super::*;
use crate::reconcile::model::Slot;

const NOW: i64 = 1_800_000_000_000;

fn seen(kind: Workload, asked: Option<&str>, status: Option<Value>) -> InstanceState {
    let node: NodeName = "site".parse().unwrap();
    let slot = Slot { app: "shop".parse().unwrap(), service: "web".parse().unwrap(), replica: 0 };
    let mut annotations = names::about(&node, &slot, Revision::from_bytes([1; 16]));
    if let Some(asked) = asked {
        annotations[names::ASKED] = json!(asked);
    }
    let object = json!({ "metadata": { "name": "n", "annotations": annotations }, "spec": {} });
    let pods: Vec<_> = status
        .map(|status| {
            json!({
                "metadata": {
                    "labels": { names::INSTANCE: "n" }, "annotations": { names::WINDOW: "5000" },
                    "creationTimestamp": "2027-01-15T08:00:00Z",
                },
                "status": status,
            })
        })
        .into_iter()
        .collect();
    instance(&node, kind, &object, pods.into_iter().map(std::sync::Arc::new), NOW).unwrap().state
}

fn container(state: &Value, ready: bool) -> Value {
    json!({ "phase": "Running", "containerStatuses": [{ "ready": ready, "state": state }] })
}

#[test]
fn what_was_asked_speaks_where_there_is_no_pod() {
    let state = |asked| seen(Workload::Job, asked, None);
    assert_eq!(state(None), InstanceState::Created);
    let left = container(&json!({ "running": {} }), true);
    let seen = seen(Workload::Deployment, None, Some(left));
    assert_eq!(seen, InstanceState::Created, "the pod is of an earlier one of this name");
    assert_eq!(state(Some("started")), InstanceState::Running(Health::Starting));
    assert_eq!(state(Some("stopped")), InstanceState::Exited { code: 143 });
}

#[test]
fn the_pod_speaks_where_there_is_one() {
    let state = |status| seen(Workload::Deployment, Some("started"), status);
    let ended = json!({ "terminated": { "exitCode": 7 } });
    assert_eq!(state(Some(container(&ended, false))), InstanceState::Exited { code: 7 });
    let evicted = Some(json!({ "phase": "Failed", "reason": "Evicted" }));
    assert_eq!(state(evicted), InstanceState::Exited { code: 255 });
    let crashed = Some(json!({ "phase": "Running", "containerStatuses": [{
        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "exitCode": 3 } },
    }] }));
    assert_eq!(state(crashed), InstanceState::Exited { code: 3 });
    let waits = Some(json!({ "phase": "Pending" }));
    assert_eq!(state(waits), InstanceState::Running(Health::Starting));
}

#[test]
fn a_check_that_fails_is_forgiven_only_at_the_start() {
    let health = |started: &str, changed: &str, ready| {
        let mut status = container(&json!({ "running": { "startedAt": started } }), ready);
        status["conditions"] = json!([{ "type": "Ready", "lastTransitionTime": changed }]);
        match seen(Workload::Job, Some("started"), Some(status)) {
            InstanceState::Running(health) => health,
            other @ (InstanceState::Created
            | InstanceState::Exited { .. }
            | InstanceState::Stuck) => panic!("{other:?}"),
        }
    };
    let (soon, long) = ("2027-01-15T07:59:57Z", "2027-01-15T07:59:00Z");
    assert_eq!(health(soon, soon, false), Health::Starting);
    assert_eq!(health(long, long, false), Health::Unhealthy);
    assert_eq!(health(long, long, true), Health::Healthy);
    assert_eq!(health(long, soon, false), Health::Unhealthy);
}

#[test]
fn why_a_pod_does_not_start_is_said() {
    let why =
        |state: Value| trouble(&json!({ "status": { "containerStatuses": [{ "state": state }] } }));
    let waiting =
        |reason: &str| json!({ "waiting": { "reason": reason, "message": "no such thing" } });
    let unfetched = Some(("ErrImagePull: no such thing".to_owned(), true));
    assert_eq!(why(waiting("ErrImagePull")), unfetched);
    let mut later = waiting("ImagePullBackOff");
    later["waiting"]["message"] =
        json!("Back-off pulling image \"w\": ErrImagePull: no such thing");
    assert_eq!(why(later), unfetched, "one text for what alternates");
    assert!(!why(waiting("RunContainerError")).unwrap().1);
    assert_eq!(why(waiting("ContainerCreating")), None);
    let unschedulable = json!({ "status": { "conditions": [{
        "type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes are available" }] } });
    assert!(trouble(&unschedulable).unwrap().0.contains("0/1 nodes"));
}

#[test]
fn what_was_started_and_cannot_begin_is_started_again_and_what_only_takes_its_time_is_not() {
    let state = |status| seen(Workload::Deployment, Some("started"), Some(status));
    let waiting = |reason: &str| {
        let waiting = json!({ "waiting": { "reason": reason, "message": "no" } });
        json!({ "phase": "Pending", "containerStatuses": [{ "state": waiting }] })
    };
    assert_eq!(state(waiting("ImagePullBackOff")), InstanceState::Created);
    // The pod of these tests was made at the time that it is now, or an hour before.
    assert_eq!(state(waiting("ContainerCreating")), InstanceState::Running(Health::Starting));
    let pod = json!({
        "metadata": { "creationTimestamp": "2027-01-15T07:00:00Z" },
        "status": waiting("ContainerCreating"),
    });
    let late = stalled(Workload::Deployment, &json!({}), Some(&pod), NOW);
    assert_eq!(late, Some((TAKES_LONG.to_owned(), true)));
    let quota = json!({ "status": { "conditions": [{
        "type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small" }] } });
    let refused = stalled(Workload::Deployment, &quota, None, NOW).unwrap().0;
    assert!(refused.contains("exceeded quota"), "{refused}");
    assert_eq!(stalled(Workload::Deployment, &json!({}), None, NOW), None);
}

#[test]
fn how_a_container_ended_is_told_beside_its_code() {
    let ended = |reason: &str| {
        let pod = std::sync::Arc::new(json!({ "status": { "containerStatuses": [{
            "state": { "terminated": { "exitCode": 137, "reason": reason } } }] } }));
        let node: NodeName = "site".parse().unwrap();
        let slot = Slot { app: "a".parse().unwrap(), service: "s".parse().unwrap(), replica: 0 };
        let annotations = names::about(&node, &slot, Revision::from_bytes([1; 16]));
        let object = json!({ "metadata": { "name": "n", "annotations": annotations } });
        instance(&node, Workload::Job, &object, [pod].into_iter(), NOW).unwrap().note
    };
    assert_eq!(ended("OOMKilled").as_deref(), Some("OOMKilled"));
    assert_eq!(ended("Error"), None);
}

#[test]
fn of_a_pod_whose_node_is_lost_it_is_not_known_that_it_runs() {
    let state = |status| seen(Workload::Deployment, Some("started"), Some(status));
    let mut status =
        container(&json!({ "running": { "startedAt": "2027-01-15T08:00:00Z" } }), true);
    status["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    assert_eq!(state(status.clone()), InstanceState::Running(Health::Healthy));
    status["conditions"][0]["status"] = json!("False");
    assert_eq!(state(status), InstanceState::Running(Health::Starting));
}

#[test]
fn what_is_told_also_of_a_pod_that_begins_a_moment_later_is_not_believed_at_once() {
    let waiting = |reason: &str| {
        let pod = json!({ "status": { "containerStatuses": [{
            "state": { "waiting": { "reason": reason, "message": "no" } } }] } });
        may_pass(&trouble(&pod).unwrap().0)
    };
    assert!(waiting("CreateContainerConfigError"), "a kubelet that has not seen a file yet");
    assert!(!waiting("ErrImagePull") && !waiting("InvalidImageName"));
    let unschedulable = json!({ "status": { "conditions": [{ "type": "PodScheduled",
        "reason": "Unschedulable", "message": "pod has unbound immediate PersistentVolumeClaims" }] } });
    assert!(may_pass(&trouble(&unschedulable).unwrap().0), "a scheduler that has not seen a claim");
    let unmade = json!({ "status": { "conditions": [{ "type": "ReplicaFailure", "status": "True",
        "message": "serviceaccount \"default\" not found" }] } });
    assert!(may_pass(&stalled(Workload::Deployment, &unmade, None, NOW).unwrap().0));
    assert!(!may_pass(TAKES_LONG));
}

#[test]
fn a_workload_is_stopped_when_its_controller_has_seen_it() {
    let deployment = |generation: i64, status: Value| {
        let object = json!({ "metadata": { "generation": generation }, "status": status });
        is_heeded(Workload::Deployment, &object)
    };
    assert!(!deployment(2, json!({ "observedGeneration": 1 })));
    assert!(!deployment(2, json!({ "observedGeneration": 2, "replicas": 1 })));
    assert!(deployment(2, json!({ "observedGeneration": 2 })));
    let job = |condition: &str| {
        let conditions = [json!({ "type": condition, "status": "True" })];
        is_heeded(Workload::Job, &json!({ "status": { "conditions": conditions } }))
    };
    assert!(job("Suspended") && job("Complete") && job("Failed"));
    assert!(!job("FailureTarget") && !is_heeded(Workload::Job, &json!({})));
}
