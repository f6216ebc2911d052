//! A `gnomon-cloud` that a run starts for itself, on free ports and in a folder of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gnomon_edge::link::mqtt::Address;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// All simulated sites are one address to the cloud, and join within a minute.
const CONFIG: &str = "[limits]\n\
    strangers_per_second = 100000\n\
    strangers_at_once = 100000\n\
    mqtt_connections_per_address = 60000\n\
    mqtt_connects_per_second = 0\n";
const READY_WITHIN: Duration = Duration::from_mins(1);
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// A cloud that runs. Dropping it kills it.
#[derive(Debug)]
pub struct CloudProcess {
    child: Child,
    pid: u32,
    /// Where its API is.
    pub server: String,
    /// Where its broker is.
    pub broker: Address,
    /// The token of its administrator.
    pub token: String,
    _folder: Option<TempDir>,
}

/// Why the cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartCloudError {
    /// The folder or a file in it cannot be used.
    #[error("{} cannot be used for the cloud", at.display())]
    File {
        /// The path.
        at: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("{} cannot be started; give the path of gnomon-cloud with --cloud-program", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It did not say that it is ready.
    #[error("gnomon-cloud did not become ready; its log is {}", log.display())]
    NotReady {
        /// Its log.
        log: PathBuf,
    },
}

/// Why a cloud's disk was not made full, or not given back.
#[derive(Debug, thiserror::Error)]
pub enum FillDiskError {
    /// How large files may be without it.
    #[error("the own limit of the size of files cannot be read")]
    Limit(#[source] io::Error),
    /// The program that does it is not there.
    #[error("the program `prlimit` cannot be run: install util-linux")]
    NoProgram(#[source] io::Error),
    /// It does not do it.
    #[error("`{command}` failed: {said}")]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
}

#[derive(Deserialize)]
struct Ready {
    http: String,
    mqtt: Address,
}

impl CloudProcess {
    /// Starts a cloud whose data is in a folder, or in one that lasts as long as the cloud; waits
    /// until it serves. Its log is `cloud.log` in the folder.
    pub async fn start(program: &Path, data: Option<&Path>) -> Result<Self, StartCloudError> {
        Self::start_at(program, data, "127.0.0.1:0", "127.0.0.1:0").await
    }

    /// As [`Self::start`], with the API and the broker at these addresses.
    pub async fn start_at(
        program: &Path,
        data: Option<&Path>,
        http: &str,
        mqtt: &str,
    ) -> Result<Self, StartCloudError> {
        let wrong = |at: &Path| {
            let at = at.to_owned();
            move |source| StartCloudError::File { at, source }
        };
        let folder = match data {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(wrong(&std::env::temp_dir()))?),
        };
        let data = match (&folder, data) {
            (Some(folder), _) => folder.path().join("cloud"),
            (None, data) => data.unwrap_or(Path::new(".")).to_owned(),
        };
        std::fs::create_dir_all(&data).map_err(wrong(&data))?;
        let log = data.join("cloud.log");
        let errors = std::fs::File::create(&log).map_err(wrong(&log))?;
        let config = data.join("fleet.toml");
        std::fs::write(&config, CONFIG).map_err(wrong(&config))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(&data).arg("--config").arg(&config);
        command.args(["--http", http, "--mqtt", mqtt]);
        command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        // An interrupt from the terminal is for the run, which ends the cloud when it is done.
        command.process_group(0).kill_on_drop(true);
        let started = command.spawn();
        let mut child = started
            .map_err(|source| StartCloudError::Start { program: program.to_owned(), source })?;
        let not_ready = || StartCloudError::NotReady { log: log.clone() };
        let stdout = child.stdout.take().ok_or_else(not_ready)?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let Ok(Ok(Some(line))) = line else { return Err(not_ready()) };
        let Ready { http, mqtt: broker } = serde_json::from_str(&line).map_err(|_| not_ready())?;
        let at = data.join("admin-token");
        let token = std::fs::read_to_string(&at).map_err(wrong(&at))?;
        let pid = child.id().ok_or_else(not_ready)?;
        let (server, token) = (format!("http://{http}"), token.trim().to_owned());
        Ok(Self { child, pid, server, broker, token, _folder: folder })
    }

    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// From now on its disk takes nothing more, or does again. The kernel refuses what the process
    /// writes to any file, as a disk without room does; nobody else is concerned, and no rights are
    /// needed.
    pub async fn fill_disk(&self, is_full: bool) -> Result<(), FillDiskError> {
        let own = getrlimit(Resource::RLIMIT_FSIZE);
        let (own, _) = own.map_err(|error| FillDiskError::Limit(error.into()))?;
        let largest = match own {
            _ if is_full => "0".to_owned(),
            RLIM_INFINITY => "unlimited".to_owned(),
            bytes => bytes.to_string(),
        };
        // Only the soft limit, which can be raised again.
        let (pid, limit) = (self.pid.to_string(), format!("--fsize={largest}:"));
        let output = Command::new("prlimit").args(["--pid", &pid, &limit]).output().await;
        let output = output.map_err(FillDiskError::NoProgram)?;
        if output.status.success() {
            return Ok(());
        }
        let command = format!("prlimit --pid {pid} {limit}");
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(FillDiskError::Refused { command, said })
    }

    /// Kills it, as `kill -9` does.
    pub async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "the cloud could not be killed");
        }
    }

    /// Ends it: gracefully, or after some patience by force.
    pub async fn stop(mut self) {
        if let Ok(pid) = i32::try_from(self.pid)
            && kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok()
            && tokio::time::timeout(STOPS_WITHIN, self.child.wait()).await.is_ok()
        {
            return;
        }
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "the cloud could not be ended");
        }
    }
}
