//! An app that is Kubernetes manifests, from the command line to the cluster and back.

use std::path::Path;
use std::time::Duration;

use gnomon_tests::{Cloud, Kubernetes, Site, eventually};
use serde_json::Value;

use crate::app::{gnomon, shadow};

const PATIENCE: Duration = Duration::from_mins(4);

const SHOP: &str = r#"
apiVersion: v1
kind: Secret
metadata: { name: shop }
stringData: { password: "hunter2" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: web, image: "gnomon-demo:1", env: [{ name: VALUE, value: "@" }] }]
"#;

fn apply(cloud: &Cloud, folder: &Path, node: &str, text: &str) -> String {
    let file = folder.join("shop.yaml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_string_lossy();
    let output = gnomon(cloud, &["apply", "-f", &file, "--app", "probe", "--node", node]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn until(cloud: &Cloud, site: &Site, node: &str, is: impl Fn(&Value, &Value) -> bool) -> Value {
    eventually(&format!("a report: {}", site.tail()), PATIENCE, || {
        let mut shadow = shadow(cloud, node);
        let reported = shadow["reported"]["document"].take();
        if is(&reported, &shadow["desired"]["version"]) { Ok(reported) } else { Err(reported) }
    })
}

#[test]
fn an_app_of_manifests_settles_is_rolled_back_and_goes_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Kubernetes::start(folder.path());
    cluster.permit_manifests();
    let cloud = Cloud::start(folder.path());
    let node = format!("e2e-raw-{}", std::process::id());
    let site = Site::join_k3s(&cloud, folder.path(), &node, &cluster.kubeconfig);
    let said = apply(&cloud, folder.path(), &node, &SHOP.replace('@', "1"));
    assert!(said.contains("created (v1, 2 objects)"), "{said}");
    let set = gnomon(&cloud, &["shadow", "set", &node, "app/probe", "trial.settle_ms=2000"]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let is_good = |reported: &Value, version: &Value| {
        reported["desired_version"] == *version
            && reported["good"] == true
            && reported["state"] == "running"
    };
    let good = until(&cloud, &site, &node, is_good);
    assert_eq!(good["services"]["manifests"]["healthy"], true, "{good}");
    assert!(!shadow(&cloud, &node).to_string().contains("aHVudGVyMg"), "the cloud shows no secret");
    // The API server refuses a part of it; what ran goes on to run, and the reason is told.
    let bad = SHOP.replace('@', "2")
        + "---\napiVersion: v1\nkind: Service\nmetadata: { name: shop }\nspec: { ports: [{ port: 0 }] }\n";
    apply(&cloud, folder.path(), &node, &bad);
    let is_back = |reported: &Value, version: &Value| {
        reported["desired_version"] == *version && !reported["rolled_back_from"].is_null()
    };
    let back = until(&cloud, &site, &node, is_back);
    assert_eq!(back["revision"], good["revision"]);
    let reason = back["reason"].as_str().unwrap();
    assert!(reason.contains("spec.ports[0].port"), "{reason}");
    // A revision that is accepted and never comes up is given up, too.
    let sick = SHOP
        .replace('@', "3")
        .replace("spec:\n  selector", "spec:\n  progressDeadlineSeconds: 2\n  selector");
    apply(&cloud, folder.path(), &node, &sick.replace("gnomon-demo:1", "127.0.0.1:9/nowhere:1"));
    let is_sick = |reported: &Value, version: &Value| {
        let reason = reported["reason"].as_str().unwrap_or_default();
        is_back(reported, version) && reason.contains("ProgressDeadlineExceeded")
    };
    until(&cloud, &site, &node, is_sick);
    until(&cloud, &site, &node, |reported, _| {
        reported["services"]["manifests"]["state"] == "running"
    });
    let writes = cluster.writes();
    let gone = gnomon(&cloud, &["delete", "app", "probe", "--node", &node]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    eventually("nothing left", PATIENCE, || {
        let status = site.status();
        let is_empty =
            status.as_ref().is_some_and(|it| it["apps"].as_array().is_some_and(Vec::is_empty));
        let deleted = cluster
            .asked()
            .iter()
            .any(|it| it.verb == "delete" && it.path.contains("configmaps/probe-manifests"));
        if is_empty && deleted { Ok(()) } else { Err(status) }
    });
    assert!(cluster.writes() > writes);
    let log = std::fs::read_to_string(site.data().with_extension("log")).unwrap();
    assert!(!log.contains("hunter2") && !log.contains("aHVudGVyMg"), "no secret is logged");
}
