//! A table: what a cluster shows, and what that means.

use serde_json::json;

use super::*;

fn object(api_version: &str, kind: &str, spec: &Value, status: &Value) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "generation": 2 },
        "spec": spec, "status": status })
}

fn conditions(all: &[(&str, &str, &str)]) -> Value {
    all.iter()
        .map(|(kind, status, reason)| {
            json!({ "type": kind, "status": status, "reason": reason, "message": "so" })
        })
        .collect()
}

fn says(object: &Value) -> String {
    match of(object) {
        Current => "current".to_owned(),
        InProgress(what) => format!("in progress: {what}"),
        Failed(what) => format!("failed: {what}"),
    }
}

#[track_caller]
fn check(api_version: &str, kind: &str, table: &[(Value, Value, &str)]) {
    for (spec, status, expected) in table {
        let object = object(api_version, kind, spec, status);
        assert_eq!(says(&object), *expected, "{object}");
    }
}

#[test]
fn any_kind_is_judged_by_its_generation_and_conditions() {
    let of = |all: &[(&str, &str, &str)]| json!({ "observedGeneration": 2, "conditions": conditions(all) });
    check(
        "example.com/v1",
        "Pump",
        &[
            (json!({}), json!({}), "current"),
            (
                json!({}),
                json!({ "observedGeneration": 1 }),
                "in progress: its controller has not seen the change yet",
            ),
            (json!({}), of(&[("Ready", "True", "Ok")]), "current"),
            (json!({}), of(&[("Ready", "False", "Dry")]), "in progress: Dry: so"),
            (json!({}), of(&[("Ready", "Unknown", "")]), "in progress: so"),
            (
                json!({}),
                of(&[("Reconciling", "True", "Busy"), ("Ready", "True", "")]),
                "in progress: Busy: so",
            ),
            (json!({}), of(&[("Stalled", "True", "Broken")]), "failed: Broken: so"),
            (json!({}), of(&[("Stalled", "False", "")]), "current"),
        ],
    );
    let mut leaving = object("v1", "Namespace", &json!({}), &json!({ "phase": "Active" }));
    assert_eq!(says(&leaving), "current");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(says(&leaving), "in progress: it is being deleted");
}

#[test]
fn a_deployment_is_current_when_all_its_pods_are_new_and_available() {
    let counts = |all: u8, updated: u8, ready: u8, available: u8| {
        json!({ "observedGeneration": 2, "replicas": all, "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": available })
    };
    let two = json!({ "replicas": 2 });
    let mut late = counts(2, 2, 0, 0);
    late["conditions"] = conditions(&[("Progressing", "False", "ProgressDeadlineExceeded")]);
    let mut rolling = counts(2, 2, 2, 2);
    rolling["conditions"] = conditions(&[("Progressing", "True", "ReplicaSetUpdated")]);
    let mut quota = counts(0, 0, 0, 0);
    quota["conditions"] = conditions(&[("ReplicaFailure", "True", "FailedCreate")]);
    check(
        "apps/v1",
        "Deployment",
        &[
            (two.clone(), json!({}), "in progress: its controller has not seen it yet"),
            (two.clone(), counts(1, 1, 0, 0), "in progress: 1 of 2 pods are of the new revision"),
            (two.clone(), counts(3, 2, 2, 2), "in progress: 1 pods of before still end"),
            (two.clone(), counts(2, 2, 1, 1), "in progress: 1 of 2 pods are ready"),
            (two.clone(), counts(2, 2, 2, 1), "in progress: 1 of 2 pods are ready"),
            (two.clone(), counts(2, 2, 2, 2), "current"),
            (json!({ "replicas": 0 }), counts(0, 0, 0, 0), "current"),
            (two.clone(), rolling, "in progress: it is being rolled out"),
            (two.clone(), quota, "in progress: FailedCreate: so"),
            (two, late, "failed: ProgressDeadlineExceeded: so"),
        ],
    );
}

#[test]
fn sets_of_pods_are_current_when_every_pod_is() {
    let set = |all: u8, updated: u8, ready: u8, revisions: [&str; 2]| {
        json!({ "observedGeneration": 2, "replicas": all, "updatedReplicas": updated, "readyReplicas": ready,
            "currentRevision": revisions[0], "updateRevision": revisions[1] })
    };
    let two = json!({ "replicas": 2 });
    let part = json!({ "replicas": 3, "updateStrategy": { "rollingUpdate": { "partition": 2 } } });
    check(
        "apps/v1",
        "StatefulSet",
        &[
            (two.clone(), json!({}), "in progress: its controller has not seen it yet"),
            (two.clone(), set(1, 1, 1, ["b", "b"]), "in progress: 1 of 2 pods are ready"),
            (two.clone(), set(3, 2, 2, ["b", "b"]), "in progress: 1 pods of before still end"),
            (
                two.clone(),
                set(2, 1, 2, ["a", "b"]),
                "in progress: 1 of 2 pods are of the new revision",
            ),
            (two.clone(), set(2, 2, 2, ["a", "b"]), "in progress: its pods are being replaced"),
            (two, set(2, 2, 2, ["b", "b"]), "current"),
            (
                part.clone(),
                set(3, 0, 3, ["a", "b"]),
                "in progress: 0 of 1 pods are of the new revision",
            ),
            (part, set(3, 1, 3, ["a", "b"]), "current"),
            (json!({ "updateStrategy": { "type": "OnDelete" } }), json!({}), "current"),
        ],
    );
    let daemons = |wanted: u8, current: u8, ready: u8| {
        json!({ "observedGeneration": 2, "desiredNumberScheduled": wanted, "numberReady": ready,
            "currentNumberScheduled": current, "updatedNumberScheduled": current, "numberAvailable": current })
    };
    check(
        "apps/v1",
        "DaemonSet",
        &[
            (json!({}), json!({}), "in progress: its controller has not seen it yet"),
            (json!({}), daemons(2, 1, 1), "in progress: 1 of 2 nodes have a pod"),
            (json!({}), daemons(2, 2, 1), "in progress: 1 of 2 nodes have a pod that is ready"),
            (json!({}), daemons(2, 2, 2), "current"),
            (json!({}), daemons(0, 0, 0), "current"),
        ],
    );
    check(
        "apps/v1",
        "ReplicaSet",
        &[
            (
                json!({ "replicas": 2 }),
                json!({ "replicas": 2, "readyReplicas": 1 }),
                "in progress: 1 of 2 pods are ready",
            ),
            (json!({ "replicas": 2 }), json!({ "replicas": 2, "readyReplicas": 2 }), "current"),
        ],
    );
}

#[test]
fn pods_and_jobs_are_judged_by_how_they_run_and_end() {
    let waiting = |phase: &str, reason: &str| json!({ "phase": phase, "containerStatuses": [{ "state": { "waiting": { "reason": reason, "message": "so" } } }] });
    check(
        "v1",
        "Pod",
        &[
            (json!({}), json!({}), "in progress: it has not begun"),
            (json!({}), json!({ "phase": "Succeeded" }), "current"),
            (json!({}), json!({ "phase": "Failed", "message": "evicted" }), "failed: evicted"),
            (
                json!({}),
                json!({ "phase": "Running", "conditions": conditions(&[("Ready", "True", "")]) }),
                "current",
            ),
            (json!({}), json!({ "phase": "Running" }), "in progress: it is not ready"),
            (json!({}), waiting("Running", "CrashLoopBackOff"), "failed: CrashLoopBackOff: so"),
            (
                json!({}),
                waiting("Pending", "ImagePullBackOff"),
                "in progress: ImagePullBackOff: so",
            ),
            (
                json!({}),
                json!({ "phase": "Pending", "conditions": conditions(&[("PodScheduled", "False", "Unschedulable")]) }),
                "in progress: Unschedulable: so",
            ),
        ],
    );
    check(
        "batch/v1",
        "Job",
        &[
            (json!({}), json!({}), "in progress: it has not begun"),
            (json!({ "suspend": true }), json!({}), "current"),
            (json!({}), json!({ "startTime": "2026-01-01T00:00:00Z", "active": 1 }), "current"),
            (
                json!({}),
                json!({ "conditions": conditions(&[("Complete", "True", "")]) }),
                "current",
            ),
            (
                json!({}),
                json!({ "conditions": conditions(&[("Failed", "True", "BackoffLimitExceeded")]) }),
                "failed: BackoffLimitExceeded: so",
            ),
        ],
    );
    check("batch/v1", "CronJob", &[(json!({}), json!({}), "current")]);
}

#[test]
fn claims_services_and_definitions_have_rules_of_their_own() {
    check(
        "v1",
        "PersistentVolumeClaim",
        &[
            (json!({}), json!({ "phase": "Pending" }), "in progress: it has no volume yet"),
            (json!({}), json!({ "phase": "Bound" }), "current"),
            (json!({}), json!({ "phase": "Lost" }), "failed: its volume is lost"),
        ],
    );
    check(
        "v1",
        "Service",
        &[
            (json!({ "clusterIP": "10.0.0.1" }), json!({}), "current"),
            (json!({ "type": "LoadBalancer" }), json!({}), "in progress: it has no address yet"),
            (json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1" }), json!({}), "current"),
        ],
    );
    let of = |all: &[(&str, &str, &str)]| json!({ "conditions": conditions(all) });
    check(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &[
            (json!({}), json!({}), "in progress: it is not established yet"),
            (
                json!({}),
                of(&[("Established", "False", "Installing")]),
                "in progress: it is not established yet",
            ),
            (
                json!({}),
                of(&[("NamesAccepted", "True", ""), ("Established", "True", "")]),
                "current",
            ),
            (json!({}), of(&[("NamesAccepted", "False", "Conflict")]), "failed: Conflict: so"),
            (json!({}), of(&[("Established", "False", "NotAccepted")]), "failed: NotAccepted: so"),
        ],
    );
    check("v1", "ConfigMap", &[(json!({}), json!({}), "current")]);
}
