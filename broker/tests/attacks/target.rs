//! The process of the broker that is attacked: where it listens, what it counts, what it uses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::eventually;
use crate::process::{END, VARIABLE};

/// A broker in a process of its own, killed with this.
pub(crate) struct Target {
    child: Child,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    complaints: Option<JoinHandle<String>>,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) websocket: SocketAddr,
    pub(crate) proxied: SocketAddr,
    pub(crate) echo: SocketAddr,
}

impl Target {
    /// Starts a broker with `changes` to its limits and so many file descriptors.
    pub(crate) fn start(changes: &str, descriptors: Option<u32>) -> Self {
        let limit = descriptors.map_or(String::new(), |count| format!("ulimit -n {count};"));
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limit} exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "process::broker_that_is_attacked", "--ignored", "--nocapture"])
            .env(VARIABLE, changes)
            // So that what was freed is given back to the system and can be seen to be free.
            .env("MALLOC_ARENA_MAX", "2")
            .env("MALLOC_TRIM_THRESHOLD_", "65536")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let addrs = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the broker ended at once");
            if let Some(addrs) = line.strip_prefix("listening ") {
                break addrs.split_whitespace().map(|a| a.parse().unwrap()).collect::<Vec<_>>();
            }
        };
        let talk = Mutex::new((child.stdin.take().unwrap(), stdout));
        let [plain, tls, websocket, proxied, echo] = addrs[..] else { panic!("{addrs:?}") };
        let complaints = Some(complaints);
        Self { child, talk, complaints, plain, tls, websocket, proxied, echo }
    }

    /// The sum of a metric over its labels that hold `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let mut talk = self.talk.lock().unwrap();
        let (stdin, stdout) = &mut *talk;
        stdin.write_all(b"metrics\n").unwrap();
        let start = format!("gnomon_broker_{name}");
        let mut sum = 0;
        loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the broker has died");
            let line = line.trim_end();
            if line == END {
                return sum;
            }
            let Some(rest) = line.strip_prefix(&start) else { continue };
            if (rest.starts_with(' ') || rest.starts_with('{')) && rest.contains(label) {
                sum += rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            }
        }
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_is(&self, name: &str, value: u64) {
        eventually(name, || self.metric(name, "") == value).await;
    }

    /// What it holds of the machine's memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The ticks (of 10 ms) of a processor that it used so far.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit(") ").next().unwrap();
        after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// How long its threads ran, and how long they could have run but for other processes.
    pub(crate) fn scheduled(&self) -> (Duration, Duration) {
        let mut sum = (Duration::ZERO, Duration::ZERO);
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            // A thread may end, and a kernel may not count.
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat"));
            let text = text.unwrap_or_default();
            let mut nanos = text.split(' ').map_while(|part| part.trim().parse().ok());
            sum.0 += Duration::from_nanos(nanos.next().unwrap_or(0));
            sum.1 += Duration::from_nanos(nanos.next().unwrap_or(0));
        }
        sum
    }

    /// Ends it and returns what it wrote to its standard error.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.complaints.take().unwrap().join().unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have been ended before.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
