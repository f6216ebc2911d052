//! A private Kubernetes for the agents of a test, with exactly the rights of `deploy/k3s`, and what
//! its API server was asked by them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::eventually::{eventually, let_pass};

pub struct Kubernetes {
    dir: PathBuf,
    /// How an agent reaches it.
    pub kubeconfig: String,
}

/// A request of an agent, as the API server wrote it down.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `list`, `watch`, `patch` and so on.
    pub verb: String,
    pub path: String,
    /// When it came, as the API server writes times.
    pub at: String,
}

/// In what a cluster differs from the usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// How many nodes it has beside the first.
    pub more_nodes: usize,
    /// Silent for how long a node is taken for lost, such as `24s`.
    pub node_grace: Option<&'static str>,
    /// After how many seconds then its pods are made anew elsewhere.
    pub toleration: Option<&'static str>,
}

impl Kubernetes {
    /// Starts one that ends with this process.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, Setup::default())
    }

    /// Starts one that is set up in another way.
    pub fn start_with(dir: &Path, setup: Setup) -> Self {
        let (dir, pid) = (dir.join("kubernetes"), std::process::id().to_string());
        let at = dir.to_string_lossy().into_owned();
        let mut start = command(&["start", &at, &pid]);
        start.env("GNOMON_NODES", (setup.more_nodes + 1).to_string());
        if let Some(grace) = setup.node_grace {
            start.env("GNOMON_NODE_GRACE", grace);
        }
        if let Some(toleration) = setup.toleration {
            start.env("GNOMON_NODE_TOLERATION", toleration);
        }
        let output = start.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = script(&["agent", &at]);
        let kubeconfig = line.trim().strip_prefix("KUBECONFIG=").unwrap().to_owned();
        Self { dir, kubeconfig }
    }

    /// Applies an object in YAML at a path of the API, as an administrator does.
    pub fn apply(&self, path: &str, object: &str) {
        self.send("apply", path, object).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Posts an object in JSON to a path of the API, as an administrator does.
    pub fn post(&self, path: &str, object: &Value) -> Result<(), String> {
        self.send("post", path, &object.to_string())
    }

    fn send(&self, how: &str, path: &str, object: &str) -> Result<(), String> {
        let file = self.dir.join("sent.yaml");
        std::fs::write(&file, object).unwrap();
        let dir = self.dir.to_string_lossy();
        let input = std::fs::File::open(&file).unwrap();
        let output = command(&[how, &dir, path]).stdin(input).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(errors) }
    }

    /// What is at a path of the API, as an administrator sees it.
    pub fn get(&self, path: &str) -> Value {
        serde_json::from_str(&script(&["get", &self.dir.to_string_lossy(), path])).unwrap()
    }

    /// The pods of the agents' namespace that are not on their way out.
    pub fn pods(&self) -> Vec<Value> {
        let mut all = self.get("api/v1/namespaces/gnomon/pods")["items"].take();
        let mut pods = std::mem::take(all.as_array_mut().unwrap());
        pods.retain(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
        pods
    }

    /// Takes a node out of use, or into use again, as `kubectl cordon` does.
    pub fn cordon(&self, node: &str, is_out: bool) {
        let object = format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\nspec: {{unschedulable: {is_out}}}\n"
        );
        self.apply(&format!("api/v1/nodes/{node}"), &object);
    }

    /// Evicts the pods of a node, but for those of a `DaemonSet`, as `kubectl drain` does.
    pub fn drain(&self, node: &str) {
        self.cordon(node, true);
        let stays = |pod: &Value| {
            pod.pointer("/metadata/ownerReferences/0/kind").is_some_and(|it| it == "DaemonSet")
        };
        for pod in self.pods().iter().filter(|pod| pod["spec"]["nodeName"] == node && !stays(pod)) {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let eviction = serde_json::json!({
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": { "name": name, "namespace": "gnomon" },
            });
            let at = format!("api/v1/namespaces/gnomon/pods/{name}/eviction");
            self.post(&at, &eviction).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Gives the agents the rights of `deploy/k3s/rbac-manifests.yaml`, too.
    pub fn permit_manifests(&self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/k3s/rbac-manifests.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let (role, binding) = text.split_once("\n---\n").unwrap();
        for (kind, object) in [("roles", role), ("rolebindings", binding)] {
            let at = "apis/rbac.authorization.k8s.io/v1/namespaces/gnomon";
            self.apply(&format!("{at}/{kind}/gnomon-edge-manifests"), object);
        }
    }

    /// Freezes the kubelet of a node, counted from 1, or lets it go on.
    pub fn freeze_kubelet(&self, node: usize, is_frozen: bool) {
        let config = self.dir.join(format!("kubelet-{node}.yaml")).to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let kubelet = entries.filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let is_it =
                words.clone().any(|it| it == b"kubelet") && words.any(|it| it == config.as_bytes());
            is_it.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        });
        let signal = if is_frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        let mut found = 0;
        for pid in kubelet {
            kill(Pid::from_raw(pid), signal).unwrap();
            found += 1;
        }
        assert_eq!(found, 1, "there is one kubelet");
    }

    /// The port of the API server on 127.0.0.1.
    pub fn port(&self) -> String {
        std::fs::read_to_string(self.dir.join("port")).unwrap().trim().to_owned()
    }

    /// Everything that agents have asked so far; watches count when they end, or have begun.
    pub fn asked(&self) -> Vec<Asked> {
        let log = std::fs::read_to_string(self.dir.join("log/audit")).unwrap_or_default();
        let one = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            // A watch has a line when it begins and one when it ends.
            (line["stage"] == "ResponseComplete").then_some(())?;
            Some(Asked {
                verb: text("verb")?,
                path: text("requestURI")?,
                at: text("requestReceivedTimestamp")?,
            })
        };
        log.lines().filter_map(one).collect()
    }

    /// How often something was written so far.
    pub fn writes(&self) -> usize {
        self.written().len()
    }

    /// What was written so far.
    pub fn written(&self) -> Vec<Asked> {
        let reads = ["get", "list", "watch"];
        let mut asked = self.asked();
        asked.retain(|it| !reads.contains(&it.verb.as_str()));
        asked
    }

    /// Waits until nothing is written any more; how often something was.
    pub fn calm(&self) -> usize {
        eventually("an end of writes", Duration::from_mins(3), || {
            let writes = self.writes();
            let_pass(Duration::from_secs(4));
            if writes == self.writes() { Ok(writes) } else { Err(writes) }
        })
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        script(&["stop", &self.dir.to_string_lossy()]);
    }
}

fn command(args: &[&str]) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/cluster.sh");
    let mut command = Command::new("sh");
    // Also where a person has a cluster of his own: what it was asked is not told there.
    command.arg(path).args(args).env_remove("KUBECONFIG");
    command
}

fn script(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
