//! The box: namespaces of its own with a Docker daemon and the agent in it, a cable to the cloud,
//! and a disk for the agent's data that can lose its power.

use std::fs::{self, File};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use gnomon_tests::process::{binary, run};
use gnomon_tests::{Cloud, eventually};
use serde_json::Value;

use crate::app::PATIENCE;
use crate::docker::daemon::Docker;

/// A daemon that finds what a power cut left of it takes its time on a busy machine, and that says
/// nothing of Gnomon.
const BOOT_PATIENCE: Duration = Duration::from_mins(5);

/// Runs in the box: a fresh /run as after a boot, the cable, the daemon, the agent.
const BOOT: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
ip link set lo up
until ip link show cable >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$SITE/30" dev cable
ip link set cable up
dockerd --data-root "$FOLDER/docker" --exec-root /run/docker --pidfile /run/docker.pid \
    --host "unix://$FOLDER/docker.sock" --bridge none --iptables=false --ip-masq=false \
    --containerd-namespace "$NODE" --containerd-plugins-namespace "$NODE-plugins" \
    >>"$FOLDER/dockerd.log" 2>&1 &
exec "$AGENT" run --data "$DATA" --orchestrator docker --docker-socket "$FOLDER/docker.sock" \
    --broker "$CLOUD"
"#;

/// Tells a file system that its power is gone: nothing more is written, and what was not synced
/// is not there any more.
const LOSE_POWER: &str = "
import fcntl, os, struct, sys
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), EXT4_IOC_SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
";

pub(super) struct SiteBox {
    node: String,
    folder: PathBuf,
    docker: Docker,
    /// Where the cloud is, as the box sees it, and the box itself.
    cloud: String,
    addresses: (String, String),
    child: Option<Child>,
    /// How often its power went.
    cuts: u32,
}

impl SiteBox {
    pub(super) fn join(cloud: &Cloud, folder: &Path, node: &str) -> Self {
        let folder = folder.join("box");
        fs::create_dir_all(folder.join("data")).unwrap();
        let number = std::process::id() % 16_000;
        let (third, fourth) = (number / 64, number % 64 * 4);
        let address = |host| format!("10.213.{third}.{}", fourth + host);
        let docker = Docker::at(&folder.join("docker.sock").to_string_lossy());
        let mut site = Self {
            node: node.to_owned(),
            folder,
            docker,
            cloud: String::new(),
            addresses: (address(1), address(2)),
            child: None,
            cuts: 0,
        };
        let disk = site.disk();
        File::create(&disk).unwrap().set_len(96 << 20).unwrap();
        succeeds(Command::new("mkfs.ext4").arg("-q").arg(&disk));
        site.mount();
        let token = cloud.api.join_token(node);
        let data = site.data().to_string_lossy().into_owned();
        let output =
            run("gnomon-edge", &["join", cloud.api.url(), "--token", &token, "--data", &data], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        site.cloud = cable_to(cloud.mqtt());
        site
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) const fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data/gnomon")
    }

    /// The disk's file since the last power cut.
    fn disk(&self) -> PathBuf {
        self.folder.join(format!("disk-{}.ext4", self.cuts))
    }

    fn mount(&self) {
        let (disk, at) = (self.disk(), self.folder.join("data"));
        succeeds(Command::new("mount").args(["-o", "loop"]).args([disk, at]));
    }

    pub(super) fn power_on(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let (_, port) = self.cloud.rsplit_once(':').unwrap();
        let mut boot = Command::new("unshare");
        boot.args(["--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child=KILL"])
            .args(["--mount-proc", "sh", "-c", BOOT])
            .env("SITE", &self.addresses.1)
            .env("FOLDER", &self.folder)
            .env("DATA", self.data())
            .env("NODE", &self.node)
            .env("AGENT", binary("gnomon-edge"))
            .env("CLOUD", format!("{}:{port}", self.addresses.0))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = boot.spawn().expect("unshare (util-linux) and root are needed");
        let pid = child.id();
        self.child = Some(child);
        let inner = eventually("the box to begin", PATIENCE, || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let inner = children.unwrap_or_default().trim().to_owned();
            if inner.is_empty() { Err("no process in it") } else { Ok(inner) }
        });
        let (host, cable) = (self.addresses.0.clone(), Self::cable());
        let add = ["link", "add", &cable, "type", "veth", "peer", "name", "cable", "netns", &inner];
        succeeds(Command::new("ip").args(add));
        succeeds(Command::new("ip").args(["addr", "add", &format!("{host}/30"), "dev", &cable]));
        succeeds(Command::new("ip").args(["link", "set", &cable, "up"]));
        eventually("the box to work", BOOT_PATIENCE, || {
            let daemon = self.docker.try_run(&["version"]);
            if daemon.status.success() && !self.status().is_null() {
                return Ok(());
            }
            Err((String::from_utf8_lossy(&daemon.stderr).into_owned(), self.tail()))
        });
    }

    fn cable() -> String {
        format!("gn{}", std::process::id())
    }

    /// Everything in the box dies at once, and its disk forgets what was not synced.
    pub(super) fn cut_power(&mut self) {
        self.end();
        succeeds(Command::new("python3").args(["-c", LOSE_POWER]).arg(self.folder.join("data")));
        self.unmount();
        // Another box that was made meanwhile has the dead file system in its namespace, and mounted
        // from the same file this would be the dead one again.
        let dead = self.disk();
        self.cuts += 1;
        succeeds(Command::new("cp").arg("--sparse=always").args([&dead, &self.disk()]));
        fs::remove_file(dead).unwrap();
        self.mount();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // The kernel takes the cable's two ends with the box, in its own time.
        eventually("an end of the cable", PATIENCE, || {
            let cable = Self::cable();
            let _gone = Command::new("ip").args(["link", "del", &cable]).output().unwrap();
            let left = Path::new("/sys/class/net").join(&cable);
            if left.exists() { Err(cable) } else { Ok(()) }
        });
        let _gone = fs::remove_file(self.folder.join("docker.sock"));
    }

    fn unmount(&self) {
        eventually("the disk to be free", PATIENCE, || {
            let output = Command::new("umount").arg(self.folder.join("data")).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(errors) }
        });
    }

    /// Reports a value; whether the agent took it.
    pub(super) fn report(&self, count: u32) -> bool {
        let (data, value) = (self.data(), format!("{{\"count\":{count}}}"));
        let data = data.to_string_lossy();
        run("gnomon-edge", &["report", "--data", &data, "node", &value], &[]).status.success()
    }

    /// What the agent says of itself; null if it does not answer.
    pub(super) fn status(&self) -> Value {
        let data = self.data();
        let output =
            run("gnomon-edge", &["status", "--json", "--data", &data.to_string_lossy()], &[]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    pub(super) fn tail(&self) -> String {
        let end = |name: &str| {
            let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().rev().take(25).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!("agent:\n{}\ndaemon:\n{}", end("agent.log"), end("dockerd.log"))
    }
}

impl Drop for SiteBox {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.end();
        }
        // The daemon's overlays were mounted in the box alone.
        let _gone = Command::new("umount").args(["-l"]).arg(self.folder.join("data")).output();
    }
}

/// Takes connections on every address of this machine and forwards them; gives back where.
fn cable_to(broker: &str) -> String {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let broker = broker.to_owned();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(&broker) else { continue };
            for (mut from, mut to) in
                [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
            {
                thread::spawn(move || {
                    let _carried = io::copy(&mut from, &mut to);
                    let _closed = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    at
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
}
