//! Starts, stops and removes containers, each looked at again before it is touched.

use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};

use super::{ANSWER, Docker, DockerError, WORK, files, labels};
use crate::reconcile::model::{InstanceId, Slot};

pub(super) async fn start(
    docker: &Docker,
    id: &InstanceId,
    slot: &Slot,
) -> Result<(), DockerError> {
    let Some(found) = find(docker, id, slot).await? else {
        return Err(DockerError::Gone(id.clone()));
    };
    if found.status == Status::RUNNING {
        return Ok(());
    }
    if found.has_lost_files(docker) {
        return make_again(docker, id, slot, "files, as secrets do when the machine restarts")
            .await;
    }
    let doing = format!("start {}", found.name);
    let started = docker.client(WORK)?.start_container(&id.0, None).await;
    match started.map_err(|error| docker.failed(doing, error)) {
        // A container keeps the id of its network, so another one of the same name is no help.
        Err(DockerError::Refused { status: 404, message, .. })
            if message.starts_with("network ") =>
        {
            make_again(docker, id, slot, "network").await
        }
        other => done(other, &[304]),
    }
}

async fn make_again(
    docker: &Docker,
    id: &InstanceId,
    slot: &Slot,
    what: &'static str,
) -> Result<(), DockerError> {
    remove(docker, id, slot).await?;
    Err(DockerError::Lost { id: id.clone(), what })
}

pub(super) async fn stop(
    docker: &Docker,
    id: &InstanceId,
    slot: &Slot,
    grace: Duration,
) -> Result<(), DockerError> {
    let Some(found) = find(docker, id, slot).await? else { return Ok(()) };
    let failed = |error| docker.failed(format!("stop {}", found.name), error);
    match found.status {
        Status::RUNNING | Status::RESTARTING | Status::STOPPING => {}
        Status::PAUSED => {
            let woken = docker.client(WORK)?.unpause_container(&id.0).await;
            done(woken.map_err(failed), &[304, 404, 409, 500])?;
        }
        Status::EMPTY | Status::CREATED | Status::EXITED | Status::REMOVING | Status::DEAD => {
            return Ok(());
        }
    }
    let seconds = grace.as_millis().div_ceil(1000);
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::new().t(seconds).build();
    let stopped = docker.client(grace + WORK)?.stop_container(&id.0, Some(options)).await;
    done(stopped.map_err(failed), &[304, 404])
}

pub(super) async fn remove(
    docker: &Docker,
    id: &InstanceId,
    slot: &Slot,
) -> Result<(), DockerError> {
    let Some(found) = find(docker, id, slot).await? else { return Ok(()) };
    let force = match found.status {
        Status::RUNNING | Status::STOPPING => return Err(DockerError::StillRuns(id.clone())),
        // What is stuck can only be removed by force.
        Status::PAUSED | Status::RESTARTING | Status::DEAD => true,
        Status::EMPTY | Status::CREATED | Status::EXITED | Status::REMOVING => false,
    };
    // The volumes that go with it are those without a name.
    let options = RemoveContainerOptionsBuilder::new().v(true).force(force).build();
    let removed = docker.client(WORK)?.remove_container(&id.0, Some(options)).await;
    match removed.map_err(|error| docker.failed(format!("remove {}", found.name), error)) {
        Err(DockerError::Refused { status: 409, message, .. })
            if message.contains("already in progress") => {}
        other => done(other, &[404])?,
    }
    files::remove(&docker.settings, &slot.app, &found.name)
}

fn done(result: Result<(), DockerError>, fine: &[u16]) -> Result<(), DockerError> {
    match result {
        Err(error) if error.status().is_some_and(|status| fine.contains(&status)) => Ok(()),
        other => other,
    }
}

struct Found {
    name: String,
    status: Status,
    sources: Vec<String>,
}

impl Found {
    fn has_lost_files(&self, docker: &Docker) -> bool {
        let lost = |source: &&String| {
            let path = Path::new(source.as_str());
            files::is_ours(&docker.settings, path) && !path.exists()
        };
        self.sources.iter().any(|source| lost(&source))
    }
}

/// The container, if it is there; one that is not this slot's is an error.
async fn find(docker: &Docker, id: &InstanceId, slot: &Slot) -> Result<Option<Found>, DockerError> {
    let found = docker.client(ANSWER)?.inspect_container(&id.0, None).await;
    let found = match found.map_err(|error| docker.failed(format!("look at {id}"), error)) {
        Err(error) if error.status() == Some(404) => return Ok(None),
        other => other?,
    };
    let ContainerInspectResponse { name, state, config, host_config, .. } = found;
    let labels = config.and_then(|config| config.labels).unwrap_or_default();
    match labels::read_instance(&docker.settings.node, &labels) {
        Some((of, _)) if of == *slot => {}
        _ => return Err(DockerError::AnotherSlot(id.clone())),
    }
    let mounts = host_config.and_then(|config| config.mounts).unwrap_or_default();
    Ok(Some(Found {
        name: name.unwrap_or_default().trim_start_matches('/').to_owned(),
        status: state.and_then(|state| state.status).unwrap_or(Status::EMPTY),
        sources: mounts.into_iter().filter_map(|mount| mount.source).collect(),
    }))
}
