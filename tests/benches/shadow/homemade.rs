//! The home-made stack: mosquitto, `PostgreSQL` and an asyncio worker between them
//! (`homemade.py`), each a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fill;
use crate::load::Client;
use crate::mqtt;
use crate::service::Process;

/// The stack that runs. The fields end in their order.
pub(crate) struct HomeMade {
    _worker: Process,
    _mosquitto: Process,
    _postgres: Process,
    pub(crate) http: SocketAddr,
    pub(crate) mqtt: SocketAddr,
}

/// What its worker wants to see.
pub(crate) const TOKEN: &str = "home-made";

const PATIENCE: Duration = Duration::from_secs(30);

/// The folder with the worker's libraries, if everything that the stack needs is there.
pub(crate) fn setup(root: &Path) -> Option<PathBuf> {
    let venv = root.join("target/bench/venv");
    let script = root.join("tests/benches/shadow/setup.sh");
    let status = Command::new("sh").arg(script).arg(&venv).status();
    status.is_ok_and(|status| status.success()).then_some(venv)
}

impl HomeMade {
    /// Starts it with its data in a folder.
    pub(crate) fn start(root: &Path, venv: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (postgres, dsn) = postgres(folder)?;
        let mqtt = free_port()?;
        let config = folder.join("mosquitto.conf");
        let text = format!(
            "allow_anonymous true\npersistence false\nuser root\nlog_dest none\n\
             set_tcp_nodelay true\nmax_inflight_messages 0\nmax_queued_messages 0\n\
             listener {} 127.0.0.1\n",
            mqtt.port()
        );
        fs::write(&config, text)?;
        let program = if Path::new("/usr/sbin/mosquitto").exists() {
            "/usr/sbin/mosquitto"
        } else {
            "mosquitto"
        };
        let mosquitto = Process::silent(Command::new(program).arg("-c").arg(&config))?;
        await_port(mqtt)?;
        let mut worker = Command::new(venv.join("bin/python"));
        worker.arg(root.join("tests/benches/shadow/homemade.py"));
        worker.args([&mqtt.port().to_string(), &dsn, TOKEN]);
        let (worker, line) = Process::started(&mut worker)?;
        let ready: Value = serde_json::from_str(&line).context("the worker did not start")?;
        let http = ready["http"].as_str().unwrap_or_default().parse()?;
        Ok(Self { _worker: worker, _mosquitto: mosquitto, _postgres: postgres, http, mqtt })
    }
}

/// `PostgreSQL` as Debian sets it up, with its data in the folder; it does not run as root.
fn postgres(folder: &Path) -> anyhow::Result<(Process, String)> {
    let data = folder.join("postgres");
    fs::create_dir_all(&data)?;
    let bin = fs::read_dir("/usr/lib/postgresql")?.flatten().map(|entry| entry.path().join("bin"));
    let bin = bin.max().context("PostgreSQL is not installed")?;
    let as_postgres = |program: &str| {
        // It becomes the program, so that the process that is ended is PostgreSQL.
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"]);
        command.arg(bin.join(program)).current_dir("/");
        command
    };
    let owned = Command::new("chown").arg("postgres").arg(&data).status()?;
    if !owned.success() {
        bail!("the data folder of PostgreSQL cannot be given to it");
    }
    for parent in data.ancestors().skip(1).take(1) {
        let open = Command::new("chmod").arg("o+x").arg(parent).status()?;
        if !open.success() {
            bail!("PostgreSQL cannot get to its data folder");
        }
    }
    let mut init = as_postgres("initdb");
    init.args(["-A", "trust", "-U", "bench", "-D"]).arg(&data).stdout(Stdio::null());
    if !init.status()?.success() {
        bail!("initdb failed");
    }
    let addr = free_port()?;
    let mut command = as_postgres("postgres");
    command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-k", "", "-p"]);
    let process = Process::silent(command.arg(addr.port().to_string()))?;
    await_port(addr)?;
    Ok((process, format!("postgresql://bench@127.0.0.1:{}/postgres", addr.port())))
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn await_port(addr: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(addr).is_err() {
        if Instant::now() > deadline {
            bail!("nothing listens on {addr}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A site of the home-made stack: reports a field over MQTT, and waits until that is committed.
pub(crate) struct HomeSite {
    stream: tokio::net::TcpStream,
    node: String,
    bytes: Vec<u8>,
    reports: u64,
    acked: u64,
}

impl HomeSite {
    pub(crate) async fn connect(addr: SocketAddr, n: usize) -> anyhow::Result<Self> {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let node = fill::node(n);
        let mut site = Self { stream, node, bytes: Vec::new(), reports: 0, acked: 0 };
        let mut packets = Vec::new();
        mqtt::connect(&mut packets, &site.node);
        site.stream.write_all(&packets).await?;
        while !site.read().await?.contains(&mqtt::CONNACK) {}
        packets.clear();
        mqtt::subscribe(&mut packets, &format!("ack/{}", site.node));
        site.stream.write_all(&packets).await?;
        while !site.read().await?.contains(&mqtt::SUBACK) {}
        Ok(site)
    }

    async fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        if self.stream.read_buf(&mut self.bytes).await? == 0 {
            bail!("mosquitto closed a connection");
        }
        let bytes = std::mem::take(&mut self.bytes);
        let (mut rest, mut kinds, mut answers) = (bytes.as_slice(), Vec::new(), Vec::new());
        while let Some((kind, body, len)) = mqtt::first(rest) {
            kinds.push(kind);
            if kind == mqtt::PUBLISH
                && let Some((_, pkid, payload)) = mqtt::published(body)
            {
                mqtt::puback(&mut answers, pkid);
                self.acked = std::str::from_utf8(payload)?.parse()?;
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        self.bytes = rest.to_vec();
        self.stream.write_all(&answers).await?;
        Ok(kinds)
    }
}

impl Client for HomeSite {
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.reports += 1;
        let patch = json!({ "price": { "diesel": self.reports } });
        let said = json!({ "key": fill::shadow(0), "n": self.reports, "patch": patch });
        let pkid = u16::try_from(self.reports % 65_535).unwrap_or(0) + 1;
        let mut packets = Vec::new();
        let topic = format!("report/{}", self.node);
        mqtt::publish(&mut packets, &topic, pkid, said.to_string().as_bytes());
        self.stream.write_all(&packets).await?;
        while self.acked < self.reports {
            self.read().await?;
        }
        Ok(())
    }
}
