//! A Docker daemon that goes away and comes back, with all containers stopped by its end; and one
//! that hangs for a while, with all of them going on.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gnomon_tests::eventually;
use gnomon_tests::eventually::let_pass;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::daemon::{Docker, script};
use super::{Stage, compose};
use crate::app::PATIENCE;

/// A daemon of this test's own, in the layout that `daemon.sh stop` clears away.
struct Daemon {
    dir: TempDir,
    child: Option<Child>,
}

impl Daemon {
    fn start() -> Self {
        let mut daemon = Self { dir: tempfile::tempdir().unwrap(), child: None };
        daemon.restart();
        daemon.docker().make_images();
        daemon
    }

    fn docker(&self) -> Docker {
        Docker::at(&self.path("docker.sock"))
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn restart(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("dockerd.log")).unwrap();
        let own = format!("gnomon-e2e-{}", std::process::id());
        let child = Command::new("dockerd")
            .args(["--data-root", &self.path("data"), "--exec-root", &self.path("exec")])
            .args(["--pidfile", &self.path("docker.pid")])
            .args(["--host", &format!("unix://{}", self.path("docker.sock"))])
            .args(["--bridge", "none", "--iptables=false", "--ip-masq=false"])
            .args(["--containerd-namespace", &own])
            .args(["--containerd-plugins-namespace", &format!("{own}-plugins")])
            .args(["--shutdown-timeout", "2"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually("the daemon to answer", PATIENCE, || {
            let output = self.docker().try_run(&["version"]);
            let errors = || String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(errors()) }
        });
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(child.id().try_into().unwrap());
            for signal in [Signal::SIGCONT, Signal::SIGTERM] {
                let _gone = kill(pid, signal);
            }
            let _ended = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        let stop = Command::new(script("daemon.sh")).arg("stop").arg(self.dir.path()).status();
        let _cleared = stop.is_ok_and(|status| status.success());
    }
}

fn orchestrator(stage: &Stage) -> serde_json::Value {
    let (_, node) = stage.cloud.api.get(&format!("/v1/nodes/{}/shadows/node", stage.node()));
    node["reported"]["document"]["orchestrator"].clone()
}

fn says(stage: &Stage, word: &str) {
    eventually(&format!("`{word}`: {}", stage.site.tail()), PATIENCE, || {
        let seen = orchestrator(stage);
        if seen["state"] == word { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn a_daemon_that_is_stopped_and_started_is_reported_and_its_apps_come_back() {
    let mut daemon = Daemon::start();
    let stage = Stage::on(daemon.docker(), "outage");
    let before = stage.deploy(1);
    says(&stage, "ready");
    let lines = stage.logged().len();
    daemon.stop();
    assert!(!Path::new(&daemon.path("docker.pid")).exists(), "the daemon is down");
    says(&stage, "unreachable");
    let reason = orchestrator(&stage)["reason"].to_string();
    assert!(reason.contains("cannot reach the Docker daemon"), "{reason}");
    let_pass(Duration::from_secs(6));
    let since: Vec<_> = stage.logged().split_off(lines);
    assert!(since.len() <= 12, "an error loop: {since:#?}");
    daemon.restart();
    says(&stage, "ready");
    let after = stage.runs(1);
    for (service, container) in &before {
        assert_eq!(after[service].id, container.id, "{service} was started, not made again");
        assert_ne!(after[service].started_at, container.started_at);
    }
}

#[test]
fn a_daemon_that_hangs_is_a_state_and_what_runs_goes_on() {
    let daemon = Daemon::start();
    let stage = Stage::on(daemon.docker(), "hang");
    let before = stage.deploy(1);
    says(&stage, "ready");
    let lines = stage.logged().len();
    daemon.signal(Signal::SIGSTOP);
    // Another version is a reason to look at once.
    assert!(stage.apply_text(&compose(1, "gnomon-demo:2")));
    says(&stage, "unreachable");
    let reason = orchestrator(&stage)["reason"].to_string();
    assert!(reason.contains("did not answer in time"), "{reason}");
    let since: Vec<_> = stage.logged().split_off(lines);
    assert!(since.len() <= 12, "an error loop: {since:#?}");
    daemon.signal(Signal::SIGCONT);
    says(&stage, "ready");
    let after = stage.runs(1);
    for service in ["first", "second"] {
        assert_eq!(after[service], before[service], "{service} was left alone");
    }
    assert_ne!(after["third"].id, before["third"].id, "what waited was done");
}
