//! A Docker daemon with the demo images in it, for the whole run of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// An image of `tests/docker/image.sh`.
pub(crate) const IMAGE: &str = "gnomon-demo:1";

/// The socket of a daemon that answers. A private one ends with this process.
pub(crate) fn socket() -> &'static Path {
    static SOCKET: OnceLock<PathBuf> = OnceLock::new();
    SOCKET.get_or_init(|| {
        let pid = std::process::id().to_string();
        let dir = std::env::temp_dir().join(format!("gnomon-docker-{pid}"));
        let mut start = Command::new(script("daemon.sh"));
        let line = stdout(start.arg("start").arg(dir).arg(pid).output().unwrap());
        let host = line.trim().strip_prefix("DOCKER_HOST=").unwrap().to_owned();
        stdout(Command::new(script("image.sh")).env("DOCKER_HOST", &host).output().unwrap());
        host.strip_prefix("unix://").unwrap().into()
    })
}

/// Runs the `docker` client and gives back what it printed.
pub(crate) fn docker(args: &[&str]) -> String {
    let host = format!("unix://{}", socket().display());
    stdout(Command::new("docker").env("DOCKER_HOST", host).args(args).output().unwrap())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/docker").join(name)
}

fn stdout(output: Output) -> String {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
