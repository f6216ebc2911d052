//! A real Kubernetes for the whole run of the tests, and the cases that only it has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use gnomon_edge::reconcile::model::{Health, InstanceId, InstanceState, Step};
use gnomon_schemas::app::{RestartPolicy, ServiceSpec};

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
    assert_eq!(bench.instance(&web).await.state, exited(143));
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

pub(crate) async fn what_asks_for_the_impossible_is_refused_and_nothing_is_made(bench: &Bench) {
    let user = Some("somebody".to_owned());
    let create = Step::Create { slot: slot("web"), spec: app(ServiceSpec { user, ..service("") }) };
    let error = bench.orchestrator.apply(&create).await.expect_err("users have numbers there");
    assert!(!error.is_transient() && error.to_string().contains("by number"), "{error}");
    assert!(bench.all().await.is_empty());
}

pub(crate) async fn health_is_reported_by_a_probe_of_whole_seconds(bench: &Bench) {
    let web = slot("web");
    let script = "sleep 5; touch broken; trap 'exit 0' TERM; sleep 1000 & wait";
    let healthcheck = Some(check("test ! -e broken"));
    bench.up(&web, &app(ServiceSpec { healthcheck, ..service(script) })).await;
    bench.until(&web, InstanceState::Running(Health::Healthy)).await;
    bench.until(&web, InstanceState::Running(Health::Unhealthy)).await;
}
