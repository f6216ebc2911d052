//! The Docker engine, through the `docker` command and the labels of gnomon's containers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;

use super::reality::Running;

const NODE_LABEL: &str = "io.gnomon.node";
const SERVICE_LABEL: &str = "io.gnomon.service";
const CALL: Duration = Duration::from_mins(1);

/// An engine that answers.
#[derive(Debug, Clone)]
pub(super) struct Docker {
    /// Its socket; `gnomon-edge` gets the same.
    pub(super) socket: PathBuf,
    pub(super) version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: State,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Docker {
    /// Asks the engine for its version; the error says why it cannot be used.
    pub(super) async fn find() -> Result<Self, String> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
            None => return Err(format!("DOCKER_HOST={host} is not a unix:// socket")),
        };
        if !socket.exists() {
            return Err(format!("there is no Docker socket at {}", socket.display()));
        }
        let found = Self { socket, version: String::new() };
        match found.run(&["version", "--format", "{{.Server.Version}}"]).await {
            Ok(version) => Ok(Self { version: version.trim().to_owned(), ..found }),
            Err(error) => Err(super::reason(&error)),
        }
    }

    /// Whether the engine has an image.
    pub(super) async fn has_image(&self, image: &str) -> bool {
        self.run(&["image", "inspect", "--format", "{{.Id}}", image]).await.is_ok()
    }

    /// The containers of a node that run.
    pub(super) async fn running(&self, node: &str) -> anyhow::Result<Vec<Running>> {
        let filter = format!("label={NODE_LABEL}={node}");
        let ids = lines(&self.run(&["ps", "-q", "--no-trunc", "--filter", &filter]).await?);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = vec!["inspect", "--type", "container"];
        arguments.extend(ids.iter().map(String::as_str));
        // A container that went away since makes it fail and leaves the rest of the answer right.
        let output = self.output(&arguments).await?;
        let found: Vec<Inspected> = serde_json::from_slice(&output.stdout)
            .context("docker inspect did not answer with a list")?;
        let mut running: Vec<Running> =
            found.into_iter().filter(|one| one.state.running).map(Running::from).collect();
        running.sort_by(|a, b| (&a.service, a.pid).cmp(&(&b.service, b.pid)));
        Ok(running)
    }

    /// Kills a container as a crash would.
    pub(super) async fn kill(&self, container: &str) -> anyhow::Result<()> {
        self.run(&["kill", container]).await.map(drop)
    }

    /// The containers, networks and volumes of a node, for people.
    pub(super) async fn everything(&self, node: &str) -> anyhow::Result<Vec<String>> {
        let found = self.objects(node).await?;
        Ok(found.into_iter().map(|(kind, name)| format!("{kind} {name}")).collect())
    }

    /// Removes the containers, networks and volumes of a node; returns what they were.
    pub(super) async fn remove_all(&self, node: &str) -> anyhow::Result<Vec<String>> {
        let mut removed = Vec::new();
        for (kind, name) in self.objects(node).await? {
            let force: &[&str] = if kind == "container" { &["-f", "-v"] } else { &[] };
            self.run(&[&[kind, "rm"], force, &[name.as_str()]].concat()).await?;
            removed.push(format!("{kind} {name}"));
        }
        Ok(removed)
    }

    /// Kind and name, in an order in which they can be removed.
    async fn objects(&self, node: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
        let filter = format!("label={NODE_LABEL}={node}");
        let mut found = Vec::new();
        for (kind, format, all) in [
            ("container", "{{.Names}}", Some("-a")),
            ("network", "{{.Name}}", None),
            ("volume", "{{.Name}}", None),
        ] {
            let mut arguments = vec![kind, "ls", "--filter", &filter, "--format", format];
            arguments.extend(all);
            let names = lines(&self.run(&arguments).await?);
            found.extend(names.into_iter().map(|name| (kind, name)));
        }
        Ok(found)
    }

    /// Builds the images of the demo with a script.
    pub(super) async fn build(&self, script: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(script);
        command.env("DOCKER_HOST", self.host());
        check(command, &script.display().to_string()).await.map(drop)
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let name =
            format!("docker {}", arguments.iter().take(2).copied().collect::<Vec<_>>().join(" "));
        check(self.command(arguments), &name).await
    }

    async fn output(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let run = self.command(arguments).output();
        tokio::time::timeout(CALL, run).await.context("docker did not answer")?.map_err(Into::into)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(arguments).kill_on_drop(true);
        command.stdin(std::process::Stdio::null()).env_remove("DOCKER_CONTEXT");
        command
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl From<Inspected> for Running {
    fn from(one: Inspected) -> Self {
        let pair =
            |entry: String| entry.split_once('=').map(|(name, value)| (name.into(), value.into()));
        let labels = one.config.labels.unwrap_or_default();
        Self {
            service: labels.get(SERVICE_LABEL).cloned().unwrap_or_default(),
            pid: one.state.pid,
            container: Some(one.id),
            environment: one.config.env.into_iter().flatten().filter_map(pair).collect(),
        }
    }
}

async fn check(mut command: Command, name: &str) -> anyhow::Result<String> {
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let run = tokio::time::timeout(CALL, command.output()).await;
    let output = run
        .with_context(|| format!("{name} did not end within {} s", CALL.as_secs()))?
        .with_context(|| format!("cannot run {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{name}: {}", text(&output.stderr));
    Ok(text(&output.stdout))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
}
