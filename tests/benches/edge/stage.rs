//! A cloud, a Docker daemon, and a site with ten apps.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use gnomon_tests::{Cloud, Site};
use tempfile::TempDir;

pub(crate) const APPS: u32 = 10;
const NODE: &str = "bench-edge";
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Stage {
    pub(crate) cloud: Cloud,
    pub(crate) site: Site,
    folder: TempDir,
    socket: String,
}

impl Stage {
    pub(crate) fn set(root: &Path) -> anyhow::Result<Self> {
        let pid = std::process::id().to_string();
        let mut start = Command::new("sh");
        start.args(["tests/docker/daemon.sh", "start", "target/docker", &pid]).current_dir(root);
        let host = super::output(&mut start)?;
        let host = host.trim().strip_prefix("DOCKER_HOST=").context("a Docker daemon")?.to_owned();
        let mut images = Command::new("sh");
        images.arg("tests/docker/image.sh").env("DOCKER_HOST", &host).current_dir(root);
        super::output(&mut images)?;
        let socket = host.strip_prefix("unix://").context("a unix socket")?.to_owned();
        let folder = tempfile::tempdir()?;
        let cloud = Cloud::start(folder.path());
        let mut site = Site::join_docker(&cloud, folder.path(), NODE, &socket);
        // What the keep-alive grows to by itself on a good link, from the start.
        site.stop();
        site.add_args(&["--keep-alive-s", "300"]);
        site.start();
        let stage = Self { cloud, site, folder, socket };
        stage.deploy(1)?;
        Ok(stage)
    }

    /// Where the Docker daemon is, as `DOCKER_HOST` has it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket)
    }

    /// Deploys all apps with this value and waits until exactly they run.
    pub(crate) fn deploy(&self, value: u32) -> anyhow::Result<()> {
        for app in 0..APPS {
            let text = format!(
                "name: app-{app}\nx-gnomon: {{ settle: 1s }}\nservices:\n  web:\n    image: gnomon-demo:1\n    \
                 restart: always\n    stop_grace_period: 0s\n    environment: {{ VALUE: \"{value}\" }}\n"
            );
            let file = self.folder.path().join("app.yaml");
            std::fs::write(&file, text)?;
            let token = self.cloud.data().join("admin-token").to_string_lossy().into_owned();
            let env = [("GNOMON_SERVER", self.cloud.api.url()), ("GNOMON_TOKEN_FILE", &token)];
            let file = file.to_string_lossy();
            let args = ["apply", "-f", &file, "--node", NODE];
            let output = gnomon_tests::process::run("gnomon", &args, &env);
            if !output.status.success() {
                bail!("{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        self.until("all apps to be as desired", || {
            let apps = self.site.status().unwrap_or_default()["apps"].clone();
            let apps = apps.as_array().cloned().unwrap_or_default();
            let good = apps
                .iter()
                .filter(|app| app["status"]["state"] == "running" && app["status"]["good"] == true);
            good.count() == APPS as usize && self.running().len() == APPS as usize
        })?;
        Ok(())
    }

    /// The ids of the running containers.
    pub(crate) fn running(&self) -> Vec<String> {
        let filter = format!("label=io.gnomon.node={NODE}");
        let output = self.docker(&["ps", "-q", "--no-trunc", "--filter", &filter]);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    #[expect(clippy::panic, reason = "there is nothing to measure without it")]
    pub(crate) fn docker(&self, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).args(args);
        command.output().unwrap_or_else(|error| panic!("docker: {error}"))
    }

    /// Waits; gives back for how long.
    pub(crate) fn until(
        &self,
        what: &str,
        mut is_so: impl FnMut() -> bool,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while !is_so() {
            if began.elapsed() > PATIENCE {
                bail!("waited for {what}: {}", self.site.tail());
            }
            std::thread::sleep(LOOK);
        }
        Ok(began.elapsed())
    }
}

/// A daemon that was started for this ends with the process.
impl Drop for Stage {
    fn drop(&mut self) {
        let filter = format!("label=io.gnomon.node={NODE}");
        for kind in ["container", "network"] {
            let all = if kind == "container" { &["-a"][..] } else { &[] };
            let list = [&[kind, "ls", "-q", "--filter", &filter][..], all].concat();
            let ids = String::from_utf8_lossy(&self.docker(&list).stdout).into_owned();
            let force = if kind == "container" { &["-f"][..] } else { &[] };
            let ids: Vec<_> = ids.lines().collect();
            if !ids.is_empty() {
                self.docker(&[&[kind, "rm"][..], force, &ids].concat());
            }
        }
    }
}
