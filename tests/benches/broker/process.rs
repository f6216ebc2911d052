//! The brokers as processes of their own, on a core of their own, and what they use.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::certificates::Certificates;

/// Where mosquitto may be; Debian has it outside of a user's path.
const MOSQUITTO: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "mosquitto"];

/// The core of the brokers and that of the load generator.
const CORES: [&str; 2] = ["1", "0"];

/// A broker that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl Server {
    /// Our broker.
    pub(crate) fn ours(certificates: &Certificates) -> anyhow::Result<Self> {
        let folder = certificates.path("");
        let mut command = pinned(std::env::current_exe()?.as_os_str(), CORES[0]);
        command.arg("serve").arg(folder);
        let (child, line) = started(command)?;
        let mut addrs = line.split_whitespace().map(str::parse);
        match (addrs.next(), addrs.next()) {
            (Some(Ok(plain)), Some(Ok(tls))) => Ok(Self { child, plain, tls }),
            _ => bail!("our broker said {line:?} instead of its addresses"),
        }
    }

    /// Mosquitto, set up to do as little else as possible.
    pub(crate) fn peer(certificates: &Certificates) -> anyhow::Result<Self> {
        let (plain, tls) = (free_port()?, free_port()?);
        let file = |name| certificates.path(name).display().to_string();
        let config = format!(
            "per_listener_settings false\nallow_anonymous true\npersistence false\nuser root\n\
             log_dest none\nset_tcp_nodelay true\nmax_inflight_messages 100\n\
             max_queued_messages 0\n\
             listener {} 127.0.0.1\n\
             listener {} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
             require_certificate true\nuse_identity_as_username true\n",
            plain.port(),
            tls.port(),
            file("ca.pem"),
            file("server.pem"),
            file("server.key"),
        );
        let path = certificates.path("mosquitto.conf");
        fs::write(&path, config)?;
        let program = mosquitto().context("mosquitto is not installed")?;
        let mut command = pinned(program.as_ref(), CORES[0]);
        command.arg("-c").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().context("starting mosquitto")?;
        let server = Self { child, plain, tls };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(tls).is_err() {
            if Instant::now() > deadline {
                bail!("mosquitto does not listen on {tls}");
            }
            std::thread::yield_now();
        }
        Ok(server)
    }

    /// CPU seconds that the process has used.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: Vec<f64> =
            after_name.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Waits until it has nothing to do.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let mut before = f64::NEG_INFINITY;
        while self.cpu()? > before {
            before = self.cpu()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Bytes of memory that the process has resident.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        Ok(kib.parse::<f64>().context("reading the resident memory")? * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Clients in a process of their own, of low priority, so that their end does not hold up the
/// one that measures.
pub(crate) struct Held(Child);

impl Held {
    /// So many of them.
    pub(crate) fn new(addr: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "19", "taskset", "-c", CORES[1]]).arg(std::env::current_exe()?);
        command.arg("hold").arg(addr.to_string()).arg(count.to_string());
        let (child, line) = started(command)?;
        if line.trim() != "ready" {
            bail!("the clients did not connect");
        }
        Ok(Self(child))
    }

    /// Ends all at once, and does not wait for it.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill().context("ending the clients")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Puts this process on the core that the brokers are not on.
pub(crate) fn pin_self() -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let status = Command::new("taskset")
        .args(["-a", "-c", "-p", CORES[1], &pid])
        .stdout(Stdio::null())
        .status()
        .context("taskset (util-linux) is needed")?;
    if !status.success() {
        bail!("the load generator cannot have a core");
    }
    Ok(())
}

/// While it lives, the processes of this session run before others of the machine, if the system
/// lets them.
pub(crate) struct Priority;

impl Priority {
    pub(crate) fn raise() -> Self {
        set_priority("-19");
        Self
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        set_priority("0");
    }
}

fn set_priority(nice: &str) {
    if let Err(error) = fs::write("/proc/self/autogroup", nice) {
        eprintln!("no priority over other processes of the machine: {error}");
    }
}

/// Lets the main thread run before everything else on its core, if the system lets us.
pub(crate) fn hurry(hurries: bool) {
    let pid = std::process::id().to_string();
    let how = if hurries { ["-f", "-p", "1"] } else { ["-o", "-p", "0"] };
    let mut command = Command::new("chrt");
    command.args(how).arg(&pid).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        eprintln!("no real-time priority: the probe's latency holds the scheduler's too");
    }
}

/// Where mosquitto is, if it is.
pub(crate) fn mosquitto() -> Option<&'static str> {
    let works = |path: &&str| {
        let run = Command::new(path).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok()
    };
    MOSQUITTO.into_iter().find(works)
}

/// What mosquitto says that it is.
pub(crate) fn mosquitto_version() -> Option<String> {
    let help = Command::new(mosquitto()?).arg("-h").output().ok()?;
    String::from_utf8_lossy(&help.stdout).lines().next().map(str::to_owned)
}

fn pinned(program: &std::ffi::OsStr, core: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

fn started(mut command: Command) -> anyhow::Result<(Child, String)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("the output of a process of the benchmark")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok((child, line))
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn end(child: &mut Child) {
    // It may have ended by itself, which is as good.
    drop(child.kill());
    drop(child.wait());
}
