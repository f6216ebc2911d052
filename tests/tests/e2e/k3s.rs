//! A site whose apps are workloads of a real Kubernetes, by an agent with exactly the rights of
//! `deploy/k3s/rbac.yaml`.

mod manifests;
mod nodes;

use std::time::Duration;

use gnomon_tests::eventually::let_pass;
use gnomon_tests::kubernetes::Setup;
use gnomon_tests::process::binary;
use gnomon_tests::{Cloud, Kubernetes, Site, eventually};
use serde_json::Value;

use crate::app::{gnomon, shadow};
use crate::docker::daemon::{Cleaner, Docker};

const PATIENCE: Duration = Duration::from_mins(4);

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
    eventually(&format!("{node} to converge: {}", cloud.tail()), PATIENCE, || {
        let shadow = shadow(cloud, node);
        let reported = &shadow["reported"]["document"];
        let wanted = &shadow["desired"]["version"];
        let is_equal = reported["desired_version"] == *wanted && reported["state"] == "running";
        // The job goes on after the service that waits for its start: until it ended, the report changes.
        let has_ended = reported["services"]["setup"]["state"] == "completed";
        if is_equal && has_ended && !wanted.is_null() { Ok(()) } else { Err(shadow) }
    });
}

/// How many kinds an agent lists before it knows what runs.
const FOLLOWED: usize = 7;

fn lists(cluster: &Kubernetes) -> usize {
    cluster.asked().iter().filter(|it| it.verb == "list").count()
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
    let writes = cluster.calm();
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
    let before_start = lists(&cluster);
    site.start();
    eventually("an agent that looked", PATIENCE, || {
        let lists = lists(&cluster);
        if lists >= before_start + FOLLOWED { Ok(()) } else { Err(lists) }
    });
    eventually("an agent that knows", PATIENCE, || {
        let status = site.status();
        let runs = status.as_ref().is_some_and(|it| it["apps"][0]["status"]["state"] == "running");
        if runs { Ok(()) } else { Err(status) }
    });
    let_pass(Duration::from_secs(3));
    assert_eq!(cluster.writes(), writes, "{:?}", cluster.written().split_off(writes));
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

/// `deploy/k3s/agent.yaml` as it is, but for what the test's node has not: an image with the program, and
/// addresses inside of the cluster. The program and its libraries are those of this machine.
fn agent_pod(cluster: &Kubernetes) -> Vec<String> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/k3s/agent.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let program = binary("gnomon-edge").canonicalize().unwrap();
    let mounts = ["/lib", "/lib64", "/usr/lib"].map(|path| (path, path.to_owned()));
    let program = ("/usr/bin/gnomon-edge", program.to_string_lossy().into_owned());
    let mounts: Vec<_> = mounts.into_iter().chain([program]).collect();
    let (mut mounted, mut volumes) = (String::new(), String::new());
    for (number, (inside, outside)) in mounts.iter().enumerate() {
        let mount = format!("{{name: host{number}, mountPath: {inside}, readOnly: true}}");
        let volume = format!("{{name: host{number}, hostPath: {{path: {outside}}}}}");
        mounted.extend(["\n            - ", mount.as_str()]);
        volumes.extend(["\n        - ", volume.as_str()]);
    }
    let port = cluster.port();
    let env = format!(
        "          env:\n            - {{name: KUBERNETES_SERVICE_HOST, value: 127.0.0.1}}\n            \
         - {{name: KUBERNETES_SERVICE_PORT, value: {port:?}}}\n          resources:"
    );
    let change = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "deploy/k3s/agent.yaml has no {from:?}");
        text.replace(from, to)
    };
    let text = change(text, "gnomon-edge:0.1.0", "gnomon-demo:1");
    let text = change(
        text,
        "      serviceAccountName:",
        "      hostNetwork: true\n      serviceAccountName:",
    );
    let mount = "mountPath: /var/lib/gnomon-edge";
    let text = change(text, mount, &format!("{mount}{mounted}"));
    let text = change(text, "      volumes:", &format!("      volumes:{volumes}"));
    let text = change(text, "          resources:", &env);
    text.split("\n---\n").map(str::to_owned).collect()
}

#[test]
fn an_agent_that_is_a_pod_of_its_cluster_runs_the_apps_of_its_site() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Kubernetes::start(folder.path());
    let cloud = Cloud::start(folder.path());
    let node = format!("e2e-pod-{}", std::process::id());
    let (url, token) = (cloud.api.url(), cloud.api.join_token(&node));
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: gnomon-edge}}\nstringData: {{url: {url:?}, token: {token:?}}}\n"
    );
    cluster.apply("api/v1/namespaces/gnomon/secrets/gnomon-edge", &secret);
    let objects = agent_pod(&cluster);
    assert_eq!(objects.len(), 2, "a claim and a Deployment");
    cluster.apply("api/v1/namespaces/gnomon/persistentvolumeclaims/gnomon-edge", &objects[0]);
    let at = "apis/apps/v1/namespaces/gnomon/deployments/gnomon-edge";
    cluster.apply(at, &objects[1]);
    deploy(&cloud, folder.path(), &node, 1);
    // Another pod, as after a move to another machine of the cluster: it adopts what runs.
    let writes = cluster.calm();
    let moved = objects[1]
        .replace("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 29");
    assert_ne!(moved, objects[1]);
    let before = lists(&cluster);
    cluster.apply(at, &moved);
    eventually("the new pod to look", PATIENCE, || {
        let lists = lists(&cluster);
        if lists >= before + FOLLOWED { Ok(()) } else { Err(lists) }
    });
    let_pass(Duration::from_secs(5));
    let news = || cluster.written().split_off(writes);
    assert_eq!(cluster.writes(), writes, "what runs is adopted as it is: {:?}", news());
    deploy(&cloud, folder.path(), &node, 2);
}

#[test]
fn a_node_of_the_cluster_that_freezes_and_comes_back_costs_no_pod_and_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = {
        let setup = Setup { node_grace: Some("24s"), ..Setup::default() };
        Kubernetes::start_with(folder.path(), setup)
    };
    let cloud = Cloud::start(folder.path());
    let node = format!("e2e-ice-{}", std::process::id());
    let site = Site::join_k3s(&cloud, folder.path(), &node, &cluster.kubeconfig);
    deploy(&cloud, folder.path(), &node, 1);
    let before = reported(&cloud, &node);
    let writes = cluster.calm();
    cluster.freeze_kubelet(1, true);
    eventually(&format!("a lost node: {}", site.tail()), PATIENCE, || {
        let now = reported(&cloud, &node);
        let reason = now["reason"].as_str().unwrap_or_default();
        if reason.contains("its node does not answer") { Ok(()) } else { Err(now) }
    });
    cluster.freeze_kubelet(1, false);
    eventually("the same as before", PATIENCE, || {
        let now = reported(&cloud, &node);
        let is_same = now["state"] == before["state"] && now["services"] == before["services"];
        if is_same { Ok(()) } else { Err(now) }
    });
    assert_eq!(cluster.writes(), writes, "nobody can mend a node by requests");
}
