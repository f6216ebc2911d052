//! What counts as a change by somebody else, and what does not.

use super::*;

/// A workload as it was applied.
fn applied() -> Value {
    with_memory(json!({
        "kind": "Deployment", "metadata": { "name": "n", "annotations": {} },
        "spec": {
            "replicas": 0,
            "template": { "spec": {
                "containers": [{
                    "name": "main", "image": "web:1", "args": ["a", "b"], "env": [],
                    "resources": { "limits": {}, "requests": {} },
                    "volumeMounts": [{ "name": "v0", "mountPath": "/a", "readOnly": false }],
                }],
                "volumes": [
                    { "name": "v0", "persistentVolumeClaim": { "claimName": "films" } },
                    { "name": "configmap", "configMap": { "name": "n" } },
                ],
            } },
        },
    }))
}

/// As the API server shows it: what is empty is left out, defaults and other people's are added.
fn live() -> Value {
    let mut live = applied();
    live["spec"]["replicas"] = json!(1);
    live["spec"]["progressDeadlineSeconds"] = json!(600);
    let pod = &mut live["spec"]["template"]["spec"];
    pod["dnsPolicy"] = json!("ClusterFirst");
    let main = &mut pod["containers"][0];
    main["terminationMessagePath"] = json!("/dev/termination-log");
    main.as_object_mut().unwrap().remove("env");
    main["resources"] = json!({});
    main["volumeMounts"][0].as_object_mut().unwrap().remove("readOnly");
    let sidecar = json!({ "name": "mesh", "image": "mesh:1" });
    pod["containers"].as_array_mut().unwrap().insert(0, sidecar);
    live
}

#[test]
fn defaults_and_what_others_add_are_theirs() {
    assert_eq!(altered(&applied()), None);
    assert_eq!(altered(&live()), None);
}

#[test]
fn an_own_field_that_somebody_changed_is_named_with_who_did_it() {
    let altered_by = |change: &dyn Fn(&mut Value)| {
        let mut live = live();
        change(&mut live);
        live["metadata"]["managedFields"] = json!([
            { "manager": "gnomon", "time": "2027-01-03T00:00:00Z", "fieldsV1": { "f:spec": {} } },
            { "manager": "old", "time": "2027-01-01T00:00:00Z", "fieldsV1": { "f:spec": {} } },
            { "manager": "kubectl-edit", "time": "2027-01-02T00:00:00Z", "fieldsV1": { "f:spec": {} } },
            { "manager": "kube-controller-manager", "time": "2027-01-04T00:00:00Z", "fieldsV1": { "f:status": {} } },
        ]);
        altered(&live).unwrap_or_default()
    };
    let image = altered_by(&|live| {
        live["spec"]["template"]["spec"]["containers"][1]["image"] = json!("web:evil");
    });
    assert_eq!(image, "spec.template.spec.containers[main].image was changed by kubectl-edit");
    let args = altered_by(&|live| {
        live["spec"]["template"]["spec"]["containers"][1]["args"] = json!(["a"]);
    });
    assert!(args.starts_with("spec.template.spec.containers[main].args was"), "{args}");
    let scaled = altered_by(&|live| live["spec"]["replicas"] = json!(3));
    assert!(scaled.starts_with("spec.replicas was"), "{scaled}");
    let gone = altered_by(&|live| live["spec"]["template"]["spec"]["volumes"] = json!([]));
    assert!(gone.starts_with("spec.template.spec.volumes[v0] was"), "{gone}");
}

#[test]
fn of_an_object_only_what_is_looked_at_later_is_kept() {
    let mut live = live();
    live["metadata"]["managedFields"] = json!([]);
    live["status"] = json!({ "readyReplicas": 1 });
    let kept = seen(Kind::Deployment, live);
    assert_eq!(kept["spec"], json!({ "replicas": 1 }));
    assert_eq!(kept["metadata"], json!({ "name": "n", "annotations": {} }));
    assert_eq!(kept["status"], json!({ "readyReplicas": 1 }));
    assert_eq!(found(&kept), None);
    let needs: Vec<_> = needed(&kept).collect();
    assert_eq!(needs, [(Kind::Claim, "films"), (Kind::ConfigMap, "n")]);
    let secret =
        json!({ "kind": "Secret", "metadata": { "name": "s" }, "data": { "0": "aHVudGVy" } });
    assert_eq!(seen(Kind::Secret, secret), json!({ "metadata": { "name": "s" } }));
}

#[test]
fn what_was_made_by_an_earlier_version_is_left_alone() {
    let mut live = live();
    live["metadata"]["annotations"] = json!({});
    live["spec"]["template"]["spec"]["containers"] = json!([]);
    assert_eq!(altered(&live), None);
}
