//! A site whose apps are workloads of a real Kubernetes, by an agent with exactly the rights of
//! `deploy/k3s/rbac.yaml`.

use std::time::Duration;

use gnomon_tests::eventually::let_pass;
use gnomon_tests::{Cloud, Kubernetes, Site, eventually};
use serde_json::Value;

use crate::app::{converged, gnomon, shadow};
use crate::docker::daemon::{Cleaner, Docker};

const PATIENCE: Duration = Duration::from_mins(2);

const COMPOSE: &str = r#"
name: probe
services:
  web:
    image: gnomon-demo:1
    restart: always
    environment: { VALUE: "@" }
    stop_grace_period: 1s
    healthcheck: { test: ["CMD", "true"], interval: 1s }
    depends_on: [setup]
  setup:
    image: gnomon-demo:1
    command: [sh, -c, "exit 0"]
"#;

fn deploy(cloud: &Cloud, folder: &std::path::Path, node: &str, value: u32) {
    let file = folder.join("probe.yaml");
    std::fs::write(&file, COMPOSE.replace('@', &value.to_string())).unwrap();
    let output = gnomon(cloud, &["apply", "-f", &file.to_string_lossy(), "--node", node]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    converged(cloud, node);
}

/// What is reported, without what two runs of the same may differ in.
fn reported(cloud: &Cloud, node: &str) -> Value {
    let mut shadow = shadow(cloud, node);
    let mut reported = shadow["reported"]["document"].take();
    if let Some(reported) = reported.as_object_mut() {
        reported.remove("desired_version");
    }
    reported
}

#[test]
fn a_site_on_k3s_writes_nothing_when_its_link_or_its_agent_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Kubernetes::start(folder.path());
    let mut cloud = Cloud::start(folder.path());
    let node = format!("e2e-k3s-{}", std::process::id());
    let mut site = Site::join_k3s(&cloud, folder.path(), &node, &cluster.kubeconfig);
    deploy(&cloud, folder.path(), &node, 1);
    let before = reported(&cloud, &node);
    eventually("all writes", PATIENCE, || {
        let writes = cluster.writes();
        let_pass(Duration::from_secs(3));
        if writes == cluster.writes() { Ok(()) } else { Err(writes) }
    });
    let writes = cluster.writes();
    assert!(writes > 0, "the API server writes down who asks");
    cloud.kill9();
    let_pass(Duration::from_secs(3));
    cloud.restart();
    eventually("a link that is back", PATIENCE, || {
        let status = site.status();
        let is_up = status.as_ref().is_some_and(|it| it["link"]["up"] == true);
        if is_up { Ok(()) } else { Err(status) }
    });
    site.kill9();
    site.start();
    eventually("an agent that looked", PATIENCE, || {
        let status = site.status();
        let runs = status.as_ref().is_some_and(|it| it["apps"][0]["status"]["state"] == "running");
        if runs { Ok(()) } else { Err(status) }
    });
    let_pass(Duration::from_secs(3));
    assert_eq!(cluster.writes(), writes, "{:?}", cluster.asked().split_off(writes));
    assert_eq!(reported(&cloud, &node), before);
    deploy(&cloud, folder.path(), &node, 2);
    assert!(cluster.writes() > writes);
}

#[test]
fn a_site_that_moves_from_docker_to_k3s_by_one_setting_reports_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Kubernetes::start(folder.path());
    let cloud = Cloud::start(folder.path());
    let docker = Docker::shared();
    let node = format!("e2e-move-{}", std::process::id());
    let _cleaner = Cleaner::new(docker.clone(), node.clone());
    let mut site = Site::join_docker(&cloud, folder.path(), &node, docker.socket());
    deploy(&cloud, folder.path(), &node, 1);
    let on_docker = reported(&cloud, &node);
    site.stop();
    let config = folder.path().join("moved.toml");
    std::fs::write(&config, format!("kubeconfig = {:?}\n", cluster.kubeconfig)).unwrap();
    site.set_args(&["--orchestrator", "k3s", "--config", &config.to_string_lossy()]);
    site.start();
    eventually(&format!("the same on k3s: {}", site.tail()), PATIENCE, || {
        let now = reported(&cloud, &node);
        if cluster.writes() > 0 && now == on_docker {
            Ok(())
        } else {
            Err((now, on_docker.clone()))
        }
    });
}
