//! A real `gnomon-edge` in a folder, with host processes or with containers: a site that can be
//! killed, lose its power and come back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::eventually::eventually;
use crate::process::{Program, run};

pub struct Site {
    pub name: String,
    data: PathBuf,
    orchestrator: Vec<String>,
    program: Option<Program>,
}

impl Site {
    /// Joins a new site to the cloud and starts it; its apps are host processes.
    pub fn join(cloud: &Cloud, folder: &Path, name: &str) -> Self {
        Self::join_with(cloud, folder, name, &["--orchestrator", "process"])
    }

    /// The same with containers of the daemon at a socket.
    pub fn join_docker(cloud: &Cloud, folder: &Path, name: &str, socket: &str) -> Self {
        let orchestrator = ["--orchestrator", "docker", "--docker-socket", socket];
        Self::join_with(cloud, folder, name, &orchestrator)
    }

    /// The same with workloads of the cluster that a kubeconfig names.
    pub fn join_k3s(cloud: &Cloud, folder: &Path, name: &str, kubeconfig: &str) -> Self {
        let config = folder.join(format!("{name}.toml"));
        std::fs::write(&config, format!("kubeconfig = {kubeconfig:?}\n")).unwrap();
        let orchestrator = ["--orchestrator", "k3s", "--config", &config.to_string_lossy()];
        Self::join_with(cloud, folder, name, &orchestrator)
    }

    /// The arguments for the next starts, in place of those so far.
    pub fn set_args(&mut self, args: &[&str]) {
        self.orchestrator = args.iter().map(ToString::to_string).collect();
    }

    /// The agent's process id.
    pub fn pid(&self) -> i32 {
        self.program.as_ref().unwrap().pid()
    }

    fn join_with(cloud: &Cloud, folder: &Path, name: &str, orchestrator: &[&str]) -> Self {
        let data = folder.join(name);
        let token = cloud.api.join_token(name);
        let path = data.to_string_lossy().into_owned();
        let args = ["join", cloud.api.url(), "--token", &token, "--data", &path];
        let output = run("gnomon-edge", &args, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let orchestrator = orchestrator.iter().map(ToString::to_string).collect();
        let mut site = Self { name: name.to_owned(), data, orchestrator, program: None };
        site.start();
        site
    }

    /// Starts the agent of a folder that has joined already; its apps are host processes.
    pub fn joined(data: &Path) -> Self {
        let name = data.file_name().unwrap().to_string_lossy().into_owned();
        let orchestrator = ["--orchestrator", "process"].map(str::to_owned).to_vec();
        let mut site = Self { name, data: data.to_path_buf(), orchestrator, program: None };
        site.start();
        site
    }

    /// Arguments for the next starts.
    pub fn add_args(&mut self, args: &[&str]) {
        self.orchestrator.extend(args.iter().map(ToString::to_string));
    }

    /// The name of the file that the agent's process runs.
    pub fn program_file(&self) -> String {
        let pid = self.program.as_ref().unwrap().pid();
        let file = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        file.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Waits until the agent has ended by itself.
    pub fn ended(&mut self) {
        let mut program = self.program.take().unwrap();
        eventually("an end of the agent", Duration::from_mins(1), || {
            if program.has_ended() { Ok(()) } else { Err(program.tail()) }
        });
    }

    /// Starts an agent that ends by itself.
    pub fn start_and_die(&self) {
        let data = self.data.to_string_lossy().into_owned();
        let args = [&["run", "--data", &data], &self.args()[..]].concat();
        assert!(!run("gnomon-edge", &args, &[]).status.success());
    }

    fn args(&self) -> Vec<&str> {
        self.orchestrator.iter().map(String::as_str).collect()
    }

    /// Starts the agent.
    pub fn start(&mut self) {
        let data = self.data.to_string_lossy().into_owned();
        let mut args = ["run", "--data", &data].map(str::to_owned).to_vec();
        args.extend(self.orchestrator.clone());
        let log = self.data.with_extension("log");
        self.program = Some(Program::start("gnomon-edge", &args, &log).0);
    }

    pub fn kill9(&mut self) {
        self.program.take().unwrap().kill9();
    }

    /// Ends the agent gracefully.
    pub fn stop(&mut self) -> Option<i32> {
        self.program.take().unwrap().stop()
    }

    /// Ends the agent and everything that it runs at once, as a power cut does.
    pub fn cut_power(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill9();
        }
        self.end_all();
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the agent says of itself over its own socket.
    pub fn status(&self) -> Option<Value> {
        let data = self.data.to_string_lossy().into_owned();
        let output = run("gnomon-edge", &["status", "--data", &data, "-o", "json"], &[]);
        serde_json::from_slice(&output.stdout).ok()
    }

    pub fn tail(&self) -> String {
        self.program.as_ref().map_or_else(|| format!("{} is down", self.name), Program::tail)
    }

    /// The pids of the supervisors of this site's instances, and of what they run.
    pub fn instances(&self) -> Vec<i32> {
        instances(&self.data)
    }

    fn end_all(&self) {
        eventually("an end of all instances", Duration::from_secs(10), || {
            let left = self.instances();
            for pid in &left {
                let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.program = None;
        for pid in self.instances() {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The pids of the supervisors of the instances of the site with this data folder, and of what they
/// run.
pub fn instances(data: &Path) -> Vec<i32> {
    let mark = data.join("process").to_string_lossy().into_owned();
    let shims: Vec<i32> = pids().into_iter().filter(|pid| mentions(*pid, &mark)).collect();
    let mut all = shims.clone();
    let mut parents = shims;
    while !parents.is_empty() {
        let of = |pid: &i32| parent(*pid).is_some_and(|parent| parents.contains(&parent));
        let children: Vec<i32> =
            pids().into_iter().filter(|pid| !all.contains(pid)).filter(of).collect();
        all.extend(&children);
        parents = children;
    }
    all
}

fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn mentions(pid: i32, mark: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    line.contains("__shim") && line.contains(mark)
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(") ")?.1;
    let mut fields = rest.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}
