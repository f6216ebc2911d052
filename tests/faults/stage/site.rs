//! A site: an agent with a disk of its own, in a box with a Docker daemon and a cable, or on host
//! processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gnomon_tests::eventually;
use gnomon_tests::process::{binary, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::boot;
use super::cloud::Door;
use super::disk::{Disk, succeeds};
use super::link::Link;
use super::local;

const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Site {
    pub(crate) node: String,
    pub(super) folder: PathBuf,
    disk: Disk,
    /// The cable's name and the addresses of its two ends, if it is a box.
    cable: Option<Cable>,
    broker: String,
    api: String,
    child: Option<Child>,
}

#[derive(Debug)]
struct Cable {
    name: String,
    host: String,
    inside: String,
}

impl Cable {
    fn new(number: usize) -> Self {
        let pid = std::process::id();
        let net = (pid as usize * 4 + number) % 16_000;
        let (third, fourth) = (net / 64, net % 64 * 4);
        let address = |host| format!("10.214.{third}.{}", fourth + host);
        Self { name: format!("gf{pid}{number}"), host: address(1), inside: address(2) }
    }
}

impl Site {
    /// Makes it and joins it to the cloud; it does not run yet.
    pub(crate) fn join(cloud: &Door, root: &Path, node: &str, is_box: bool, number: usize) -> Self {
        let folder = root.join(node);
        fs::create_dir_all(&folder).unwrap();
        let disk = Disk::make(&folder, 96);
        let site = Self {
            node: node.to_owned(),
            folder,
            disk,
            cable: is_box.then(|| Cable::new(number)),
            broker: String::new(),
            api: String::new(),
            child: None,
        };
        // The campaign reports more than a site should write.
        fs::write(site.config(), "write_kib_per_hour = 4000000\n").unwrap();
        let path = format!("/v1/nodes/{node}");
        cloud.api().call("PUT", &path, Some(&json!({"labels": {}}))).unwrap();
        site.enrol(cloud, &[]).unwrap();
        site
    }

    /// Joins, which may be refused or not reach the cloud.
    pub(crate) fn enrol(&self, cloud: &Door, flags: &[&str]) -> Result<(), String> {
        let path = format!("/v1/nodes/{}/join-tokens", self.node);
        let answer = cloud.api().call("POST", &path, Some(&json!({"ttl_s": 600})));
        let (_, body) = answer.ok_or("the cloud does not answer")?;
        let token = body["token"].as_str().ok_or_else(|| body.to_string())?;
        let url = cloud.url.clone();
        let data = self.data().to_string_lossy().into_owned();
        let args = [&["join", &url, "--token", token, "--data", &data], flags].concat();
        let output = run("gnomon-edge", &args, &[]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(errors) }
    }

    /// Where it finds the cloud from its next start on.
    pub(crate) fn goes_through(&mut self, link: &Link) {
        let host = self.cable.as_ref().map_or("127.0.0.1", |cable| &cable.host);
        let [broker, api] = link.ports().map(|port| format!("{host}:{port}"));
        (self.broker, self.api) = (broker, api);
    }

    pub(crate) const fn is_box(&self) -> bool {
        self.cable.is_some()
    }

    pub(crate) fn cable(&self) -> Option<String> {
        self.cable.as_ref().map(|cable| cable.name.clone())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.disk.at().join("gnomon")
    }

    pub(crate) const fn disk(&self) -> &Disk {
        &self.disk
    }

    fn config(&self) -> PathBuf {
        self.folder.join("edge.toml")
    }

    /// The arguments of an agent on this data folder.
    fn args(&self, data: &Path) -> Vec<String> {
        let [data, config] = [data, &self.config()].map(|it| it.to_string_lossy().into_owned());
        let mut args: Vec<_> = ["run", "--data", &data, "--config", &config, "--keep-alive-s", "5"]
            .map(str::to_owned)
            .into();
        args.extend(["--broker", &self.broker, "--api", &self.api].map(str::to_owned));
        if self.is_box() {
            let socket = self.folder.join("docker.sock").to_string_lossy().into_owned();
            args.extend(
                ["--orchestrator", "docker", "--docker-socket", &socket].map(str::to_owned),
            );
        } else {
            args.extend(["--orchestrator", "process"].map(str::to_owned));
        }
        args
    }

    pub(crate) fn power_on(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.join("agent.log"));
        let script = boot::AGENT.to_owned() + if self.is_box() { boot::BOX } else { boot::HOST };
        let mut command = if self.is_box() {
            let mut command = Command::new("unshare");
            command.args(["--net", "--pid", "--mount", "--uts", "--ipc", "--fork"]).args([
                "--kill-child=KILL",
                "--mount-proc",
                "sh",
            ]);
            command
        } else {
            Command::new("sh")
        };
        command
            .args(["-c", &script, "site"])
            .arg(binary("gnomon-edge"))
            .args(self.args(&self.data()))
            .env("ROOT", self.folder.parent().unwrap())
            .env("FOLDER", &self.folder)
            .env("NODE", &self.node)
            .env("INSIDE", self.cable.as_ref().map_or("", |cable| &cable.inside))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        let child = command.spawn().expect("unshare (util-linux) and root are needed");
        let pid = child.id();
        fs::write(self.folder.join("pid"), pid.to_string()).unwrap();
        self.child = Some(child);
        if let Some(cable) = &self.cable {
            let inner = eventually("the box to begin", PATIENCE, || {
                let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
                let inner = children.unwrap_or_default().trim().to_owned();
                if inner.is_empty() { Err("no process in it") } else { Ok(inner) }
            });
            let Cable { name, host, .. } = cable;
            let ip = |args: &[&str]| succeeds(Command::new("ip").args(args));
            ip(&["link", "add", name, "type", "veth", "peer", "name", "cable", "netns", &inner]);
            ip(&["addr", "add", &format!("{host}/30"), "dev", name]);
            ip(&["link", "set", name, "up"]);
        }
        self.answers();
    }

    /// Waits until the agent, and the daemon of a box, answer.
    pub(crate) fn answers(&self) {
        eventually(&format!("{} to work", self.node), PATIENCE, || {
            if self.is_box() {
                self.docker(&["version"]).map_err(|errors| errors + &self.tail())?;
            }
            if self.status().is_null() { Err(self.tail()) } else { Ok(()) }
        });
    }

    /// Everything in it dies at once, and its disk forgets what was not synced.
    pub(crate) fn cut_power(&mut self) {
        self.end();
        self.disk.cut_power();
    }

    /// Everything in it dies at once, and stays so.
    pub(crate) fn power_off(&mut self) {
        if self.child.is_some() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        eventually(&format!("an end of {}", self.node), PATIENCE, || {
            let left: Vec<_> = self.agent().into_iter().chain(self.processes()).collect();
            for pid in &left {
                send(*pid, Signal::SIGKILL);
            }
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        // The kernel takes the cable's two ends with the box, in its own time.
        if let Some(cable) = self.cable() {
            eventually("an end of the cable", PATIENCE, || {
                let _gone = Command::new("ip").args(["link", "del", &cable]).output().unwrap();
                let left = Path::new("/sys/class/net").join(&cable);
                if left.exists() { Err(&cable) } else { Ok(()) }
            });
        }
        let _gone = fs::remove_file(self.folder.join("docker.sock"));
    }

    /// The agent's process id on this machine, if it runs.
    pub(crate) fn agent(&self) -> Option<i32> {
        pid_of("gnomon-edge", &["run", &self.data().to_string_lossy()])
    }

    /// The daemon's process id on this machine, if it runs.
    pub(crate) fn daemon(&self) -> Option<i32> {
        pid_of("dockerd", &[&self.folder.join("docker").to_string_lossy()])
    }

    /// Kills the agent and keeps it down.
    pub(crate) fn hold(&self) {
        File::create(self.folder.join("hold")).unwrap();
        eventually(&format!("an end of the agent of {}", self.node), PATIENCE, || {
            let Some(pid) = self.agent() else { return Ok(()) };
            send(pid, Signal::SIGKILL);
            Err(pid)
        });
    }

    /// Lets it start again.
    pub(crate) fn release(&self) {
        let _gone = fs::remove_file(self.folder.join("hold"));
        self.answers();
    }

    /// What the agent believes the time to be from its next start on.
    pub(crate) fn set_clock(&self, time: Option<&str>) {
        let file = self.folder.join("clock");
        match time {
            Some(time) => fs::write(file, time).unwrap(),
            None => drop(fs::remove_file(file)),
        }
    }

    /// The folder of the store, with everything that it needs to be opened.
    pub(crate) fn store(&self) -> PathBuf {
        self.data().join("store")
    }

    /// A second agent with a copy of everything that makes this one what it is. The first is down
    /// meanwhile.
    pub(crate) fn clone_itself(&self) -> Twin {
        let data = self.folder.join("twin");
        succeeds(Command::new("cp").arg("-a").arg(self.data()).arg(&data));
        for own in ["process", "agent.sock"] {
            let _gone = Command::new("rm").arg("-rf").arg(data.join(own)).output();
        }
        let log = File::options().create(true).append(true).open(self.folder.join("twin.log"));
        let child = Command::new(binary("gnomon-edge"))
            .args(self.args(&data))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        Twin { child, data }
    }

    /// What the agent says of itself; null if it does not answer.
    pub(crate) fn status(&self) -> Value {
        let answer = local::ask(&self.data(), &json!({"request": "status"}));
        answer.map_or(Value::Null, |mut answer| answer["status"].take())
    }

    /// Both halves of a shadow as the site has it; `None` if the agent does not answer.
    pub(crate) fn shadow(&self, key: &str) -> Option<Value> {
        local::ask(&self.data(), &json!({"request": "shadow", "key": key})).ok()
    }

    pub(crate) fn tail(&self) -> String {
        let end = |name: &str| {
            let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().rev().take(15).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!("{}: agent:\n{}\ndaemon:\n{}", self.node, end("agent.log"), end("dockerd.log"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.child.is_some() && !std::thread::panicking() {
            self.end();
        } else if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _ended = child.wait();
            for pid in self.agent().into_iter().chain(self.processes()) {
                send(pid, Signal::SIGKILL);
            }
        }
    }
}

/// An agent with another one's identity.
pub(crate) struct Twin {
    child: Child,
    data: PathBuf,
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
        for pid in gnomon_tests::site::instances(&self.data) {
            send(pid, Signal::SIGKILL);
        }
        let _gone = fs::remove_dir_all(&self.data);
    }
}

/// A process that is told something, if it is still there.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// The process of a program with these arguments.
fn pid_of(program: &str, args: &[&str]) -> Option<i32> {
    let entries = fs::read_dir("/proc").unwrap();
    let mut pids =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<_> = line.split('\0').collect();
        let is_it = Path::new(words[0]).file_name().is_some_and(|name| name == program);
        is_it && args.iter().all(|arg| words.contains(arg))
    })
}
