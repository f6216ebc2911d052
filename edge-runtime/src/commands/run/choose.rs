//! Which orchestrator runs apps. A choice that was made once is kept: a Docker daemon that is slow
//! to come up must not turn containers into orphans.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use gnomon_edge::orchestrator::docker::{self, Docker};
#[cfg(feature = "k3s")]
use gnomon_edge::orchestrator::k3s::{self, K3s};
use gnomon_edge::orchestrator::process::{self, Process};
use gnomon_edge::orchestrator::{Kind, Orchestrator};
use gnomon_edge::settings::{Choice, Settings};
use gnomon_schemas::id::NodeName;

pub(crate) async fn orchestrator(settings: &Settings, node: &NodeName) -> Result<Orchestrator> {
    let kept_in = settings.data.join("orchestrator");
    let before = kept(&kept_in);
    let chosen = match (settings.orchestrator, before) {
        (Choice::Fixed(Kind::Docker), _) | (Choice::Auto, Some(Kind::Docker)) => {
            Orchestrator::Docker(docker(settings, node))
        }
        (Choice::Fixed(Kind::Process), _) | (Choice::Auto, Some(Kind::Process)) => {
            Orchestrator::Process(process(settings, node)?)
        }
        (Choice::Fixed(Kind::K3s), _) | (Choice::Auto, Some(Kind::K3s)) => k3s(settings, node)?,
        (Choice::Fixed(Kind::Fake), _) => bail!("the fake orchestrator is for tests"),
        (Choice::Auto, _) => probe(settings, node).await?,
    };
    let kind = chosen.kind();
    if let Some(before) = before.filter(|before| *before != kind) {
        tracing::warn!(%before, now = %kind, "the orchestrator changed; what the other one runs \
            for this node is not touched any more");
    }
    if before != Some(kind) {
        fs::write(&kept_in, kind.as_str())
            .with_context(|| format!("keeping the choice in {}", kept_in.display()))?;
    }
    tracing::info!(orchestrator = %kind, "apps are run by");
    Ok(chosen)
}

async fn probe(settings: &Settings, node: &NodeName) -> Result<Orchestrator> {
    let docker = Orchestrator::Docker(docker(settings, node));
    match docker.version().await {
        Ok(_) => Ok(docker),
        Err(error) => {
            let reason = gnomon_edge::chain(&error);
            tracing::info!(%reason, "no Docker daemon answers; apps run as processes of the host");
            Ok(Orchestrator::Process(process(settings, node)?))
        }
    }
}

fn docker(settings: &Settings, node: &NodeName) -> Docker {
    let mut own = docker::Settings::new(node.clone(), settings.data.join("docker"));
    own.bind_prefixes.clone_from(&settings.bind_prefixes);
    own.device_prefixes.clone_from(&settings.devices);
    own.pull_cache_bytes = settings.pull_cache_bytes;
    if let Some(socket) = &settings.docker_socket {
        own.socket.clone_from(socket);
    }
    Docker::new(own)
}

#[cfg(not(feature = "k3s"))]
fn k3s(_: &Settings, _: &NodeName) -> Result<Orchestrator> {
    bail!("this gnomon-edge was built without k3s; choose docker or process, or install another")
}

#[cfg(feature = "k3s")]
#[expect(clippy::unnecessary_wraps, reason = "as the one above")]
fn k3s(settings: &Settings, node: &NodeName) -> Result<Orchestrator> {
    let mut own = k3s::Settings::new(node.clone());
    own.bind_prefixes.clone_from(&settings.bind_prefixes);
    own.kubeconfig.clone_from(&settings.kubeconfig);
    own.manifests.namespaces = settings.manifest_namespaces.iter().cloned().collect();
    own.manifests.kinds = settings.manifest_kinds.iter().cloned().collect();
    if let Some(namespace) = &settings.namespace {
        own.namespace.clone_from(namespace);
    }
    Ok(Orchestrator::K3s(K3s::new(own)))
}

fn process(settings: &Settings, node: &NodeName) -> Result<Process> {
    let mut own = process::Settings::new(node.clone(), settings.data.join("process"));
    own.bind_prefixes.clone_from(&settings.bind_prefixes);
    own.device_prefixes.clone_from(&settings.devices);
    Process::open(own).context("opening the directories of host processes")
}

fn kept(path: &Path) -> Option<Kind> {
    match fs::read_to_string(path).ok()?.trim() {
        "docker" => Some(Kind::Docker),
        "process" => Some(Kind::Process),
        "k3s" => Some(Kind::K3s),
        _ => None,
    }
}
