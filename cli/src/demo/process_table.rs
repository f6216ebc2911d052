//! The process table, read directly. The process orchestrator gives every service the variable
//! `GNOMON_ROOT`, which leads into its site's directory; children of the service inherit it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::reality::Running;

const ROOT: &str = "GNOMON_ROOT";
/// How much of a command line is shown.
const SHOWN: usize = 60;
/// What is killed may just have started something; so it is looked at again, this often.
const ROUNDS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// The services that run below a site's directory: those processes that lead their group.
pub(super) fn services(data: &Path) -> anyhow::Result<Vec<Running>> {
    let mut found = Vec::new();
    for pid in pids()? {
        let Some(environment) = environment(pid).filter(|of| is_below(of, data)) else { continue };
        if leads_its_group(pid)
            && let Some(service) = service_of(&environment)
        {
            found.push(Running { service, pid, container: None, environment });
        }
    }
    found.sort_by(|a, b| (&a.service, a.pid).cmp(&(&b.service, b.pid)));
    Ok(found)
}

/// Kills one process with a signal that it cannot catch.
pub(super) fn kill(pid: i32) -> anyhow::Result<()> {
    match nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The processes of a site's services and their supervisors, for people.
pub(super) fn everything(data: &Path) -> anyhow::Result<Vec<String>> {
    let of_app = |one: &&Process| one.is_below(data) || one.is_supervisor();
    Ok(belonging(data)?.iter().filter(of_app).map(Process::describe).collect())
}

/// Kills every process that belongs to a site or works in its directory.
pub(super) fn kill_all(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut killed = Vec::new();
    for _ in 0..ROUNDS {
        let found = belonging(data)?;
        if found.is_empty() {
            break;
        }
        found.iter().try_for_each(|one| kill(one.pid))?;
        for one in found.iter().map(Process::describe) {
            if !killed.contains(&one) {
                killed.push(one);
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(killed)
}

/// What can be seen of a process.
struct Process {
    pid: i32,
    environment: BTreeMap<String, String>,
    command_line: Vec<String>,
}

impl Process {
    fn is_below(&self, data: &Path) -> bool {
        is_below(&self.environment, data)
    }

    fn is_supervisor(&self) -> bool {
        self.command_line.iter().any(|argument| argument == "__shim")
    }

    fn describe(&self) -> String {
        let line = self.command_line.join(" ").replace(char::is_control, " ");
        format!("process {} ({})", self.pid, line.chars().take(SHOWN).collect::<String>())
    }
}

fn belonging(data: &Path) -> anyhow::Result<Vec<Process>> {
    let mut found = Vec::new();
    for pid in pids()? {
        let environment = environment(pid).unwrap_or_default();
        let one = Process { pid, environment, command_line: command_line(pid) };
        if one.is_below(data) || is_ours(&one.command_line, data) {
            found.push(one);
        }
    }
    Ok(found)
}

/// One of our programs whose arguments lead into a directory.
fn is_ours(command_line: &[String], dir: &Path) -> bool {
    let [program, arguments @ ..] = command_line else { return false };
    let ours = ["gnomon-cloud", "gnomon-edge", "gnomon-sim", "exe"];
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| ours.contains(&name))
        && arguments.iter().any(|argument| Path::new(argument).starts_with(dir))
}

fn is_below(environment: &BTreeMap<String, String>, data: &Path) -> bool {
    environment.get(ROOT).is_some_and(|root| Path::new(root).starts_with(data))
}

/// The directory of an instance is named `<app>.<service>.<replica>.<digest>`.
fn service_of(environment: &BTreeMap<String, String>) -> Option<String> {
    let home = Path::new(environment.get(ROOT)?).parent()?.file_name()?.to_str()?;
    let (_, rest) = home.split_once('.')?;
    let (rest, _) = rest.rsplit_once('.')?;
    let (service, _) = rest.rsplit_once('.')?;
    Some(service.to_owned())
}

fn pids() -> anyhow::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        pids.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// `None`: it is gone, or not ours to read.
fn environment(pid: i32) -> Option<BTreeMap<String, String>> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pair = |entry: &str| entry.split_once('=').map(|(name, value)| (name.into(), value.into()));
    Some(text.split('\0').filter_map(pair).collect())
}

fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split('\0').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
}

/// A zombie does not run, so it leads nothing.
fn leads_its_group(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    let state = fields.next().unwrap_or("X");
    let group = fields.nth(1).and_then(|group| group.parse::<i32>().ok());
    !matches!(state, "Z" | "X" | "x") && group == Some(pid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_service_is_found_by_its_environment_and_its_child_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("instances/hello.web.v2.0.abc/root");
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .env(ROOT, &root)
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        let found = loop {
            let found = services(dir.path()).unwrap();
            if !found.is_empty() || std::time::Instant::now() > deadline {
                break found;
            }
            std::thread::yield_now();
        };
        let seen: Vec<_> = found.iter().map(|one| (one.service.as_str(), one.pid)).collect();
        assert_eq!(seen, [("web.v2", pid)]);
        assert!(services(&dir.path().join("other")).unwrap().is_empty());
        assert!(!kill_all(dir.path()).unwrap().is_empty());
        child.wait().unwrap();
        assert!(services(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn only_our_programs_with_our_directory_are_ours() {
        let line = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        let dir = Path::new("/x/demo");
        assert!(is_ours(&line("/bin/gnomon-edge run --data /x/demo/site-1"), dir));
        assert!(is_ours(&line("/proc/self/exe __shim /x/demo/site-1/i"), dir));
        assert!(!is_ours(&line("/bin/gnomon-edge run --data /x/demo-2/site-1"), dir));
        assert!(!is_ours(&line("vi /x/demo/site-1"), dir));
    }
}
