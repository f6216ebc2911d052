//! Makes what a container needs, and the container.

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use gnomon_schemas::app::{AppSpec, Mount, ServiceSpec};
use gnomon_schemas::id::{AppName, ResourceName};

use super::body::{Prepared, PreparedDevice, PreparedVolume, Source, body};
use super::error::Doing as _;
use super::{ANSWER, Docker, DockerError, WORK, files, labels, network, observe};
use crate::orchestrator::files::permitted;
use crate::reconcile::model::Slot;

pub(super) async fn create(docker: &Docker, slot: &Slot, app: &AppSpec) -> Result<(), DockerError> {
    docker.capabilities().check(app).map_err(Box::new)?;
    let settings = &docker.settings;
    let service = app.services.get(&slot.service);
    let service = service.ok_or_else(|| DockerError::NoSuchService(slot.service.clone()))?;
    let digest = service.digest(app);
    let name = labels::container_name(&settings.node, slot, digest);
    if !service.configs.is_empty() || !service.secrets.is_empty() {
        let listed = observe::list(docker).await?.into_iter().filter_map(|it| it.names);
        let mut names: BTreeSet<_> =
            listed.flatten().map(|name| name.trim_start_matches('/').to_owned()).collect();
        names.insert(name.clone());
        files::sweep(settings, &slot.app, &names)?;
    }
    let files = files::write(settings, &slot.app, &name, app, service)?;
    if exists(docker, slot, &name).await? {
        return Ok(());
    }
    network::ensure(docker, &slot.app).await?;
    let prepared = Prepared {
        labels: labels::of_instance(&settings.node, slot, digest, app),
        network: labels::network_name(&settings.node, &slot.app),
        files,
        volumes: volumes(docker, slot, app, service).await?,
        devices: devices(docker, service)?,
    };
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let body = body(settings, slot, service, prepared);
    let made = docker.client(WORK)?.create_container(Some(options), body).await;
    let failed = |error| docker.failed(format!("make container {name}"), error);
    match made.map_err(failed) {
        Err(error) if error.status() == Some(409) && exists(docker, slot, &name).await? => Ok(()),
        other => other.map(drop),
    }
}

/// Whether the container of this name is there; one of somebody else is an error. The name holds
/// the digest, so ours is the right one.
async fn exists(docker: &Docker, slot: &Slot, name: &str) -> Result<bool, DockerError> {
    let found = docker.client(ANSWER)?.inspect_container(name, None).await;
    let found = match found.map_err(|error| docker.failed(format!("look for {name}"), error)) {
        Err(error) if error.status() == Some(404) => return Ok(false),
        other => other?,
    };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    match labels::read_instance(&docker.settings.node, &labels) {
        Some((of, _)) if of == *slot => Ok(true),
        _ => Err(DockerError::Foreign { what: "container", name: name.to_owned() }),
    }
}

async fn volumes(
    docker: &Docker,
    slot: &Slot,
    app: &AppSpec,
    service: &ServiceSpec,
) -> Result<Vec<PreparedVolume>, DockerError> {
    let mut volumes = Vec::new();
    for (target, mount) in &service.volumes {
        let (source, read_only) = match mount {
            Mount::Volume { name, read_only } => {
                (Source::Named(named(docker, &slot.app, app, name).await?), *read_only)
            }
            Mount::Bind { path, read_only } => {
                let found = permitted(Path::new(path), &docker.settings.bind_prefixes)
                    .doing("find the bind mount", Path::new(path))?;
                let found = found.ok_or_else(|| DockerError::BindOutside(path.clone()))?;
                (Source::Bind(found), *read_only)
            }
            Mount::Tmpfs { size_bytes } => (Source::Tmpfs(*size_bytes), false),
        };
        volumes.push(PreparedVolume { target: target.clone(), source, read_only });
    }
    Ok(volumes)
}

/// Where the devices are; a link is followed, and must not lead to another device.
fn devices(docker: &Docker, service: &ServiceSpec) -> Result<Vec<PreparedDevice>, DockerError> {
    let mut devices = Vec::new();
    for (target, device) in &service.devices {
        let path = Path::new(&device.path);
        let found = permitted(path, &docker.settings.device_prefixes);
        let source = found.doing("find the device", path)?;
        let source = source.ok_or_else(|| DockerError::DeviceOutside(device.path.clone()))?;
        let kind = source.metadata().doing("look at the device", path)?.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Err(DockerError::NoDevice(device.path.clone()));
        }
        let (target, access) = (target.clone(), device.access.to_string());
        devices.push(PreparedDevice { target, source, access });
    }
    Ok(devices)
}

/// Makes a named volume unless it is there; one of somebody else is an error. One that has its name
/// and no labels at all is what a power cut leaves of it, perhaps with data, so it is used.
async fn named(
    docker: &Docker,
    app: &AppName,
    spec: &AppSpec,
    volume: &ResourceName,
) -> Result<String, DockerError> {
    let node = &docker.settings.node;
    let name = labels::volume_name(node, app, volume);
    let wished = spec.volumes.get(volume).map(|volume| volume.labels.clone()).unwrap_or_default();
    let labels = wished.into_iter().chain(labels::of_app(node, app)).collect();
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    };
    let made = docker.client(WORK)?.create_volume(request).await;
    let made = made.map_err(|error| docker.failed(format!("make volume {name}"), error))?;
    if labels::read_volume(node, &name, &made.labels).as_ref() == Some(app) {
        return Ok(name);
    }
    Err(DockerError::Foreign { what: "volume", name })
}
