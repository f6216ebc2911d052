//! What becomes of an app.

use super::*;

fn made(service: &Value) -> Result<Objects, String> {
    let app = json!({
        "services": { "web": service }, "volumes": { "data": {} },
        "configs": { "conf": { "content": "a = b" } }, "secrets": { "key": { "content": "hunter2" } },
    });
    let app: AppSpec = serde_json::from_value(app).unwrap();
    let slot = Slot { app: "shop".parse().unwrap(), service: "web".parse().unwrap(), replica: 0 };
    of(&"site".parse().unwrap(), &slot, &app, &app.services[&slot.service])
}

#[test]
fn what_is_kept_alive_is_a_deployment_and_what_ends_a_job_neither_with_a_pod_yet() {
    let web = made(&json!({ "image": "web:1", "restart": "always" })).unwrap();
    assert_eq!(
        (web.kind, web.workload.pointer("/spec/replicas")),
        (Workload::Deployment, Some(&json!(0)))
    );
    let job = made(&json!({ "image": "web:1" })).unwrap();
    assert_eq!(
        (job.kind, job.workload.pointer("/spec/suspend")),
        (Workload::Job, Some(&json!(true)))
    );
    assert_eq!(job.workload.pointer("/spec/template/spec/restartPolicy"), Some(&json!("Never")));
}

#[test]
fn a_secret_is_in_its_secret_and_nowhere_else() {
    let made = made(&json!({
        "image": "web:1", "configs": { "/etc/conf": { "source": "conf" } },
        "secrets": { "/run/key": { "source": "key", "mode": 0o400 } },
    }))
    .unwrap();
    assert_eq!(made.files.len(), 2);
    assert!(
        made.files[1].to_string().contains("aHVudGVyMg==") && made.files[1]["kind"] == "Secret"
    );
    assert!(
        !made.workload.to_string().contains("hunter2")
            && !made.files[0].to_string().contains("hunter2")
    );
    let items = made.workload.pointer("/spec/template/spec/volumes/1/secret/items");
    assert_eq!(items, Some(&json!([{ "key": "0", "path": "0", "mode": 0o400 }])));
}

#[test]
fn a_service_becomes_a_container_with_its_probe_ports_limits_and_user() {
    let made = made(&json!({
        "image": "web:1", "command": ["serve", "$(HOME)"], "user": "1000:2000",
        "ports": [{ "container": 80, "host": 8080 }],
        "volumes": { "/data": { "volume": { "name": "data" } } },
        "healthcheck": { "test": { "shell": "true" }, "interval_ms": 1500, "retries": 2 },
        "resources": { "limits": { "cpu_millis": 500, "memory_bytes": 67_108_864 } },
    }))
    .unwrap();
    let container = made.workload.pointer("/spec/template/spec/containers/0").unwrap();
    assert_eq!(container["args"], json!(["serve", "$$(HOME)"]));
    assert_eq!(container["securityContext"], json!({ "runAsUser": 1000, "runAsGroup": 2000 }));
    assert_eq!(
        container["ports"],
        json!([{ "containerPort": 80, "hostPort": 8080, "protocol": "TCP" }])
    );
    assert_eq!(container["resources"]["limits"], json!({ "cpu": "500m", "memory": "67108864" }));
    assert_eq!(container["readinessProbe"]["periodSeconds"], 2);
    let kinds: Vec<_> = made.shared.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "Service"]);
}

#[test]
fn what_kubernetes_cannot_do_is_refused_with_advice() {
    let refused = |service| made(&service).unwrap_err();
    assert!(refused(json!({ "image": "w", "user": "app" })).contains("by number"));
    assert!(refused(json!({ "image": "w", "stop_signal": "SIGINT" })).contains("SIGTERM"));
    let pids = json!({ "image": "w", "resources": { "limits": { "pids": 9 } } });
    assert!(refused(pids).contains("pids"));
    let ulimits = json!({ "image": "w", "confinement": { "ulimits": { "nofile": { "soft": 9, "hard": 9 } } } });
    assert!(refused(ulimits).contains("ulimits"));
}

#[test]
fn what_a_service_may_do_is_its_security_context() {
    let context = |confinement: &Value| {
        let made = made(&json!({ "image": "web:1", "confinement": confinement })).unwrap();
        made.workload.pointer("/spec/template/spec/containers/0/securityContext").cloned()
    };
    let all = json!({
        "cap_add": ["NET_BIND_SERVICE"], "cap_drop": ["ALL"], "read_only": true,
        "no_new_privileges": true,
    });
    let wanted = json!({
        "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
        "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
    });
    assert_eq!(context(&all), Some(wanted));
    assert_eq!(context(&json!({})), None);
}

#[test]
fn several_copies_are_spread_over_the_nodes_of_the_cluster_and_one_is_not() {
    let spread = |replicas: u16| {
        let made = made(&json!({ "image": "web:1", "restart": "always", "replicas": replicas }));
        let pod = made.unwrap().workload.pointer("/spec/template").cloned().unwrap();
        let spread = pod.pointer("/spec/topologySpreadConstraints/0").cloned();
        spread.map(|it| {
            let selected = it.pointer("/labelSelector/matchLabels").cloned().unwrap();
            let (name, value) = selected.as_object().unwrap().iter().next().unwrap();
            assert_eq!(pod["metadata"]["labels"].get(name), Some(value), "it selects its pods");
            it["whenUnsatisfiable"].clone()
        })
    };
    assert_eq!(spread(2), Some(json!("ScheduleAnyway")), "one node is enough for all");
    assert_eq!(spread(1), None);
}
