//! A private Kubernetes for the agents of a test, with exactly the rights of `deploy/k3s`, and what
//! its API server was asked by them.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

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

impl Kubernetes {
    /// Starts one that ends with this process.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, None)
    }

    /// Starts one that takes a node for lost when it was silent for so long.
    pub fn start_with(dir: &Path, node_grace: Option<&str>) -> Self {
        let (dir, pid) = (dir.join("kubernetes"), std::process::id().to_string());
        let at = dir.to_string_lossy().into_owned();
        let mut start = command(&["start", &at, &pid]);
        if let Some(grace) = node_grace {
            start.env("GNOMON_NODE_GRACE", grace);
        }
        let output = start.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = script(&["agent", &at]);
        let kubeconfig = line.trim().strip_prefix("KUBECONFIG=").unwrap().to_owned();
        Self { dir, kubeconfig }
    }

    /// Applies an object in YAML at a path of the API, as an administrator does.
    pub fn apply(&self, path: &str, object: &str) {
        let file = self.dir.join("applied.yaml");
        std::fs::write(&file, object).unwrap();
        let dir = self.dir.to_string_lossy();
        let input = std::fs::File::open(&file).unwrap();
        let output = command(&["apply", &dir, path]).stdin(input).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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

    /// Freezes the kubelet, or lets it go on.
    pub fn freeze_kubelet(&self, is_frozen: bool) {
        let config = self.dir.join("kubelet.yaml").to_string_lossy().into_owned();
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
        let reads = ["get", "list", "watch"];
        self.asked().iter().filter(|it| !reads.contains(&it.verb.as_str())).count()
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
