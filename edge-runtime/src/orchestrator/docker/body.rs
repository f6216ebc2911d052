//! The request that makes a container, from the service and what was prepared for it. Pure.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountTmpfsOptions, MountType, NetworkingConfig, PortBinding,
    PortMap, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use gnomon_schemas::app::{
    Capability, Confinement, HealthCheck, HealthTest, Port, Protocol, ServiceSpec, StopSignal,
    Ulimit, UlimitName,
};

use super::Settings;
use super::files::MountedFile;
use super::labels::Labels;
use crate::reconcile::model::Slot;

/// What was prepared for a container before it is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Prepared {
    pub(super) labels: Labels,
    pub(super) network: String,
    pub(super) files: Vec<MountedFile>,
    pub(super) volumes: Vec<PreparedVolume>,
    pub(super) devices: Vec<PreparedDevice>,
}

/// A device, found on the node.
#[derive(Debug, Clone)]
pub(super) struct PreparedDevice {
    pub(super) target: String,
    pub(super) source: PathBuf,
    pub(super) access: String,
}

/// What appears at a target.
#[derive(Debug, Clone)]
pub(super) struct PreparedVolume {
    pub(super) target: String,
    pub(super) source: Source,
    pub(super) read_only: bool,
}

/// Where what appears comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Named(String),
    Bind(PathBuf),
    Tmpfs(Option<u64>),
}

pub(super) fn body(
    settings: &Settings,
    slot: &Slot,
    service: &ServiceSpec,
    prepared: Prepared,
) -> ContainerCreateBody {
    let mut labels: Labels = service.labels.clone().into_iter().collect();
    labels.extend(prepared.labels.clone());
    let alias = EndpointSettings {
        aliases: Some(vec![slot.service.as_str().to_owned()]),
        ..EndpointSettings::default()
    };
    let endpoints = HashMap::from([(prepared.network.clone(), alias)]);
    let env = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: service.image.clone(),
        entrypoint: service.entrypoint.clone().map(clearing),
        cmd: service.command.clone(),
        env: Some(env.collect()),
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        exposed_ports: Some(service.ports.iter().map(port_key).collect()),
        healthcheck: Some(health(service.healthcheck.as_ref())),
        labels: Some(labels),
        stop_signal: service.stop_signal.map(StopSignal::as_str).map(ToOwned::to_owned),
        host_config: Some(host_config(settings, service, prepared)),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(settings: &Settings, service: &ServiceSpec, prepared: Prepared) -> HostConfig {
    let Prepared { network, files, volumes, devices, labels: _ } = prepared;
    let Confinement { cap_add, cap_drop, read_only, no_new_privileges, ulimits } =
        &service.confinement;
    let limits = service.resources.limits;
    let reservations = service.resources.reservations;
    let mounts = volumes.into_iter().map(volume).chain(files.into_iter().map(file));
    HostConfig {
        network_mode: Some(network),
        mounts: Some(mounts.collect()),
        port_bindings: Some(bindings(service.ports.iter())),
        nano_cpus: limits.cpu_millis.map(|millis| signed(millis.saturating_mul(1_000_000))),
        memory: limits.memory_bytes.map(signed),
        pids_limit: limits.pids.map(i64::from),
        cap_add: names(cap_add),
        cap_drop: names(cap_drop),
        readonly_rootfs: read_only.then_some(true),
        security_opt: no_new_privileges.then(|| vec!["no-new-privileges:true".to_owned()]),
        ulimits: (!ulimits.is_empty()).then(|| ulimits.iter().map(ulimit).collect()),
        devices: (!devices.is_empty()).then(|| devices.into_iter().map(device).collect()),
        cpu_shares: reservations.cpu_millis.map(|millis| signed((millis * 1024 / 1000).max(2))),
        memory_reservation: reservations.memory_bytes.map(signed),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), settings.log_bytes.to_string()),
                ("max-file".to_owned(), settings.log_files.to_string()),
            ])),
        }),
        ..HostConfig::default()
    }
}

fn names(capabilities: &BTreeSet<Capability>) -> Option<Vec<String>> {
    let names = capabilities.iter().map(|name| name.as_str().to_owned());
    (!capabilities.is_empty()).then(|| names.collect())
}

fn ulimit((name, Ulimit { soft, hard }): (&UlimitName, &Ulimit)) -> ResourcesUlimits {
    let number = |limit: Option<u64>| Some(limit.map_or(-1, signed));
    ResourcesUlimits {
        name: Some(name.as_str().to_owned()),
        soft: number(*soft),
        hard: number(*hard),
    }
}

fn device(device: PreparedDevice) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.source.to_string_lossy().into_owned()),
        path_in_container: Some(device.target),
        cgroup_permissions: Some(device.access),
    }
}

/// Docker takes an empty entrypoint for none given; one empty word clears that of the image.
fn clearing(entrypoint: Vec<String>) -> Vec<String> {
    if entrypoint.is_empty() { vec![String::new()] } else { entrypoint }
}

/// Without a check of the service, that of the image is switched off.
fn health(check: Option<&HealthCheck>) -> HealthConfig {
    let Some(check) = check else {
        return HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    };
    let nanos = |millis: u64| Some(signed(millis.saturating_mul(1_000_000)));
    let test = match &check.test {
        HealthTest::Exec(argv) => [vec!["CMD".to_owned()], argv.clone()].concat(),
        HealthTest::Shell(script) => vec!["CMD-SHELL".to_owned(), script.clone()],
    };
    HealthConfig {
        test: Some(test),
        interval: nanos(check.interval_ms),
        timeout: nanos(check.timeout_ms),
        retries: Some(check.retries.into()),
        start_period: nanos(check.start_period_ms),
        start_interval: None,
    }
}

fn volume(volume: PreparedVolume) -> Mount {
    let PreparedVolume { target, source, read_only } = volume;
    let (typ, source, tmpfs_options) = match source {
        Source::Named(name) => (MountType::VOLUME, Some(name), None),
        Source::Bind(path) => (MountType::BIND, Some(path.to_string_lossy().into_owned()), None),
        Source::Tmpfs(size) => {
            let size_bytes = size.map(signed);
            let options = MountTmpfsOptions { size_bytes, ..MountTmpfsOptions::default() };
            (MountType::TMPFS, None, Some(options))
        }
    };
    Mount {
        target: Some(target),
        typ: Some(typ),
        source,
        read_only: Some(read_only),
        tmpfs_options,
        ..Mount::default()
    }
}

fn file(file: MountedFile) -> Mount {
    Mount {
        target: Some(file.target),
        typ: Some(MountType::BIND),
        source: Some(file.source.to_string_lossy().into_owned()),
        read_only: Some(true),
        ..Mount::default()
    }
}

fn bindings<'a>(ports: impl Iterator<Item = &'a Port>) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: Some(port.host.map_or_else(String::new, |host| host.to_string())),
        };
        map.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    map
}

fn port_key(port: &Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
