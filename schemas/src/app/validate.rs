//! What no orchestrator could run, found before anything is stored or touched.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::problem::{InvalidApp, Problem, ProblemKind as Kind};
use super::{AppSpec, graph};
use crate::limits::DOCUMENT_BYTES;

mod manifests;
mod service;

/// The sizes beyond which an app is refused.
pub mod limits {
    /// Services of an app.
    pub const SERVICES: usize = 64;
    /// Volumes, configs or secrets of an app, each.
    pub const RESOURCES: usize = 64;
    /// Environment variables of a service.
    pub const ENVIRONMENT: usize = 512;
    /// Ports of a service.
    pub const PORTS: usize = 128;
    /// Volumes, configs or secrets that a service mounts, each.
    pub const MOUNTS: usize = 64;
    /// Devices of a service.
    pub const DEVICES: usize = 64;
    /// Labels of a service.
    pub const LABELS: usize = 128;
    /// Arguments of a command.
    pub const ARGUMENTS: usize = 256;
    /// Copies of a service.
    pub const REPLICAS: u32 = 64;
    /// Bytes of a text that is not the content of a file.
    pub const TEXT_BYTES: usize = 32 * 1024;
    /// Bytes of the content of a config or secret.
    pub const CONTENT_BYTES: usize = 128 * 1024;
    /// Bytes of the name of a variable or label, and of a path.
    pub const KEY_BYTES: usize = crate::limits::OBJECT_KEY_BYTES;
    /// Kubernetes objects of a service.
    pub const MANIFESTS: usize = 200;
    /// Problems that one refusal names.
    pub const PROBLEMS: usize = 32;
}

impl AppSpec {
    /// Checks what the types alone cannot: references, cycles, ports, paths and sizes.
    pub fn validate(&self) -> Result<(), InvalidApp> {
        let mut found = Problems::default();
        self.check_counts(&mut found);
        if found.is_empty() {
            self.check_texts(&mut found);
            self.check_dependencies(&mut found);
            self.check_host_ports(&mut found);
            let settle = self.trial.settle_ms;
            found.range("trial.settle_ms", settle, 0..=service::DAY_MS, " ms");
            for (name, service) in &self.services {
                service::check(self, service, &format!("services.{name}"), &mut found);
            }
            for (name, volume) in &self.volumes {
                let path = format!("volumes.{name}.labels");
                service::check_labels(&volume.labels, &path, &mut found);
            }
        }
        InvalidApp::from_problems(found.0).map_or(Ok(()), Err)
    }

    fn check_counts(&self, found: &mut Problems) {
        if self.services.is_empty() {
            found.add("services", Kind::NoServices);
        }
        found.count("services", self.services.len(), limits::SERVICES);
        found.count("volumes", self.volumes.len(), limits::RESOURCES);
        found.count("configs", self.configs.len(), limits::RESOURCES);
        found.count("secrets", self.secrets.len(), limits::RESOURCES);
    }

    fn check_texts(&self, found: &mut Problems) {
        let value = self.to_value();
        let size = value.to_string().len();
        if size > DOCUMENT_BYTES {
            found.add("the app", Kind::TooLong { limit: DOCUMENT_BYTES, found: size });
        }
        walk_texts(&value, &mut String::new(), found);
    }

    fn check_dependencies(&self, found: &mut Problems) {
        use super::Condition;
        for (name, service) in &self.services {
            for (dependency, condition) in &service.depends_on {
                let path = format!("services.{name}.depends_on.{dependency}");
                let Some(other) = self.services.get(dependency) else {
                    found.add(path, Kind::UnknownService(dependency.clone()));
                    continue;
                };
                if other.schedule.is_some() {
                    found.add(path, Kind::Scheduled(dependency.clone()));
                    continue;
                }
                match condition {
                    Condition::Healthy if other.healthcheck.is_none() && !other.has_manifests() => {
                        found.add(path, Kind::NeverHealthy(dependency.clone()));
                    }
                    Condition::CompletedSuccessfully if !other.is_job() => {
                        found.add(path, Kind::NeverCompletes(dependency.clone()));
                    }
                    Condition::Started | Condition::Healthy | Condition::CompletedSuccessfully => {}
                }
            }
        }
        if let Some(cycle) = graph::cycle(self)
            && let [from, to, ..] = cycle.as_slice()
        {
            found.add(format!("services.{from}.depends_on.{to}"), Kind::Cycle(cycle));
        }
    }

    fn check_host_ports(&self, found: &mut Problems) {
        let mut taken: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, service) in &self.services {
            for port in &service.ports {
                let Some(host) = port.host.map(std::num::NonZeroU16::get) else { continue };
                let path = format!("services.{name}.ports[{host}]");
                let same: &mut Vec<_> = taken.entry((host, port.protocol)).or_default();
                match same.iter().find(|(other, _)| port.collides(other)) {
                    Some((_, by)) => {
                        let by = format!("services.{by}");
                        found.add(path.as_str(), Kind::HostPortTaken { port: host, by });
                    }
                    None => same.push((*port, name)),
                }
                if service.replicas > 1 {
                    let replicas = service.replicas;
                    found.add(path, Kind::HostPortShared { port: host, replicas });
                }
            }
        }
    }
}

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, path: impl Into<String>, kind: Kind) {
        if self.0.len() < limits::PROBLEMS {
            self.0.push(Problem { path: path.into(), kind });
        }
    }

    fn count(&mut self, path: impl Into<String>, found: usize, limit: usize) {
        if found > limit {
            self.add(path, Kind::TooMany { limit, found });
        }
    }

    fn range(
        &mut self,
        path: impl Into<String>,
        found: u64,
        bounds: RangeInclusive<u64>,
        unit: &'static str,
    ) {
        if !bounds.contains(&found) {
            let (min, max) = bounds.into_inner();
            self.add(path, Kind::OutOfRange { min, max, found, unit });
        }
    }
}

fn walk_texts(value: &Value, path: &mut String, found: &mut Problems) {
    let length = path.len();
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if length > 0 {
                    path.push('.');
                }
                path.extend(key.chars().take(limits::KEY_BYTES).map(visible));
                check_text(path, key, limits::KEY_BYTES, found);
                walk_texts(member, path, found);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.extend(["[", &index.to_string(), "]"]);
                walk_texts(item, path, found);
                path.truncate(length);
            }
        }
        Value::String(text) => {
            let is_content = path.ends_with(".content") && !path.starts_with("services.")
                || path.contains(".manifests.");
            let limit = if is_content { limits::CONTENT_BYTES } else { limits::TEXT_BYTES };
            check_text(path, text, limit, found);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check_text(path: &str, text: &str, limit: usize, found: &mut Problems) {
    if text.contains('\0') {
        found.add(path, Kind::Nul);
    }
    if text.len() > limit {
        found.add(path, Kind::TooLong { limit, found: text.len() });
    }
}

fn visible(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}
