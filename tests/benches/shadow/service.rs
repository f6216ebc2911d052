//! The cloud as a process of its own, and what it uses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use gnomon_cloud::config::{Config, ServeArgs};
use gnomon_cloud::server::Server;
use serde_json::{Value, json};

/// A process that is measured; it ends with this value.
pub(crate) struct Process(Child);

/// A cloud that runs.
pub(crate) struct Service {
    process: Process,
    pub(crate) http: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    pub(crate) token: String,
    /// How long it took from its start until it serves.
    pub(crate) started_in: Duration,
}

/// Runs the cloud in this process until it is killed. `GNOMON_CLOUD_PROGRAM` names another
/// program to measure in its place.
#[tokio::main]
pub(crate) async fn serve(folder: &str) -> anyhow::Result<()> {
    let any: SocketAddr = "127.0.0.1:0".parse()?;
    let args = ServeArgs {
        data: Some(folder.into()),
        http: Some(any),
        mqtt: Some(any),
        config: Some(Path::new(folder).join("cloud.toml")),
        ..ServeArgs::default()
    };
    let server = Server::start(Config::load(args)?).await?;
    println!("{}", json!({ "http": server.http_addr(), "mqtt": server.mqtt_addr() }));
    std::future::pending().await
}

impl Service {
    /// Starts a cloud over a data folder.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let config = "[limits]\nhttp_connections = 2000\nmqtt_connections = 12000\n";
        fs::write(folder.join("cloud.toml"), config)?;
        let began = Instant::now();
        let mut command = if let Some(program) = std::env::var_os("GNOMON_CLOUD_PROGRAM") {
            let mut command = Command::new(program);
            command.arg("serve").arg("--data").arg(folder);
            command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--config"]);
            command.arg(folder.join("cloud.toml"));
            command
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("serve").arg(folder);
            command
        };
        let (process, line) = Process::started(command.env("RUST_LOG", "warn"))?;
        let started_in = began.elapsed();
        let ready: Value = serde_json::from_str(&line).context("the cloud did not start")?;
        let addr = |name: &str| ready[name].as_str().unwrap_or_default().parse();
        let (http, mqtt) = (addr("http")?, addr("mqtt")?);
        let token = fs::read_to_string(folder.join("admin-token"))?.trim().to_owned();
        Ok(Self { process, http, mqtt, token, started_in })
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }
}

impl Process {
    /// Starts a program and waits for its first line.
    pub(crate) fn started(command: &mut Command) -> anyhow::Result<(Self, String)> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("the output of a process of the benchmark")?;
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok((process, line))
    }

    /// Starts a program that says nothing.
    pub(crate) fn silent(command: &mut Command) -> anyhow::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// CPU seconds that the process has used.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: Vec<f64> =
            after_name.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Bytes of memory that the process has resident.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        Ok(kib.parse::<f64>().context("reading the resident memory")? * 1024.0)
    }
}

/// As a power cut would: what is measured afterwards is a start after the worst of ends.
impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
