//! The checks of one service.

use std::collections::BTreeMap;

use super::{Kind, Problems, limits, manifests};
use crate::app::{
    AppSpec, Confinement, FileMount, HealthTest, HostProcess, Mount, Reservations, ResourceLimits,
    ServiceSpec, Ulimit, UpdateOrder,
};
use crate::id::ResourceName;

const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// Docker refuses to give a container less.
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;
const MOST_MEMORY: u64 = 1 << 50;
const MOST_CPU_MILLIS: u64 = 1_024_000;
/// The largest number that every orchestrator can hand to the kernel.
const MOST_ULIMIT: u64 = i64::MAX.cast_unsigned();

pub(super) fn check(app: &AppSpec, service: &ServiceSpec, path: &str, found: &mut Problems) {
    if service.has_manifests() || !service.manifest_secrets.is_empty() {
        return manifests::check(app, service, path, found);
    }
    if service.image.is_none() && service.host_argv().is_empty() {
        found.add(path, Kind::NothingToRun);
    }
    found.count(format!("{path}.environment"), service.environment.len(), limits::ENVIRONMENT);
    found.count(format!("{path}.ports"), service.ports.len(), limits::PORTS);
    check_labels(&service.labels, &format!("{path}.labels"), found);
    found.range(
        format!("{path}.replicas"),
        service.replicas.into(),
        0..=limits::REPLICAS.into(),
        "",
    );
    found.range(
        format!("{path}.stop_grace_period_ms"),
        service.stop_grace_period_ms,
        0..=HOUR_MS,
        " ms",
    );
    if service.schedule.is_some() {
        if !service.is_job() {
            found.add(format!("{path}.schedule"), Kind::NotAJob);
        }
        found.range(format!("{path}.replicas"), service.replicas.into(), 0..=1, " with a schedule");
    }
    let has_fixed_port = service.ports.iter().any(|port| port.host.is_some());
    if service.update == UpdateOrder::StartFirst && has_fixed_port {
        found.add(format!("{path}.update"), Kind::StartsFirst);
    }
    check_names(service, path, found);
    check_commands(service, path, found);
    check_mounts(app, service, path, found);
    check_health(service, path, found);
    check_resources(service, path, found);
    check_confinement(service, path, found);
}

fn check_names(service: &ServiceSpec, path: &str, found: &mut Problems) {
    if service.image.as_deref().is_some_and(|image| !is_image(image)) {
        found.add(format!("{path}.image"), Kind::BadImage);
    }
    if service.user.as_deref().is_some_and(|user| !is_user(user)) {
        found.add(format!("{path}.user"), Kind::BadUser);
    }
    if service.working_dir.as_deref().is_some_and(|dir| dir != "/" && !is_plain_path(dir)) {
        found.add(format!("{path}.working_dir"), Kind::BadPath);
    }
    for name in service.environment.keys() {
        if name.is_empty() || name.contains('=') {
            found.add(format!("{path}.environment.{name}"), Kind::BadVariable);
        }
    }
}

pub(super) fn check_labels(labels: &BTreeMap<String, String>, path: &str, found: &mut Problems) {
    found.count(path, labels.len(), limits::LABELS);
    for name in labels.keys() {
        if name.is_empty() {
            found.add(path, Kind::Empty);
        }
        if name.starts_with("io.gnomon.") {
            found.add(format!("{path}.{name}"), Kind::ReservedLabel);
        }
    }
}

fn check_commands(service: &ServiceSpec, path: &str, found: &mut Problems) {
    for (key, argv) in [("entrypoint", &service.entrypoint), ("command", &service.command)] {
        found.count(format!("{path}.{key}"), argv.as_ref().map_or(0, Vec::len), limits::ARGUMENTS);
    }
    if let Some(HostProcess { command, working_dir, health_test }) = &service.process {
        check_argv(command, format!("{path}.process.command"), found);
        if working_dir.as_deref().is_some_and(|dir| dir != "/" && !is_plain_path(dir)) {
            found.add(format!("{path}.process.working_dir"), Kind::BadPath);
        }
        if let Some(test) = health_test {
            check_test(test, format!("{path}.process.health_test"), found);
        }
    }
}

fn check_argv(argv: &[String], path: String, found: &mut Problems) {
    if argv.first().is_none_or(String::is_empty) {
        found.add(path.as_str(), Kind::Empty);
    }
    found.count(path, argv.len(), limits::ARGUMENTS);
}

fn check_test(test: &HealthTest, path: String, found: &mut Problems) {
    match test {
        HealthTest::Exec(argv) => check_argv(argv, path, found),
        HealthTest::Shell(script) if script.trim().is_empty() => found.add(path, Kind::Empty),
        HealthTest::Shell(_) => {}
    }
}

fn check_mounts(app: &AppSpec, service: &ServiceSpec, path: &str, found: &mut Problems) {
    let mut targets = BTreeMap::new();
    let mut place = |kind: &str, target: &str, found: &mut Problems| {
        let here = format!("{path}.{kind}[{target}]");
        if !is_plain_path(target) {
            found.add(here.as_str(), Kind::BadPath);
        }
        if let Some(by) = targets.insert(target.to_owned(), here.clone()) {
            found.add(here, Kind::TargetTaken { by });
        }
    };
    for (target, mount) in &service.volumes {
        place("volumes", target, found);
        let here = || format!("{path}.volumes[{target}]");
        match mount {
            Mount::Volume { name, .. } if !app.volumes.contains_key(name) => {
                let name = name.to_string();
                found.add(here(), Kind::Undeclared { what: "volume", name });
            }
            Mount::Bind { path, .. } if path != "/" && !is_plain_path(path) => {
                found.add(here(), Kind::BadPath);
            }
            Mount::Tmpfs { size_bytes: Some(size) } => {
                found.range(here(), *size, 1..=MOST_MEMORY, " bytes");
            }
            Mount::Volume { .. } | Mount::Bind { .. } | Mount::Tmpfs { size_bytes: None } => {}
        }
    }
    let mut files = |kind: &'static str, mounts: &BTreeMap<String, FileMount>, names: &[&str]| {
        let what = kind.trim_end_matches('s');
        for (target, FileMount { source, mode }) in mounts {
            place(kind, target, found);
            found.range(format!("{path}.{kind}[{target}].mode"), (*mode).into(), 0..=0o777, "");
            if !names.contains(&source.as_str()) {
                let undeclared = Kind::Undeclared { what, name: source.to_string() };
                found.add(format!("{path}.{kind}[{target}]"), undeclared);
            }
        }
        found.count(format!("{path}.{kind}"), mounts.len(), limits::MOUNTS);
    };
    let configs: Vec<&str> = app.configs.keys().map(ResourceName::as_str).collect();
    let secrets: Vec<&str> = app.secrets.keys().map(ResourceName::as_str).collect();
    files("configs", &service.configs, &configs);
    files("secrets", &service.secrets, &secrets);
    found.count(format!("{path}.volumes"), service.volumes.len(), limits::MOUNTS);
}

fn check_health(service: &ServiceSpec, path: &str, found: &mut Problems) {
    let Some(health) = &service.healthcheck else { return };
    let path = format!("{path}.healthcheck");
    check_test(&health.test, format!("{path}.test"), found);
    found.range(format!("{path}.interval_ms"), health.interval_ms, 1..=DAY_MS, " ms");
    found.range(format!("{path}.timeout_ms"), health.timeout_ms, 1..=DAY_MS, " ms");
    found.range(format!("{path}.start_period_ms"), health.start_period_ms, 0..=DAY_MS, " ms");
    found.range(format!("{path}.retries"), health.retries.into(), 1..=1000, "");
}

fn check_resources(service: &ServiceSpec, path: &str, found: &mut Problems) {
    let ResourceLimits { cpu_millis, memory_bytes, pids } = service.resources.limits;
    let Reservations { cpu_millis: cpu_reserved, memory_bytes: memory_reserved } =
        service.resources.reservations;
    let path = format!("{path}.resources");
    let amounts = [
        (
            "cpu_millis",
            cpu_millis,
            cpu_reserved,
            1..=MOST_CPU_MILLIS,
            " thousandths of a processor",
        ),
        ("memory_bytes", memory_bytes, memory_reserved, LEAST_MEMORY..=MOST_MEMORY, " bytes"),
    ];
    for (key, limit, reserved, bounds, unit) in amounts {
        if let Some(limit) = limit {
            found.range(format!("{path}.limits.{key}"), limit, bounds.clone(), unit);
        }
        let Some(reserved) = reserved else { continue };
        let here = format!("{path}.reservations.{key}");
        found.range(here.as_str(), reserved, 1..=*bounds.end(), unit);
        if let Some(limit) = limit.filter(|limit| reserved > *limit) {
            found.add(here, Kind::AboveLimit { limit, unit });
        }
    }
    if let Some(pids) = pids {
        found.range(format!("{path}.limits.pids"), pids.into(), 1..=1 << 22, "");
    }
}

fn check_confinement(service: &ServiceSpec, path: &str, found: &mut Problems) {
    let Confinement { cap_add, cap_drop, ulimits, .. } = &service.confinement;
    for name in cap_add.intersection(cap_drop) {
        found.add(format!("{path}.confinement.cap_drop.{name}"), Kind::BothWays);
    }
    for (name, Ulimit { soft, hard }) in ulimits {
        let here = || format!("{path}.confinement.ulimits.{name}");
        for limit in [soft, hard].into_iter().flatten() {
            found.range(here(), *limit, 0..=MOST_ULIMIT, "");
        }
        if let Some(limit) = hard.filter(|hard| soft.is_none_or(|soft| soft > *hard)) {
            found.add(here(), Kind::AboveLimit { limit, unit: "" });
        }
    }
    found.count(format!("{path}.devices"), service.devices.len(), limits::DEVICES);
    for (target, device) in &service.devices {
        let here = format!("{path}.devices[{target}]");
        if ![target.as_str(), &device.path].iter().all(|path| is_plain_path(path)) {
            found.add(here.as_str(), Kind::BadPath);
        }
        if service.volumes.contains_key(target) {
            found.add(here, Kind::TargetTaken { by: format!("{path}.volumes[{target}]") });
        }
    }
}

/// Absolute, and the only way to write the same path.
fn is_plain_path(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

fn is_image(image: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.len() <= limits::KEY_BYTES
        && image.chars().all(allowed)
}

fn is_user(user: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.len() <= 64
            && part.chars().all(allowed)
    };
    match user.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(user),
    }
}
