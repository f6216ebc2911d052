//! The processes of the demo: started with their logs in files, ended by their ids.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::exit::Failure;

/// How long a process may take to say that it is ready.
const READY: Duration = Duration::from_secs(30);
/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(8);
/// How much of a log is looked at for its last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// Every process that runs, in the order in which they were started.
pub(super) struct Cast {
    logs: PathBuf,
    members: Vec<Member>,
}

struct Member {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Cast {
    /// A cast whose logs go into a directory.
    pub(super) const fn new(logs: PathBuf) -> Self {
        Self { logs, members: Vec::new() }
    }

    /// Starts a process and waits for the one JSON line with which it says that it is ready.
    pub(super) async fn start(
        &mut self,
        name: &str,
        mut command: Command,
    ) -> anyhow::Result<Value> {
        let log = self.logs.join(format!("{name}.log"));
        let stderr =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .env("NO_COLOR", "1")
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let stdout = child.stdout.take().context("the process has no stdout")?;
        self.members.push(Member { name: name.to_owned(), child, log: log.clone() });
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        let read = timeout(READY, lines.read_line(&mut line)).await;
        let ready = serde_json::from_str::<Value>(&line).ok();
        match (read, ready) {
            (Ok(Ok(_)), Some(ready)) => {
                tokio::spawn(drain(lines, log));
                Ok(ready)
            }
            (Ok(_), _) => {
                // It ends or has ended; a moment gives its exit code.
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.check_alive()?;
                anyhow::bail!("{name} said {line:?} where it should have said that it is ready")
            }
            (Err(_), _) => {
                let text =
                    format!("{name} did not say within {} s that it is ready", READY.as_secs());
                Err(Failure::TimedOut(text).into())
            }
        }
    }

    /// Runs a command to its end; its output goes to a log of its own.
    pub(super) async fn call(&self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .env("NO_COLOR", "1")
            .process_group(0)
            .kill_on_drop(true);
        let Ok(status) = timeout(READY, command.status()).await else {
            let text = format!("{name} did not end within {} s", READY.as_secs());
            return Err(Failure::TimedOut(text).into());
        };
        let status = status.with_context(|| format!("cannot run {program}"))?;
        anyhow::ensure!(status.success(), "{name} failed ({status}):\n{}", tail(&log, 8));
        Ok(())
    }

    /// Fails when one of them has ended by itself.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(status) = member.child.try_wait()? {
                anyhow::bail!("{} ended by itself ({status})", member.name);
            }
        }
        Ok(())
    }

    /// Ends all of them, the last one first: asked, then killed. Returns who had to be killed.
    pub(super) async fn end(&mut self) -> Vec<String> {
        let mut killed = Vec::new();
        while let Some(mut member) = self.members.pop() {
            if end(&mut member.child).await.is_none() {
                killed.push(member.name);
            }
        }
        killed
    }

    /// The last lines of every log, for a failure.
    pub(super) fn tails(&self, lines: usize) -> String {
        let of = |member: &Member| {
            format!(
                "--- {} ({})\n{}\n",
                member.name,
                member.log.display(),
                tail(&member.log, lines)
            )
        };
        self.members.iter().map(of).collect()
    }
}

/// `None`: it had to be killed.
async fn end(child: &mut Child) -> Option<ExitStatus> {
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    let pid = child.id().and_then(|id| i32::try_from(id).ok())?;
    kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
    if let Ok(Ok(status)) = timeout(GRACE, child.wait()).await {
        return Some(status);
    }
    child.kill().await.ok();
    None
}

async fn drain(mut lines: BufReader<ChildStdout>, log: PathBuf) {
    let file = tokio::fs::OpenOptions::new().append(true).open(log).await;
    let Ok(mut file) = file else { return };
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        file.write_all(&line).await.ok();
        line.clear();
    }
}

fn tail(log: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_process_is_ready_with_its_line_and_ends_when_asked() {
        let logs = tempfile::tempdir().unwrap();
        let mut cast = Cast::new(logs.path().to_owned());
        let script = "echo talk >&2; echo '{\"ready\":true}'; exec sleep 60";
        let ready = cast.start("one", shell(script)).await.unwrap();
        assert_eq!(ready, serde_json::json!({ "ready": true }));
        cast.check_alive().unwrap();
        assert!(cast.tails(3).contains("talk"), "{}", cast.tails(3));
        assert_eq!(cast.end().await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_process_that_ends_instead_of_being_ready_is_named() {
        let logs = tempfile::tempdir().unwrap();
        let mut cast = Cast::new(logs.path().to_owned());
        let error = cast.start("one", shell("echo why >&2; exit 3")).await.unwrap_err();
        assert_eq!(error.to_string(), "one ended by itself (exit status: 3)");
        assert!(cast.tails(3).contains("why"), "{}", cast.tails(3));
    }

    #[tokio::test]
    async fn a_command_that_fails_shows_the_end_of_its_log() {
        let logs = tempfile::tempdir().unwrap();
        let cast = Cast::new(logs.path().to_owned());
        let error = cast.call("join", shell("echo no >&2; exit 4")).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 4") && error.ends_with("no"), "{error}");
    }
}
