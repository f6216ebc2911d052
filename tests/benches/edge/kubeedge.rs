//! The peer: edgecore of `KubeEdge` on the same machine, with ten containers of the same image.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::rest::resident_mb;
use crate::stage::APPS;

/// What it is, for the facts.
pub(crate) const WHAT: &str = "edgecore 1.20.0, built by tests/kubeedge/build.sh, with ten static pods \
    of the same image in a containerd of its own, its link down, 10 s after they ran";
const FOLDER: &str = "target/kubeedge";

/// Half a minute after its start edgecore ends itself, since no cloud has told it of its node.
const CALM: Duration = Duration::from_secs(10);

/// Starts it and reads how much memory it has in megabytes, a while after all of its pods run; `host`
/// is the Docker daemon with the image.
pub(crate) fn measure(root: &Path, host: &str) -> anyhow::Result<f64> {
    eprintln!("measuring: the memory of KubeEdge's edgecore");
    let script = Script { root, host };
    let (apps, this) = (APPS.to_string(), std::process::id().to_string());
    let pid = script.run(&["start", FOLDER, &apps, &this])?.trim().parse();
    let pid = pid.context("the process of edgecore")?;
    std::thread::sleep(CALM);
    let resident = resident_mb(pid)?;
    let running = script.run(&["pods", FOLDER])?;
    if running.trim().parse() != Ok(2 * APPS) {
        bail!("at the end not all of its pods ran, but {} containers", running.trim());
    }
    Ok(resident)
}

/// What starts and ends it. It ends with this.
struct Script<'a> {
    root: &'a Path,
    host: &'a str,
}

impl Script<'_> {
    /// What it prints. What it says meanwhile is shown, and its last word is the error.
    fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("sh");
        command.arg("tests/kubeedge/edgecore.sh").args(args).current_dir(self.root);
        command.env("DOCKER_HOST", self.host).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let told = child.stderr.take().context("its standard error")?;
        let mut last = String::new();
        for line in BufReader::new(told).lines().map_while(Result::ok) {
            eprintln!("{line}");
            last = line;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{last}");
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Script<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["stop", FOLDER]) {
            eprintln!("edgecore was not ended: {error:#}");
        }
    }
}
