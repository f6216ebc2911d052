//! A Docker daemon whose disk is small enough to fill.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gnomon_edge::reconcile::model::Step;
use tempfile::TempDir;

use crate::bench::{Bench, POLITE, RUNNING, app, service, slot};
use crate::registry::Registry;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/docker");

/// A daemon with everything that it has on a file system of 64 MiB in memory.
struct Small {
    dir: TempDir,
}

impl Small {
    fn start() -> Self {
        let small = Self { dir: tempfile::tempdir().unwrap() };
        small.mount("size=64m");
        let pid = std::process::id().to_string();
        let mut start = Command::new(format!("{SCRIPTS}/daemon.sh"));
        start.arg("start").arg(small.dir.path()).arg(pid);
        succeeds(start.env_remove("DOCKER_HOST").env("GNOMON_PRIVATE_DAEMON", "1"));
        let host = format!("unix://{}", small.socket().display());
        succeeds(Command::new(format!("{SCRIPTS}/image.sh")).env("DOCKER_HOST", host));
        small
    }

    fn mount(&self, options: &str) {
        let mut mount = Command::new("mount");
        succeeds(mount.args(["-t", "tmpfs", "-o", options, "gnomon-small"]).arg(self.dir.path()));
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let at: &Path = self.dir.path();
        Command::new(format!("{SCRIPTS}/daemon.sh")).arg("stop").arg(at).output().ok();
        Command::new("umount").arg("-l").arg(at).output().ok();
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_during_a_pull_is_told_and_disturbs_nothing_that_runs() {
    let (registry, small) = (Registry::start().await, Small::start());
    let image = registry.large_image(120);
    let (bench, web) = (Bench::docker_at(&small.socket()), slot("web"));
    bench.up(&web, &app(service(POLITE))).await;
    let before = bench.instance(&web).await;
    let pull = Step::Pull { app: web.app.clone(), image: image.clone() };
    let error = bench.orchestrator.apply(&pull).await.expect_err("it does not fit");
    assert!(error.is_disk_full() && error.is_transient(), "{}", gnomon_edge::chain(&error));
    assert_eq!((bench.instance(&web).await, before.state), (before.clone(), RUNNING));
    let survey = bench.orchestrator.survey_images().await.unwrap();
    assert!(survey.disk.unwrap().free > 16 << 20, "what came of it was given back");
    small.mount("remount,size=400m");
    bench.apply(pull).await;
    assert!(bench.orchestrator.has_image(&image).await.unwrap());
    assert_eq!(bench.instance(&web).await, before);
    bench.stop(&web, Duration::from_secs(20)).await;
}
