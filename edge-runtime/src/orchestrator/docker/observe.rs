//! Reads what this node's containers do, and what they wrote.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status, ContainerSummary,
    ContainerSummaryStateEnum, HealthStatusEnum, PortSummaryTypeEnum,
};
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gnomon_schemas::app::{Port, Protocol};

use super::{ANSWER, Docker, DockerError, WORK, files, labels, network};
use crate::orchestrator::ports;
use crate::orchestrator::tail::Tail;
use crate::reconcile::model::{Health, Instance, InstanceId, InstanceState, Observed, Slot};

/// How many containers are asked about at the same time.
const AT_ONCE: usize = 8;
/// How often, and how far apart, a container in a state of passage is looked at again.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// The most lines of a log that are asked for.
const MOST_LINES: usize = 100_000;

pub(super) async fn observe(docker: &Docker) -> Result<Observed, DockerError> {
    let ids = list(docker).await?.into_iter().filter_map(|container| container.id);
    let looks = stream::iter(ids).map(|id| look(docker, id)).buffer_unordered(AT_ONCE);
    let found: Vec<Option<Instance>> = looks.try_collect().await?;
    let instances = found.into_iter().flatten().map(|it| (it.id.clone(), it)).collect();
    let mut app_resources = network::apps(docker).await?;
    app_resources.extend(files::apps(&docker.settings));
    app_resources.sort();
    app_resources.dedup();
    Ok(Observed { instances, app_resources, ..Observed::default() })
}

pub(super) async fn list(docker: &Docker) -> Result<Vec<ContainerSummary>, DockerError> {
    let filters = labels::filter_node(&docker.settings.node);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let found = docker.client(ANSWER)?.list_containers(Some(options)).await;
    found.map_err(|error| docker.failed("list containers", error))
}

/// What listens for a container of this node, be it a proxy of the daemon, is told by its port
/// alone: the daemon holds it for all addresses of the node that the container asked for.
pub(super) async fn taken_ports(docker: &Docker) -> Result<Vec<Port>, DockerError> {
    let before = ports::listeners();
    if before.is_empty() {
        return Ok(Vec::new());
    }
    let published = list(docker).await?.into_iter().filter_map(|container| container.ports);
    let own: BTreeSet<_> = published
        .flatten()
        .filter_map(|port| Some((port.public_port?, port.typ == Some(PortSummaryTypeEnum::UDP))))
        .collect();
    let is_own = |port: &Port| {
        let host = port.host.map(NonZeroU16::get).unwrap_or_default();
        own.contains(&(host, port.protocol == Protocol::Udp))
    };
    Ok(ports::steady(&before).map(|it| it.port).filter(|port| !is_own(port)).collect())
}

/// `None` if it is gone since it was listed, or its labels are damaged. Podman passes through states
/// of its own, which do not last.
async fn look(docker: &Docker, id: String) -> Result<Option<Instance>, DockerError> {
    let mut looks = 0;
    loop {
        let found = docker.client(ANSWER)?.inspect_container(&id, None).await;
        match found.map_err(|error| docker.failed(format!("look at {id}"), error)) {
            Ok(found) => return Ok(read(docker, id, found)),
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(DockerError::Strange { .. }) if looks < LOOKS => {
                looks += 1;
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn read(docker: &Docker, id: String, found: ContainerInspectResponse) -> Option<Instance> {
    let labels = found.config?.labels?;
    let Some((slot, service_digest)) = labels::read_instance(&docker.settings.node, &labels) else {
        tracing::debug!(container = id, "a container with damaged labels is not ours to touch");
        return None;
    };
    let id = InstanceId(id.into());
    let image = found.image.map(Into::into);
    let state = state(&found.state.unwrap_or_default());
    Some(Instance { id, slot, service_digest, image, state, note: None, altered: None })
}

fn state(state: &ContainerState) -> InstanceState {
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED => InstanceState::Created,
        Status::RUNNING | Status::STOPPING => InstanceState::Running(health(state)),
        Status::EXITED => InstanceState::Exited { code: state.exit_code.unwrap_or_default() },
        Status::EMPTY | Status::PAUSED | Status::RESTARTING | Status::REMOVING | Status::DEAD => {
            InstanceState::Stuck
        }
    }
}

fn health(state: &ContainerState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::Unchecked,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

pub(super) async fn logs(docker: &Docker, slot: &Slot, tail: usize) -> Result<String, DockerError> {
    let node = &docker.settings.node;
    let is_meant = |container: &ContainerSummary| {
        let labels = container.labels.as_ref();
        let of = labels.and_then(|labels| labels::read_instance(node, labels));
        of.is_some_and(|(of, _)| of == *slot)
    };
    let found = list(docker).await?.into_iter().filter(is_meant).max_by_key(|container| {
        (container.state == Some(ContainerSummaryStateEnum::RUNNING), container.created)
    });
    let mut kept = Tail::new(tail);
    let Some(id) = found.and_then(|container| container.id) else { return Ok(kept.into_text()) };
    let lines = tail.min(MOST_LINES).to_string();
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines).build();
    let client = docker.client(WORK)?;
    let mut pieces = client.logs(&id, Some(options));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| docker.failed(format!("read the log of {id}"), error))?;
        kept.push(piece.as_ref());
    }
    Ok(kept.into_text())
}

#[cfg(test)]
mod tests {
    use bollard::models::Health as Reported;

    use super::*;

    #[test]
    fn each_state_of_docker_has_one_meaning() {
        let plain = |status| state(&ContainerState { status: Some(status), ..Default::default() });
        assert_eq!(plain(Status::CREATED), InstanceState::Created);
        assert_eq!(plain(Status::RUNNING), InstanceState::Running(Health::Unchecked));
        for stuck in [Status::PAUSED, Status::RESTARTING, Status::REMOVING, Status::DEAD] {
            assert_eq!(plain(stuck), InstanceState::Stuck);
        }
        let exited = ContainerState {
            status: Some(Status::EXITED),
            exit_code: Some(137),
            ..Default::default()
        };
        assert_eq!(state(&exited), InstanceState::Exited { code: 137 });
    }

    #[test]
    fn the_health_of_a_running_container_is_read() {
        for (status, meaning) in [
            (HealthStatusEnum::NONE, Health::Unchecked),
            (HealthStatusEnum::STARTING, Health::Starting),
            (HealthStatusEnum::HEALTHY, Health::Healthy),
            (HealthStatusEnum::UNHEALTHY, Health::Unhealthy),
        ] {
            let health = Some(Reported { status: Some(status), ..Default::default() });
            let running =
                ContainerState { status: Some(Status::RUNNING), health, ..Default::default() };
            assert_eq!(state(&running), InstanceState::Running(meaning));
        }
    }
}
