//! Everything that the scenes act on.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use super::Options;
use super::backstage::Backstage;
use super::binaries::Binaries;
use super::bytes::BySite;
use super::cast::Cast;
use super::leftovers::{self, Lock};
use super::links::Links;
use super::orchestrator::{self, Chosen};
use super::reality::Reality;
use super::screen::Screen;
use super::sites::Site;
use crate::api::{Node, Shadow};
use crate::client::Client;

/// The demo's things; the parts that start late are there once their scene has been played.
pub(super) struct Stage {
    /// Where the report goes.
    pub(super) dir: PathBuf,
    /// Where the processes keep their data.
    state: PathBuf,
    pub(super) binaries: Binaries,
    pub(super) chosen: Chosen,
    pub(super) back: Backstage,
    pub(super) sites: [Site; 2],
    pub(super) links: Option<Links>,
    pub(super) client: Option<Client>,
    _lock: Lock,
}

impl Stage {
    /// Finds the programs, takes the directory and clears what an earlier run left in it.
    pub(super) async fn prepare(options: Options, screen: Screen) -> anyhow::Result<Self> {
        let binaries = Binaries::find(options.bin_dir.as_deref())?;
        let lock = leftovers::take(&options.dir)?;
        let dir = options.dir.canonicalize().context("cannot find the demo's directory")?;
        let state = dir.join("state");
        // The longest path of a Unix socket, less the longest name below.
        anyhow::ensure!(
            state.as_os_str().len() <= 80,
            "the path {} is too long for the sockets in it; take a shorter one with --dir",
            state.display()
        );
        let logs = dir.join("logs");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        let mut cleared = leftovers::clear(&state, &lock)?;
        let chosen = orchestrator::choose(options.orchestrator, &screen).await?;
        let sites = Site::both(&state);
        if matches!(chosen.reality, Reality::Docker(_)) {
            for site in &sites {
                cleared.extend(chosen.reality.remove_all(site.marks()).await?);
            }
        }
        if !cleared.is_empty() {
            screen.say(&format!(
                "an earlier demo left these behind, removed: {}",
                cleared.join(", ")
            ));
        }
        let back = Backstage { screen, cast: Cast::new(logs) };
        Ok(Self {
            dir,
            state,
            binaries,
            chosen,
            back,
            sites,
            links: None,
            client: None,
            _lock: lock,
        })
    }

    /// The way to the cloud.
    pub(super) fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the cloud has not been started")
    }

    /// The link emulator.
    pub(super) fn links(&self) -> anyhow::Result<&Links> {
        self.links.as_ref().context("the link emulator has not been started")
    }

    /// Where the cloud keeps its data.
    pub(super) fn cloud_data(&self) -> PathBuf {
        self.state.join("cloud")
    }

    /// Where the demo may write files of its own.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// The administrator's token.
    pub(super) fn token_file(&self) -> PathBuf {
        self.cloud_data().join("admin-token")
    }

    /// What the links have carried so far.
    pub(super) async fn bytes(&self) -> anyhow::Result<BySite> {
        let mut bytes = BySite::new();
        for site in &self.sites {
            bytes.insert(site.label.to_owned(), self.links()?.bytes(site.label).await?);
        }
        Ok(bytes)
    }

    /// A site's node, as the cloud has it.
    pub(super) async fn node(&self, site: &Site) -> anyhow::Result<Node> {
        Ok(self.client()?.node(&site.node).await?)
    }

    /// A site's shadow, as the cloud has it.
    pub(super) async fn shadow(&self, site: &Site, key: &str) -> anyhow::Result<Shadow> {
        Ok(self.client()?.shadow(&site.node, key).await?)
    }

    /// `gnomon-edge run` of a site, behind its link.
    pub(super) fn run_edge(&self, site: &Site) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.binaries.edge);
        command.arg("run").arg("--data").arg(&site.data);
        command.args(["--orchestrator", self.chosen.kind()]);
        command.args(["--broker", self.links()?.address(site.label)?]);
        if let Reality::Docker(docker) = &self.chosen.reality {
            command.arg("--docker-socket").arg(&docker.socket);
        }
        Ok(command)
    }
}
