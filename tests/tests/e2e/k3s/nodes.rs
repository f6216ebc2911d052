//! A site of several machines: what runs where, an update without a gap, and what becomes of it all when
//! a machine is emptied, lost and there again.

use std::path::Path;
use std::time::Duration;

use gnomon_tests::kubernetes::Setup;
use gnomon_tests::{Cloud, Kubernetes, Site, eventually};
use serde_json::Value;

use crate::app::gnomon;

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
    deploy: { replicas: 2, update_config: { order: start-first } }
  db:
    image: gnomon-demo:1
    restart: always
    command: [sh, -c, "echo began >> /films/log; trap 'exit 0' TERM; sleep 100000 & wait"]
    stop_grace_period: 1s
    volumes: ["films:/films"]
volumes:
  films: {}
"#;

const EACH: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: each }
spec:
  selector: { matchLabels: { app: each } }
  template:
    metadata: { labels: { app: each } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: each, image: "gnomon-demo:1" }]
"#;

/// Dropped from above: the folder goes last, for the cluster's end is looked up in it.
struct Stage {
    _site: Site,
    cloud: Cloud,
    cluster: Kubernetes,
    folder: tempfile::TempDir,
    node: String,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup { more_nodes: 1, node_grace: Some("24s"), toleration: Some("5") };
        let cluster = Kubernetes::start_with(folder.path(), setup);
        cluster.permit_manifests();
        local_volumes(&cluster, folder.path());
        let cloud = Cloud::start(folder.path());
        let node = format!("e2e-two-{}", std::process::id());
        let site = Site::join_k3s(&cloud, folder.path(), &node, &cluster.kubeconfig);
        Self { _site: site, cloud, cluster, folder, node }
    }

    fn apply(&self, app: &str, text: &str) {
        let file = self.folder.path().join("app.yaml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_string_lossy();
        let args = ["apply", "-f", &file, "--app", app, "--node", &self.node];
        let output = gnomon(&self.cloud, &args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until what an app reports of the newest version is this.
    fn until(&self, app: &str, what: &str, is: impl Fn(&Value) -> bool) {
        let path = format!("/v1/nodes/{}/shadows/app/{app}", self.node);
        eventually(what, PATIENCE, || {
            let shadow = self.cloud.api.call("GET", &path, None).map(|(_, body)| body);
            let shadow = shadow.unwrap_or_default();
            let reported = &shadow["reported"]["document"];
            let wanted = &shadow["desired"]["version"];
            let is_newest = !wanted.is_null() && reported["desired_version"] == *wanted;
            if is_newest && is(reported) { Ok(()) } else { Err(reported.clone()) }
        });
    }

    fn until_well(&self, app: &str) {
        self.until(app, &format!("{app} to run"), |it| it["state"] == "running");
    }

    /// The machines on which ready pods are whose name begins so.
    fn places(&self, name: &str) -> Vec<String> {
        let text =
            |pod: &Value, at: &str| pod.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let pods = self.cluster.pods().into_iter();
        let own = pods.filter(|pod| text(pod, "/metadata/name").unwrap().starts_with(name));
        let mut places: Vec<_> =
            own.filter(is_ready).filter_map(|pod| text(&pod, "/spec/nodeName")).collect();
        places.sort();
        places
    }

    fn until_at(&self, name: &str, places: &[&str]) {
        eventually(&format!("{name} at {places:?}"), PATIENCE, || {
            let now = self.places(name);
            if now == places { Ok(()) } else { Err(now) }
        });
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("films/log")).unwrap_or_default()
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let is = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
    conditions.into_iter().flatten().any(is)
}

/// As those of k3s are: a volume is on one machine, and chosen with the first pod that needs it.
fn local_volumes(cluster: &Kubernetes, folder: &Path) {
    let class = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\n";
    let folders = format!(
        "{class}metadata: {{name: folders, annotations: {{storageclass.kubernetes.io/is-default-class: 'false'}}}}\n\
         provisioner: kubernetes.io/host-path\n"
    );
    cluster.apply("apis/storage.k8s.io/v1/storageclasses/folders", &folders);
    let local = format!(
        "{class}metadata: {{name: local, annotations: {{storageclass.kubernetes.io/is-default-class: 'true'}}}}\n\
         provisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\n"
    );
    cluster.apply("apis/storage.k8s.io/v1/storageclasses/local", &local);
    let volume = serde_json::json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "films" },
        "spec": {
            "storageClassName": "local", "accessModes": ["ReadWriteOnce"],
            "capacity": { "storage": "1Gi" }, "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": { "path": folder.join("films"), "type": "DirectoryOrCreate" },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [{
                "key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"] }] }] } },
        },
    });
    cluster.apply("api/v1/persistentvolumes/films", &volume.to_string());
}

#[test]
fn a_site_of_two_machines_outlives_the_loss_of_one_and_says_what_waits_for_it() {
    let stage = Stage::new();
    stage.apply("probe", &COMPOSE.replace('@', "1"));
    stage.apply("each", EACH);
    stage.until_well("probe");
    stage.until_well("each");
    assert_eq!(stage.places("each-"), ["node-1", "node-2"]);
    assert_eq!(stage.places("probe-web-"), ["node-1", "node-2"], "copies are spread");
    assert_eq!(stage.places("probe-db-"), ["node-1"], "where its volume is");
    an_update_that_starts_first_has_no_gap(&stage);
    a_machine_is_emptied_and_used_again(&stage);
    a_machine_is_lost_and_found(&stage);
}

/// At every look there are two copies that are ready, of whichever revision.
fn an_update_that_starts_first_has_no_gap(stage: &Stage) {
    let copies = |value: &str| {
        let pods = stage.cluster.pods();
        let of = |pod: &Value| pod["spec"]["containers"][0]["env"][0]["value"] == value;
        pods.iter().filter(|pod| of(pod) && is_ready(pod)).count()
    };
    stage.apply("probe", &COMPOSE.replace('@', "2"));
    eventually("two copies of the new revision alone", PATIENCE, || {
        let ready = stage.places("probe-web-").len();
        assert!(ready >= 2, "{ready} copies are ready");
        let (old, new) = (copies("1"), copies("2"));
        if (old, new) == (0, 2) { Ok(()) } else { Err((old, new)) }
    });
    stage.until_well("probe");
    assert_eq!(stage.log(), "began\n", "what did not change was not started again");
}

fn a_machine_is_emptied_and_used_again(stage: &Stage) {
    stage.cluster.drain("node-1");
    stage.until_at("probe-web-", &["node-2", "node-2"]);
    stage.until("probe", "the reason why a service waits", |it| {
        it["reason"].as_str().is_some_and(|it| it.contains("no node can run it"))
    });
    assert_eq!(stage.places("each-"), ["node-1", "node-2"], "it is for every machine");
    stage.cluster.cordon("node-1", false);
    stage.until_well("probe");
    assert_eq!(stage.places("probe-db-"), ["node-1"]);
    assert_eq!(stage.log(), "began\nbegan\n", "its volume is as it was");
}

fn a_machine_is_lost_and_found(stage: &Stage) {
    stage.cluster.freeze_kubelet(2, true);
    stage.until_at("probe-web-", &["node-1", "node-1"]);
    stage.until_well("probe");
    stage.until_at("each-", &["node-1"]);
    // Whether a DaemonSet counts a lost machine depends on what Kubernetes has noticed of it last.
    stage.cluster.freeze_kubelet(2, false);
    stage.until_at("each-", &["node-1", "node-2"]);
    stage.until_well("each");
    stage.until_well("probe");
    assert_eq!(stage.log(), "began\nbegan\n", "nothing was done to it");
}
