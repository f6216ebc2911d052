//! The agent under a service manager: it says that it is ready, and that it lives only while it
//! answers.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gnomon_tests::process::binary;
use gnomon_tests::{Cloud, Site, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::app::PATIENCE;

/// What systemd would end it after.
const WATCHDOG: Duration = Duration::from_millis(900);

struct Manager(UnixDatagram);

impl Manager {
    fn start(folder: &Path, data: &PathBuf) -> (Self, Agent) {
        let at = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // The shell becomes the agent, whose number it can tell before.
        let start = r#"WATCHDOG_PID=$$ exec "$0" run --orchestrator process --data "$1""#;
        let child = Command::new("sh")
            .args(["-c", start])
            .args([&binary("gnomon-edge"), data])
            .env("NOTIFY_SOCKET", at)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Self(socket), Agent(child))
    }

    /// The next thing that it is told.
    fn hears(&self) -> Option<String> {
        let mut bytes = [0; 256];
        let len = self.0.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..len]).trim().to_owned())
    }
}

struct Agent(Child);

impl Agent {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn systemd_hears_that_the_agent_is_ready_and_lives_only_while_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    assert_eq!(site.stop(), Some(0));
    let (manager, mut agent) = Manager::start(folder.path(), &site.data().to_path_buf());
    assert_eq!(manager.hears().as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(manager.hears().as_deref(), Some("WATCHDOG=1"));
    }
    agent.signal(Signal::SIGSTOP);
    manager.0.set_read_timeout(Some(WATCHDOG)).unwrap();
    eventually("silence", PATIENCE, || manager.hears().map_or(Ok(()), Err));
    agent.signal(Signal::SIGCONT);
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(manager.hears().as_deref(), Some("WATCHDOG=1"), "it lives again");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.0.wait().unwrap().code(), Some(0));
}
