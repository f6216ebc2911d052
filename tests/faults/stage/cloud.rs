//! The cloud: killed, frozen, without power, on a full disk, put back to a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gnomon_tests::process::run;
use gnomon_tests::{Api, Program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::disk::Disk;

/// What a stage sets of its own.
pub(crate) struct Terms {
    /// The disk of the cloud.
    pub(crate) disk_mib: u64,
    /// Of the configuration that `init` writes.
    pub(crate) config: &'static [(&'static str, &'static str)],
}

/// Of a campaign. Certificates are good for long enough for a burst and its peace, and short enough
/// to be renewed.
pub(crate) const TERMS: Terms = Terms { disk_mib: 256, config: &[("certificate_days", "0.0042")] };

/// What is needed to call it, also while it is down.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) token: String,
    /// How often it was put back to a backup.
    era: Arc<AtomicU64>,
}

impl Door {
    /// A client of its own for each that calls.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.url.clone(), self.token.clone())
    }

    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }
}

pub(crate) struct Cloud {
    folder: PathBuf,
    data: PathBuf,
    config: String,
    https: String,
    mqtt: String,
    door: Door,
    program: Option<Program>,
    disk: Disk,
}

impl Cloud {
    pub(crate) fn start(folder: &Path, terms: &Terms) -> Self {
        let folder = folder.join("cloud");
        std::fs::create_dir_all(&folder).unwrap();
        let disk = Disk::make(&folder, terms.disk_mib);
        let data = disk.at().join("gnomon");
        let dir = data.to_string_lossy().into_owned();
        let any = "127.0.0.1:0";
        let args = ["init", &dir, "--http", any, "--https", any, "--mqtt", any];
        let made = run("gnomon-cloud", &args, &[]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let mut cloud = Self {
            folder,
            data,
            config: text("config"),
            https: String::new(),
            mqtt: String::new(),
            door: Door { url: String::new(), token: text("token"), era: Arc::default() },
            program: None,
            disk,
        };
        cloud.set(terms.config);
        let ready = cloud.launch();
        let at = |name: &str| ready[name].as_str().unwrap().to_owned();
        let [http, https, mqtt] = ["http", "https", "mqtt"].map(|name| {
            let at = at(name);
            cloud.set(&[(name, &format!("{at:?}"))]);
            at
        });
        cloud.door.url = format!("http://{http}");
        (cloud.https, cloud.mqtt) = (https, mqtt);
        cloud
    }

    fn set(&self, values: &[(&str, &str)]) {
        let mut toml = std::fs::read_to_string(&self.config).unwrap();
        for (name, value) in values {
            let line = toml.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
            toml = toml.replacen(&line.to_owned(), &format!("{name} = {value}"), 1);
        }
        std::fs::write(&self.config, toml).unwrap();
    }

    fn launch(&mut self) -> Value {
        let args = ["--config".to_owned(), self.config.clone()];
        let (program, ready) =
            Program::start("gnomon-cloud", &args, &self.folder.join("cloud.log"));
        self.program = Some(program);
        ready
    }

    /// Where its broker and its API for nodes are.
    pub(crate) fn addresses(&self) -> [&str; 2] {
        [&self.mqtt, &self.https]
    }

    /// The folder with everything that it keeps.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) const fn door(&self) -> &Door {
        &self.door
    }

    /// Runs `gnomon` against it, which must succeed.
    pub(crate) fn gnomon(&self, args: &[&str]) {
        let Door { url, token, .. } = &self.door;
        let output = run("gnomon", args, &[("GNOMON_SERVER", url), ("GNOMON_TOKEN", token)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn pid(&self) -> i32 {
        self.program.as_ref().unwrap().pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _gone = kill(Pid::from_raw(self.pid()), signal);
    }

    pub(crate) fn kill9(&mut self) {
        self.program.take().unwrap().kill9();
    }

    pub(crate) fn restart(&mut self) {
        self.launch();
    }

    /// Kill, and the disk forgets what was not synced.
    pub(crate) fn cut_power(&mut self) {
        self.kill9();
        self.disk.cut_power();
    }

    pub(crate) fn fill_disk(&self) {
        self.disk.fill();
    }

    pub(crate) fn free_disk(&self) {
        self.disk.free();
    }

    /// Takes a backup while it runs.
    pub(crate) fn back_up(&self) {
        let backup = self.backup();
        let _old = std::fs::remove_file(&backup);
        let [file, data] = [&backup, &self.data].map(|path| path.to_string_lossy().into_owned());
        let output = run("gnomon-cloud", &["backup", &file, "--data", &data], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Stops, and goes back to the last backup; gives back the era that begins.
    pub(crate) fn restore(&mut self) -> u64 {
        assert_eq!(self.program.take().unwrap().stop(), Some(0), "a graceful stop");
        let [file, data] =
            [&self.backup(), &self.data].map(|path| path.to_string_lossy().into_owned());
        let output = run("gnomon-cloud", &["restore", &file, "--data", &data, "--replace"], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(aside) = report["moved_aside"].as_str() {
            // A campaign puts back many backups, and the disk is small.
            let _gone = std::fs::remove_file(aside);
        }
        self.door.era.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn backup(&self) -> PathBuf {
        self.folder.join("backup")
    }
}
