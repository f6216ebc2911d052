//! From an app to the Kubernetes objects of one instance: the workload, the files that it mounts,
//! the volumes and the name of its service. Pure.

#![expect(clippy::indexing_slicing, reason = "what is indexed was made as an object here")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gnomon_schemas::app::{
    AppSpec, Confinement, HealthCheck, HealthTest, Mount, Protocol, ServiceSpec, StopSignal,
};
use gnomon_schemas::id::NodeName;
use serde_json::{Map, Value, json};

use super::drift;
use super::names::{self, Workload};
use crate::reconcile::model::Slot;

/// The objects of one instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Objects {
    pub(super) kind: Workload,
    pub(super) name: String,
    /// Made without a pod; it has to be started.
    pub(super) workload: Value,
    /// Belong to the workload and go with it.
    pub(super) files: Vec<Value>,
    /// Outlive the workload: claims of volumes, the service.
    pub(super) shared: Vec<Value>,
}

/// The objects, or what Kubernetes cannot do for the service.
pub(super) fn of(
    node: &NodeName,
    slot: &Slot,
    app: &AppSpec,
    service: &ServiceSpec,
) -> Result<Objects, String> {
    if let Some(what) = unfit(service) {
        return Err(what);
    }
    let name = names::instance(node, slot, service.digest(app));
    let kind = if service.is_job() { Workload::Job } else { Workload::Deployment };
    let labels = names::instance_labels(node, slot, &name);
    let about = names::about(node, slot, service.digest(app));
    let mut annotations = about.clone();
    if !service.ports.is_empty() {
        annotations[names::ADDRESS] = json!(names::address(node, slot));
    }
    let template = json!({
        "metadata": { "labels": labels, "annotations": pod_annotations(service, &about) },
        "spec": pod(node, slot, service, kind, &name)?,
    });
    let spec = match kind {
        Workload::Deployment => json!({
            "replicas": 0, "revisionHistoryLimit": 0, "strategy": { "type": "Recreate" },
            "selector": { "matchLabels": { names::INSTANCE: name } }, "template": template,
        }),
        Workload::Job => json!({ "suspend": true, "backoffLimit": 0, "template": template }),
    };
    let workload = drift::with_memory(json!({
        "apiVersion": kind.api_version(), "kind": kind.kind(),
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "spec": spec,
    }));
    let files = files(app, service, &name, &labels);
    let shared = claims(node, slot, service).chain(address(node, slot, service)).collect();
    Ok(Objects { kind, name, workload, files, shared })
}

/// What Kubernetes cannot do for a service, and what helps.
pub(in crate::orchestrator) fn unfit(service: &ServiceSpec) -> Option<String> {
    if service.resources.limits.pids.is_some() {
        return Some("it limits processes for a whole node only; leave `pids` out".to_owned());
    }
    if !service.confinement.ulimits.is_empty() {
        return Some("it has no limits of one process; leave `ulimits` out".to_owned());
    }
    if service.stop_signal.is_some_and(|signal| signal != StopSignal::Term) {
        return Some("it stops with SIGTERM; leave `stop_signal` out".to_owned());
    }
    security(service).err()
}

fn pod_annotations(service: &ServiceSpec, about: &Value) -> Value {
    let mut all = about.clone();
    if let Some(check) = &service.healthcheck {
        let seconds = u64::from(probe_seconds(check.interval_ms))
            + u64::from(probe_seconds(check.timeout_ms));
        let window = check.start_period_ms + (u64::from(check.retries) * seconds + 1) * 1000;
        all[names::WINDOW] = json!(window.to_string());
    }
    all
}

fn pod(
    node: &NodeName,
    slot: &Slot,
    service: &ServiceSpec,
    kind: Workload,
    name: &str,
) -> Result<Value, String> {
    let (mounts, volumes) = mounts(node, slot, service, name);
    let mut container = json!({
        "name": "main", "image": service.image, "imagePullPolicy": "IfNotPresent",
        "env": service.environment.iter().map(|(name, value)| json!({ "name": name, "value": escaped(value) }))
            .collect::<Vec<_>>(),
        "ports": ports(service), "resources": resources(service), "volumeMounts": mounts,
    });
    if let Some(entrypoint) = &service.entrypoint {
        container["command"] = words(entrypoint);
    }
    if let Some(command) = &service.command {
        // Without an entrypoint the arguments go to that of the image, as with Docker.
        container["args"] = words(command);
    }
    if let Some(dir) = &service.working_dir {
        container["workingDir"] = json!(dir);
    }
    if let Some(context) = security(service)? {
        container["securityContext"] = context;
    }
    if let Some(check) = &service.healthcheck {
        container["readinessProbe"] = probe(check);
    }
    let restart = if kind == Workload::Job { "Never" } else { "Always" };
    let mut pod = json!({
        "containers": [container], "volumes": volumes, "restartPolicy": restart,
        "imagePullSecrets": [{ "name": names::registries(node) }],
        "terminationGracePeriodSeconds": service.stop_grace_period_ms.div_ceil(1000),
        "automountServiceAccountToken": false, "enableServiceLinks": false,
    });
    if service.replicas > 1 {
        // Each copy is a workload of its own, so that nothing else spreads them.
        pod["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": names::service_selector(node, slot) },
        }]);
    }
    Ok(pod)
}

/// Kubernetes replaces `$(NAME)`; Docker does not.
fn escaped(text: &str) -> String {
    text.replace("$(", "$$(")
}

fn words(words: &[String]) -> Value {
    words.iter().map(|word| escaped(word)).collect()
}

fn security(service: &ServiceSpec) -> Result<Option<Value>, String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .map_err(|_| format!("it needs users by number, such as 1000:1000, not {text}"))
    };
    let mut context = Map::new();
    let mut set = |name: &str, value: Value| context.insert(name.to_owned(), value);
    if let Some(user) = &service.user {
        let parts = user.split_once(':');
        set("runAsUser", json!(number(parts.map_or(user, |(user, _)| user))?));
        if let Some((_, group)) = parts {
            set("runAsGroup", json!(number(group)?));
        }
    }
    let Confinement { cap_add, cap_drop, read_only, no_new_privileges, ulimits: _ } =
        &service.confinement;
    let mut capabilities = Map::new();
    for (name, all) in [("add", cap_add), ("drop", cap_drop)] {
        if !all.is_empty() {
            let all: Value = all.iter().map(|it| it.as_str()).collect();
            capabilities.insert(name.to_owned(), all);
        }
    }
    if !capabilities.is_empty() {
        set("capabilities", Value::Object(capabilities));
    }
    if *read_only {
        set("readOnlyRootFilesystem", json!(true));
    }
    if *no_new_privileges {
        set("allowPrivilegeEscalation", json!(false));
    }
    Ok((!context.is_empty()).then_some(Value::Object(context)))
}

fn probe(check: &HealthCheck) -> Value {
    let command = match &check.test {
        HealthTest::Exec(argv) => argv.clone(),
        HealthTest::Shell(script) => vec!["/bin/sh".to_owned(), "-c".to_owned(), script.clone()],
    };
    json!({
        "exec": { "command": command }, "periodSeconds": probe_seconds(check.interval_ms),
        "timeoutSeconds": probe_seconds(check.timeout_ms), "failureThreshold": check.retries,
    })
}

/// Probes count in whole seconds.
fn probe_seconds(millis: u64) -> u32 {
    u32::try_from(millis.div_ceil(1000).max(1)).unwrap_or(u32::MAX)
}

fn ports(service: &ServiceSpec) -> Value {
    let one = |port: &gnomon_schemas::app::Port| {
        let mut one =
            json!({ "containerPort": port.container, "protocol": protocol(port.protocol) });
        if let Some(host) = port.host {
            one["hostPort"] = json!(host);
        }
        if let Some(ip) = port.host_ip {
            one["hostIP"] = json!(ip);
        }
        one
    };
    service.ports.iter().map(one).collect()
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

fn resources(service: &ServiceSpec) -> Value {
    let cpu = |millis: u64| {
        if millis.is_multiple_of(1000) { amount(millis / 1000) } else { format!("{millis}m") }
    };
    let amounts = |millis: Option<u64>, bytes: Option<u64>| {
        let cpu = millis.map(|millis| ("cpu".to_owned(), json!(cpu(millis))));
        let memory = bytes.map(|bytes| ("memory".to_owned(), json!(amount(bytes))));
        cpu.into_iter().chain(memory).collect::<Map<_, _>>()
    };
    let (limits, reserved) = (service.resources.limits, service.resources.reservations);
    json!({
        "limits": amounts(limits.cpu_millis, limits.memory_bytes),
        "requests": amounts(reserved.cpu_millis, reserved.memory_bytes),
    })
}

/// A number as the API server writes it, so that it is not taken for a change.
fn amount(mut number: u64) -> String {
    let mut suffixes = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut suffix = suffixes.next().unwrap_or_default();
    while number > 0 && number.is_multiple_of(1000) {
        let Some(next) = suffixes.next() else { break };
        number /= 1000;
        suffix = next;
    }
    format!("{number}{suffix}")
}

fn mounts(
    node: &NodeName,
    slot: &Slot,
    service: &ServiceSpec,
    name: &str,
) -> (Vec<Value>, Vec<Value>) {
    let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
    for (number, (target, mount)) in service.volumes.iter().enumerate() {
        let volume = format!("v{number}");
        let (read_only, source) = match mount {
            Mount::Volume { name, read_only } => {
                let claim = names::part(node, &slot.app, "volume", name.as_str());
                (*read_only, json!({ "persistentVolumeClaim": { "claimName": claim } }))
            }
            Mount::Bind { path, read_only } => {
                (*read_only, json!({ "hostPath": { "path": path } }))
            }
            Mount::Tmpfs { size_bytes } => {
                let mut memory = json!({ "medium": "Memory" });
                if let Some(size) = size_bytes {
                    memory["sizeLimit"] = json!(amount(*size));
                }
                (false, json!({ "emptyDir": memory }))
            }
        };
        mounts.push(json!({ "name": volume, "mountPath": target, "readOnly": read_only }));
        let mut source = source;
        source["name"] = json!(volume);
        volumes.push(source);
    }
    let kinds =
        [("configMap", "name", &service.configs), ("secret", "secretName", &service.secrets)];
    for (kind, key, files) in kinds.into_iter().filter(|(_, _, files)| !files.is_empty()) {
        let items: Vec<_> = files.values().enumerate()
            .map(|(number, file)| json!({ "key": number.to_string(), "path": number.to_string(), "mode": file.mode }))
            .collect();
        volumes.push(json!({ "name": kind.to_lowercase(), kind: { key: name, "items": items } }));
        mounts.extend(files.keys().enumerate().map(|(number, target)| json!({
            "name": kind.to_lowercase(), "mountPath": target, "subPath": number.to_string(), "readOnly": true,
        })));
    }
    (mounts, volumes)
}

fn files(app: &AppSpec, service: &ServiceSpec, name: &str, labels: &Value) -> Vec<Value> {
    let metadata = json!({ "name": name, "labels": labels });
    let mut files = Vec::new();
    if !service.configs.is_empty() {
        let contents = service.configs.values().enumerate().filter_map(|(number, file)| {
            Some((number.to_string(), json!(app.configs.get(&file.source)?.content)))
        });
        files.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": true,
            "data": contents.collect::<Map<_, _>>(),
        }));
    }
    if !service.secrets.is_empty() {
        let contents = service.secrets.values().enumerate().filter_map(|(number, file)| {
            let content = app.secrets.get(&file.source)?.content.expose();
            Some((number.to_string(), json!(BASE64_STANDARD.encode(content))))
        });
        files.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "immutable": true,
            "data": contents.collect::<Map<_, _>>(),
        }));
    }
    files
}

fn claims(node: &NodeName, slot: &Slot, service: &ServiceSpec) -> impl Iterator<Item = Value> {
    let names = service.volumes.values().filter_map(|mount| match mount {
        Mount::Volume { name, .. } => Some(name),
        Mount::Bind { .. } | Mount::Tmpfs { .. } => None,
    });
    names.map(|name| json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": names::part(node, &slot.app, "volume", name.as_str()),
            "labels": names::labels(node), "annotations": names::about_app(node, &slot.app),
        },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }))
}

/// A service that listens has a name in the cluster.
fn address(node: &NodeName, slot: &Slot, service: &ServiceSpec) -> Option<Value> {
    let one = |port: &gnomon_schemas::app::Port| {
        let (number, protocol) = (port.container.get(), protocol(port.protocol));
        json!({ "name": format!("p{number}-{}", protocol.to_lowercase()), "port": number, "protocol": protocol })
    };
    let mut ports: Vec<_> = service.ports.iter().map(one).collect();
    ports.dedup();
    (!ports.is_empty()).then(|| {
        drift::with_memory(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": names::address(node, slot),
                "labels": names::labels(node), "annotations": names::about_app(node, &slot.app),
            },
            "spec": { "selector": names::service_selector(node, slot), "ports": ports },
        }))
    })
}

#[cfg(test)]
mod tests;
