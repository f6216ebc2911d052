//! The Docker daemon as a test reaches it, through the `docker` command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// A daemon at a socket.
#[derive(Clone)]
pub(crate) struct Docker {
    socket: String,
}

impl Docker {
    /// The daemon of `DOCKER_HOST`, with the images of the demo.
    pub(crate) fn shared() -> Self {
        static SOCKET: OnceLock<String> = OnceLock::new();
        let socket = SOCKET.get_or_init(|| {
            let host = std::env::var("DOCKER_HOST").unwrap_or_default();
            let socket = host.strip_prefix("unix://").expect(
                "DOCKER_HOST must name a Docker daemon, as unix:///PATH: `make test` starts one; \
                 or run `sh tests/docker/daemon.sh start target/docker`",
            );
            let docker = Self::at(socket);
            docker.make_images();
            docker.socket
        });
        Self::at(socket)
    }

    pub(crate) fn at(socket: &str) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub(crate) fn socket(&self) -> &str {
        &self.socket
    }

    /// Makes gnomon-demo:1 and :2 unless they are there.
    pub(crate) fn make_images(&self) {
        if self.try_run(&["image", "inspect", "gnomon-demo:1", "gnomon-demo:2"]).status.success() {
            return;
        }
        let mut script = self.command(&script("image.sh"));
        succeeded(&script.output().unwrap());
    }

    /// Runs `docker`, and gives back what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        succeeded(&self.try_run(args))
    }

    pub(crate) fn try_run(&self, args: &[&str]) -> Output {
        self.command(Path::new("docker")).args(args).output().unwrap()
    }

    /// The objects of a kind that carry a node's label.
    pub(crate) fn of_node(&self, kind: &str, node: &str) -> Vec<String> {
        let filter = format!("label=io.gnomon.node={node}");
        let mut args = vec![kind, "ls", "-q", "--filter", &filter];
        if kind == "container" {
            args.extend(["-a", "--no-trunc"]);
        }
        self.run(&args).lines().map(str::to_owned).collect()
    }

    /// A container; `None` if it is gone.
    pub(crate) fn inspect(&self, id: &str) -> Option<Value> {
        let output = self.try_run(&["container", "inspect", id]);
        let mut found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        found.pop()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket));
        command
    }
}

/// Removes what carries a node's label when it is dropped, also when a test fails.
pub(crate) struct Cleaner {
    docker: Docker,
    node: String,
}

impl Cleaner {
    pub(crate) const fn new(docker: Docker, node: String) -> Self {
        Self { docker, node }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        let filter = format!("label=io.gnomon.node={}", self.node);
        for (kind, force) in
            [("container", &["-f", "-v"][..]), ("network", &[]), ("volume", &["-f"])]
        {
            let all = if kind == "container" { &["-a"][..] } else { &[] };
            let list = [&[kind, "ls", "-q", "--filter", &filter], all].concat();
            let found = self.docker.try_run(&list);
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            let ids: Vec<_> = found.lines().collect();
            if !ids.is_empty() {
                let _gone = self.docker.try_run(&[&[kind, "rm"], force, &ids].concat());
            }
        }
    }
}

/// A script of `tests/docker`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(name)
}

fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
