//! One service of an app: what to run, with what, and when to run it again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    AppSpec, Confinement, Device, FileMount, HealthCheck, HealthTest, Manifest, Mount, Port,
    Revision, Schedule, is_default, plain,
};
use crate::id::{ResourceName, ServiceName};

/// What to run as one service, in `replicas` equal copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSpec {
    /// The image of its containers. Without one, only the process orchestrator can run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Replaces the image's entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// How the process orchestrator runs it, where that differs from the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<HostProcess>,
    /// The environment variables, beside those of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The ports that are reachable from outside.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<Port>,
    /// The volumes, by the absolute path at which they appear.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Mount>,
    /// The configs, by the absolute path of the file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, FileMount>,
    /// The secrets, by the absolute path of the file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, FileMount>,
    /// How to tell whether it works. `None`: it has no health, whatever its image declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// When to run it again after it ended.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: RestartPolicy,
    /// When it runs, if it is a job that does so again and again; else it runs at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The services that must have come so far before this one starts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<ServiceName, Condition>,
    /// What it may use, per copy.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// What comes first when a copy is replaced.
    #[serde(skip_serializing_if = "is_default")]
    pub update: UpdateOrder,
    /// How many copies run; 1 unless said otherwise.
    #[serde(skip_serializing_if = "is_one")]
    pub replicas: u32,
    /// How long it may take to stop before it is killed; ten seconds unless said otherwise.
    #[serde(skip_serializing_if = "is_default_grace")]
    pub stop_grace_period_ms: u64,
    /// The signal that asks it to stop. `None`: the image's, or `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<StopSignal>,
    /// The directory in which it starts. `None`: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The user it runs as, `user[:group]`. `None`: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may do, as far as that differs from the usual.
    #[serde(skip_serializing_if = "is_default")]
    pub confinement: Confinement,
    /// The devices of the node that it may use, by the absolute path at which they appear.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, Device>,
    /// Labels on its containers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The Kubernetes objects that it consists of, in place of containers, by [`Manifest::key`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<String, Manifest>,
    /// What the Secrets among the manifests hold, by the key of the manifest: a secret of the app, whose
    /// content is the JSON object of the Secret's `data`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub manifest_secrets: BTreeMap<String, ResourceName>,
}

/// How the process orchestrator runs a service (`x-gnomon-process` in a Compose file).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostProcess {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The directory in which it starts. `None`: the service's own, made by the orchestrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The test to use on the host in place of the one of the health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_test: Option<HealthTest>,
}

/// When a service runs again after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RestartPolicy {
    /// Never: it is a job.
    #[default]
    No,
    /// Always.
    Always,
    /// Only after a failure.
    OnFailure {
        /// How often at most; `None`: without end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_retries: Option<u32>,
    },
    /// Always, except after it was stopped on purpose.
    UnlessStopped,
}

/// What comes first when a copy of a service is replaced by one of another revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old one stops, then the new one starts.
    #[default]
    StopFirst,
    /// The new one starts and is well, then the old one stops.
    StartFirst,
}

/// How far a service must have come before another that depends on it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It runs.
    Started,
    /// Its health check passes.
    Healthy,
    /// It ended with exit code 0.
    CompletedSuccessfully,
}

/// What one copy of a service may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// What it can never exceed.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: ResourceLimits,
    /// What is kept free for it.
    #[serde(skip_serializing_if = "is_default")]
    pub reservations: Reservations,
}

/// Upper bounds; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceLimits {
    /// Thousandths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// Guaranteed amounts; `None` is no guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reservations {
    /// Thousandths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

macro_rules! signals {
    ($($variant:ident $text:literal),+ $(,)?) => {
        /// A signal that can ask a service to stop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum StopSignal {
            $(
                #[doc = concat!("`", $text, "`.")]
                #[serde(rename = $text)]
                $variant
            ),+
        }

        impl StopSignal {
            /// Every signal that is supported.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name, such as `SIGTERM`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

signals! {
    Hup "SIGHUP", Int "SIGINT", Quit "SIGQUIT", Kill "SIGKILL", Usr1 "SIGUSR1", Usr2 "SIGUSR2",
    Term "SIGTERM", Winch "SIGWINCH",
}

impl ServiceSpec {
    /// The digest of what the containers of this service depend on: everything but the number of
    /// copies and the order and times of starting, with the contents of the configs and secrets it mounts.
    /// A change in another service leaves it as it is.
    pub fn digest(&self, app: &AppSpec) -> Revision {
        let own = Self {
            replicas: 1,
            depends_on: BTreeMap::new(),
            schedule: None,
            update: UpdateOrder::default(),
            ..self.clone()
        };
        let configs: BTreeMap<_, _> = own
            .configs
            .values()
            .map(|mount| (&mount.source, app.configs.get(&mount.source)))
            .collect();
        let mounted = own.secrets.values().map(|mount| &mount.source);
        let secrets: BTreeMap<_, _> = mounted
            .chain(own.manifest_secrets.values())
            .map(|source| (source, app.secrets.get(source)))
            .collect();
        Revision::of(&json!({
            "service": plain(&own),
            "configs": plain(&configs),
            "secrets": plain(&secrets),
        }))
    }

    /// The program and arguments that the process orchestrator runs: those of `process`, else the
    /// entrypoint followed by the command. Empty when the service can only run as a container.
    pub fn host_argv(&self) -> Vec<&str> {
        if let Some(process) = &self.process {
            return process.command.iter().map(String::as_str).collect();
        }
        let parts = [&self.entrypoint, &self.command];
        parts.into_iter().flatten().flatten().map(String::as_str).collect()
    }

    /// The directory in which the process orchestrator starts it; `None`: the service's own.
    pub fn host_working_dir(&self) -> Option<&str> {
        match &self.process {
            Some(process) => process.working_dir.as_deref(),
            None => self.working_dir.as_deref(),
        }
    }

    /// The health check as the process orchestrator runs it.
    pub fn host_healthcheck(&self) -> Option<HealthCheck> {
        let check = self.healthcheck.clone()?;
        let test = self.process.as_ref().and_then(|process| process.health_test.clone());
        Some(HealthCheck { test: test.unwrap_or_else(|| check.test.clone()), ..check })
    }

    /// Whether it ends by itself and is not started again after success.
    pub fn is_job(&self) -> bool {
        !self.has_manifests()
            && matches!(self.restart, RestartPolicy::No | RestartPolicy::OnFailure { .. })
    }

    /// Whether it consists of Kubernetes objects.
    pub fn has_manifests(&self) -> bool {
        !self.manifests.is_empty()
    }
}

/// How long a service may take to stop, unless it says otherwise.
const DEFAULT_STOP_GRACE_MS: u64 = 10_000;

impl Default for ServiceSpec {
    fn default() -> Self {
        Self {
            image: None,
            entrypoint: None,
            command: None,
            process: None,
            environment: BTreeMap::new(),
            ports: BTreeSet::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            healthcheck: None,
            restart: RestartPolicy::No,
            schedule: None,
            depends_on: BTreeMap::new(),
            resources: Resources::default(),
            update: UpdateOrder::default(),
            replicas: 1,
            stop_grace_period_ms: DEFAULT_STOP_GRACE_MS,
            stop_signal: None,
            working_dir: None,
            user: None,
            confinement: Confinement::default(),
            devices: BTreeMap::new(),
            labels: BTreeMap::new(),
            manifests: BTreeMap::new(),
            manifest_secrets: BTreeMap::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_one(replicas: &u32) -> bool {
    *replicas == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_default_grace(grace: &u64) -> bool {
    *grace == DEFAULT_STOP_GRACE_MS
}
