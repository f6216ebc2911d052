//! What really runs at a site, asked of the engine or the process table and not of gnomon.

use std::collections::BTreeMap;
use std::path::Path;

use super::docker::Docker;
use super::process_table;

/// Who is asked.
pub(super) enum Reality {
    /// The Docker engine, by label.
    Docker(Docker),
    /// The process table, by the environment that services get.
    Processes,
}

/// How one site's things are recognised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks<'a> {
    /// The node's name, in Docker labels.
    pub(super) node: &'a str,
    /// The site's directory, in the environment of processes.
    pub(super) data: &'a Path,
}

/// A copy of a service that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) service: String,
    /// Changes with every start.
    pub(super) pid: i32,
    /// The container, if it is one.
    pub(super) container: Option<String>,
    pub(super) environment: BTreeMap<String, String>,
}

impl Reality {
    /// What runs at a site.
    pub(super) async fn list(&self, site: Marks<'_>) -> anyhow::Result<Vec<Running>> {
        match self {
            Self::Docker(docker) => docker.running(site.node).await,
            Self::Processes => process_table::services(site.data),
        }
    }

    /// Kills a copy the hard way, behind gnomon's back.
    pub(super) async fn kill(&self, running: &Running) -> anyhow::Result<()> {
        match (self, &running.container) {
            (Self::Docker(docker), Some(container)) => docker.kill(container).await,
            (Self::Docker(_) | Self::Processes, _) => process_table::kill(running.pid),
        }
    }

    /// Everything that an agent made for a site's apps, running or not, for people.
    pub(super) async fn everything(&self, site: Marks<'_>) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Docker(docker) => docker.everything(site.node).await,
            Self::Processes => process_table::everything(site.data),
        }
    }

    /// Removes everything of a site that is left; returns what it was.
    pub(super) async fn remove_all(&self, site: Marks<'_>) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Docker(docker) => docker.remove_all(site.node).await,
            Self::Processes => process_table::kill_all(site.data),
        }
    }
}

impl Running {
    /// For people.
    pub(super) fn describe(&self) -> String {
        match &self.container {
            Some(id) => format!("container {}", id.chars().take(12).collect::<String>()),
            None => format!("process {}", self.pid),
        }
    }
}
