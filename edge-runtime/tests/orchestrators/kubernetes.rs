//! A real Kubernetes for the whole run of the tests, and the cases that only it has.

pub(crate) mod drift;
pub(crate) mod expiry;
pub(crate) mod faults;
pub(crate) mod front;
pub(crate) mod lost;
pub(crate) mod manifests;
pub(crate) mod placement;
pub(crate) mod rights;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gnomon_edge::reconcile::model::{Health, InstanceId, InstanceState, Slot, Step};
use gnomon_schemas::app::{Confinement, Port, Protocol, RestartPolicy, SecretText, ServiceSpec};
use gnomon_schemas::node::{Credentials, NodeSettings};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};

use crate::bench::{Bench, POLITE, RUNNING, app, check, exited, service, slot};

/// How to reach a cluster that answers. A private one ends with this process.
pub(crate) fn kubeconfig() -> &'static Path {
    static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();
    KUBECONFIG.get_or_init(|| {
        let pid = std::process::id().to_string();
        let dir = std::env::temp_dir().join(format!("gnomon-kubernetes-{pid}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kubernetes/cluster.sh");
        let output = Command::new("sh").arg(script).arg("start").arg(dir).arg(pid).output();
        let output = output.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no Kubernetes: {errors}");
        let line = String::from_utf8(output.stdout).unwrap();
        line.trim().strip_prefix("KUBECONFIG=").unwrap().into()
    })
}

/// May do everything.
pub(crate) async fn admin() -> kube::Client {
    let read = Kubeconfig::read_from(kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.unwrap()).unwrap()
}

/// Objects of a kind of the tests' namespace.
pub(crate) async fn objects(api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(admin().await, "gnomon", &kind)
}

/// The pod of an instance.
pub(crate) async fn pod_of(id: &InstanceId) -> DynamicObject {
    find_pod(id).await.expect("it has a pod")
}

pub(crate) async fn find_pod(id: &InstanceId) -> Option<DynamicObject> {
    pods_of(id).await.pop()
}

pub(crate) async fn pods_of(id: &InstanceId) -> Vec<DynamicObject> {
    let (_, name) = id.0.split_once('/').unwrap();
    let own = ListParams::default().labels(&format!("io.gnomon/instance={name}"));
    let mut found = objects("v1", "Pod").await.list(&own).await.unwrap().items;
    found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    found
}

/// What the cluster shows of an instance and its pod to those who may not read secrets.
pub(crate) async fn shown(id: &InstanceId) -> String {
    let (kind, name) = id.0.split_once('/').unwrap();
    let (api_version, kind) =
        if kind == "job" { ("batch/v1", "Job") } else { ("apps/v1", "Deployment") };
    let workload = objects(api_version, kind).await.get(name).await.unwrap();
    let config = objects("v1", "ConfigMap").await.get(name).await.unwrap();
    serde_json::to_string(&[workload, config, pod_of(id).await]).unwrap()
}

/// Kills the first process of an instance's pod, which runs on this machine.
pub(crate) fn kill_9(id: &InstanceId) {
    let name = id.0.split_once('/').unwrap().1;
    let mut found: Vec<i32> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let host = format!("HOSTNAME={name}-");
            environ.split(|byte| *byte == 0).any(|it| it.starts_with(host.as_bytes()))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_unstable();
    crate::process::kill_9(*found.first().expect("its process runs here"));
}

pub(crate) async fn a_service_that_is_kept_alive_is_started_again_after_its_end(bench: &Bench) {
    let web = slot("web");
    let spec = app(ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) });
    bench.up(&web, &spec).await;
    bench.until(&web, RUNNING).await;
    let id = bench.instance(&web).await.id;
    assert!(id.0.starts_with("deployment/"), "{id}");
    bench.stop(&web, Duration::from_secs(5)).await;
    assert_eq!(bench.instance(&web).await.state, exited(0));
    bench.start(&web).await;
    bench.until(&web, RUNNING).await;
    assert_eq!(bench.instance(&web).await.id, id);
    bench.kill(&web).await;
    bench.until(&web, RUNNING).await;
}

pub(crate) async fn a_job_that_ended_runs_again(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &app(service("echo ran; exit 3"))).await;
    bench.until(&web, exited(3)).await;
    let id = bench.instance(&web).await.id;
    assert!(id.0.starts_with("job/"), "{id}");
    bench.start(&web).await;
    bench.until(&web, exited(3)).await;
    assert_eq!(bench.instance(&web).await.id, id);
}

pub(crate) async fn an_image_that_is_nowhere_is_a_failure_with_a_reason(bench: &Bench) {
    let web = slot("web");
    let image = Some("127.0.0.1:9/nowhere:1".to_owned());
    let id = bench.create(&web, &app(ServiceSpec { image, ..service("true") })).await.id;
    let start = Step::Start { id, slot: web };
    let error = bench.orchestrator.apply(&start).await.expect_err("there is no registry");
    assert!(error.is_transient() && error.to_string().contains("ImagePull"), "{error}");
}

pub(crate) async fn an_image_is_fetched_before_anything_is_stopped_for_it(bench: &Bench) {
    let (web, image) = (slot("web"), "gnomon-demo:1");
    bench.orchestrator.pull(&web.app, image, &|_| {}).await.unwrap();
    bench.up(&web, &app(service(POLITE))).await;
    assert!(bench.orchestrator.has_image(image).await.unwrap(), "a pod of ours runs it");
    let nowhere = "127.0.0.1:9/nowhere:2";
    let error = bench
        .orchestrator
        .pull(&web.app, nowhere, &|_| {})
        .await
        .expect_err("no registry is there");
    assert!(error.is_transient() && error.to_string().contains("ErrImagePull"), "{error}");
    assert_eq!(bench.all().await.len(), 1, "what fetches is no instance");
}

pub(crate) async fn credentials_are_there_before_the_pod_that_needs_them(bench: &Bench) {
    let credentials = |password: &str| Credentials {
        username: "site".to_owned(),
        password: SecretText::new(password),
    };
    let configure = |password| {
        let registries = [("registry.example".to_owned(), credentials(password))].into();
        bench.orchestrator.configure(NodeSettings { registries, ..NodeSettings::default() });
    };
    let web = slot("web");
    configure("one");
    bench.up(&web, &app(service(POLITE))).await;
    let own = pod_of(&bench.instance(&web).await.id).await;
    let named = own.data.pointer("/spec/imagePullSecrets/0/name").unwrap().as_str().unwrap();
    let secrets = objects("v1", "Secret").await;
    let held = async || {
        let held = secrets.get(named).await.unwrap();
        let data = held.data.pointer("/data/.dockerconfigjson").unwrap().as_str().unwrap();
        String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap()
    };
    let auth = |password: &str| BASE64_STANDARD.encode(format!("site:{password}"));
    assert!(held().await.contains(&auth("one")));
    configure("two");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !held().await.contains(&auth("two")) {
        assert!(Instant::now() < deadline, "the change is written without a step");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    secrets.delete(named, &DeleteParams::default()).await.unwrap();
    assert!(!format!("{:?}", bench.orchestrator).contains("two"));
}

pub(crate) async fn what_asks_for_the_impossible_is_refused_and_nothing_is_made(bench: &Bench) {
    let user = Some("somebody".to_owned());
    let create = Step::Create { slot: slot("web"), spec: app(ServiceSpec { user, ..service("") }) };
    let error = bench.orchestrator.apply(&create).await.expect_err("users have numbers there");
    assert!(!error.is_transient() && error.to_string().contains("by number"), "{error}");
    assert!(bench.all().await.is_empty());
}

pub(crate) async fn health_is_reported_by_a_probe_of_whole_seconds(bench: &Bench) {
    let web = slot("web");
    let healthcheck = Some(check("test ! -e /tmp/broken"));
    bench.up(&web, &app(ServiceSpec { healthcheck, ..service(POLITE) })).await;
    bench.until(&web, InstanceState::Running(Health::Healthy)).await;
    let spoil = ["touch", "/tmp/broken"].map(ToOwned::to_owned);
    assert_eq!(bench.orchestrator.exec(&web, &spoil).await.unwrap().code, 0);
    bench.until(&web, InstanceState::Running(Health::Unhealthy)).await;
}

pub(crate) async fn what_a_service_may_do_is_its_security_context(bench: &Bench) {
    let web = slot("web");
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let confinement = Confinement {
        cap_add: names(&["NET_ADMIN"]),
        cap_drop: names(&["ALL"]),
        read_only: true,
        no_new_privileges: true,
        ..Confinement::default()
    };
    let script = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; \
                  touch /x 2>/dev/null || echo read-only; echo end";
    bench.up(&web, &app(ServiceSpec { confinement, ..service(script) })).await;
    let log = bench.until_logged(&web, "end").await;
    assert_eq!(log, "CapEff:\t0000000000001000\nNoNewPrivs:\t1\nread-only\nend\n");
    assert_eq!(bench.instance(&web).await.altered, None);
}

pub(crate) async fn the_name_of_a_removed_service_goes_with_its_last_copy(bench: &Bench) {
    let listens = || {
        let port = Port {
            container: 8080.try_into().unwrap(),
            host: None,
            host_ip: None,
            protocol: Protocol::Tcp,
        };
        let ports = std::iter::once(port).collect();
        ServiceSpec { restart: RestartPolicy::Always, replicas: 2, ports, ..service(POLITE) }
    };
    let spec = crate::bench::app_of([("web", listens()), ("db", listens())]);
    let web_2 = Slot { replica: 1, ..slot("web") };
    for slot in [&slot("web"), &web_2, &slot("db")] {
        bench.create(slot, &spec).await;
    }
    let own = format!("io.gnomon/node={}", bench.node);
    let names = async || {
        let mut all =
            objects("v1", "Service").await.list(&ListParams::default()).await.unwrap().items;
        all.retain(|it| {
            let notes = it.metadata.annotations.iter().flatten();
            notes.map(|(name, value)| format!("{name}={value}")).any(|note| note == own)
        });
        all.len()
    };
    assert_eq!(names().await, 2);
    bench.remove(&web_2).await;
    assert_eq!(names().await, 2, "there is another copy");
    bench.remove(&slot("web")).await;
    assert_eq!(names().await, 1);
}
