//! What runs at a site, read from the daemon or from the processes themselves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gnomon_tests::site::instances;
use serde_json::Value;

use super::disk::succeeds;
use super::member;
use super::site::Site;
use crate::history::Instance;

/// An instance and the name by which it is told from others.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) instance: Instance,
}

impl Site {
    /// Runs `docker` against the daemon of the box.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<String, String> {
        let output = self.docker_command().args(args).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn docker_command(&self) -> Command {
        docker_at(&self.folder)
    }

    /// Brings the images of the demo into the daemon of the box.
    pub(crate) fn make_images(&self) {
        if self.is_box() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/image.sh");
            let socket = format!("unix://{}", self.folder.join("docker.sock").display());
            succeeds(Command::new("sh").arg(script).env("DOCKER_HOST", socket));
        }
    }

    /// Everything that is there, running or not; an error if the daemon does not say.
    pub(crate) fn instances(&self) -> Result<Vec<Found>, String> {
        if !self.is_box() {
            return Ok(self.processes().into_iter().filter_map(process).collect());
        }
        let ids = self.docker(&["ps", "-a", "-q", "--no-trunc"])?;
        let ids: Vec<_> = ids.lines().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let text = self.docker(&[&["inspect"], &ids[..]].concat())?;
        let all: Vec<Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(all.iter().map(container).collect())
    }

    /// The supervisors of host processes, and what they run.
    pub(crate) fn processes(&self) -> Vec<i32> {
        if self.is_box() { Vec::new() } else { instances(&self.data()) }
    }

    /// What is needed to hear of each start of a container.
    pub(crate) fn starts(&self) -> Starts {
        Starts { folder: self.folder.clone(), since: None }
    }
}

fn docker_at(folder: &Path) -> Command {
    let mut command = Command::new("docker");
    command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
    command
}

fn container(found: &Value) -> Found {
    let config = &found["Config"];
    let label = |name: &str| config["Labels"][format!("io.gnomon.{name}")].as_str();
    let mut env = config["Env"].as_array().into_iter().flatten();
    let value = env.find_map(|it| it.as_str()?.strip_prefix("VALUE=")?.parse().ok());
    let instance = Instance {
        service: label("service").unwrap_or("foreign").to_owned(),
        value: value.unwrap_or(u64::MAX),
        runs: member(found, &["State", "Running"]) == true,
    };
    Found { id: found["Id"].as_str().unwrap_or_default().to_owned(), instance }
}

/// A host process, unless it is a supervisor.
pub(crate) fn process(pid: i32) -> Option<Found> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if !line.starts_with(b"sleep\0") {
        return None;
    }
    let env = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let env = String::from_utf8_lossy(&env).into_owned();
    let of = |name: &str| env.split('\0').find_map(|it| it.strip_prefix(name));
    let (service, value) = (of("SERVICE=")?.to_owned(), of("VALUE=")?.parse().ok()?);
    Some(Found { id: pid.to_string(), instance: Instance { service, value, runs: true } })
}

/// The starts of containers in a box, across restarts of its daemon.
pub(crate) struct Starts {
    folder: PathBuf,
    /// The time of the last event, as the daemon says it.
    since: Option<String>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) service: String,
    pub(crate) revision: String,
    /// The container and the time of this start of it.
    pub(crate) instance: String,
}

impl Starts {
    /// Tells each start until the daemon ends or cannot be reached.
    pub(crate) fn listen(&mut self, mut tell: impl FnMut(Start)) {
        let mut command = docker_at(&self.folder);
        command.args(["events", "--filter", "type=container", "--filter", "event=start"]);
        command.args(["--format", "{{json .}}"]);
        if let Some(since) = &self.since {
            command.args(["--since", since]);
        }
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(child) = spawned.spawn() else { return };
        let mut child = Ended(child);
        let Some(stdout) = child.0.stdout.take() else { return };
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let nanos = event["timeNano"].as_u64().unwrap_or_default();
            self.since = Some(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
            let attributes = member(&event, &["Actor", "Attributes"]);
            let label = |name: &str| attributes[format!("io.gnomon.{name}")].as_str();
            let (Some(service), Some(revision)) = (label("service"), label("revision")) else {
                continue;
            };
            let id = member(&event, &["Actor", "ID"]).as_str().unwrap_or_default();
            tell(Start {
                service: service.to_owned(),
                revision: revision.to_owned(),
                instance: format!("{id} {nanos}"),
            });
        }
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}
