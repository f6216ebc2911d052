//! What an orchestrator can do, so that what it cannot is refused before anything is touched.
//! Pure: it looks at the app and at nothing else.

use std::path::{Component, Path, PathBuf};

use gnomon_schemas::app::{AppSpec, Confinement, Mount, ServiceSpec};
use gnomon_schemas::id::ServiceName;
use serde_json::Value;

use super::Kind;

/// What an orchestrator can do. What is not named here every orchestrator can do, or does as well
/// as it can: a host process listens on the ports of the node itself, reaches the other services of
/// its app at the loopback address, and is asked, not forced, to leave a read-only volume alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says one independent thing")]
pub struct Capabilities {
    /// Which orchestrator it is.
    pub kind: Kind,
    /// It runs images. If not, a service needs a command, and its image is not looked at.
    pub images: bool,
    /// It can give a service memory as a file system.
    pub tmpfs: bool,
    /// Below which limits of resources it can hold a service.
    pub limits: LimitKinds,
    /// It can give and take capabilities of the kernel, and make a root file system read-only.
    pub confines: bool,
    /// It can set the kernel's limits of each process, and keep programs from getting more rights.
    pub hardens: bool,
    /// It can put a mount inside another mount.
    pub nested_mounts: bool,
    /// It can run a service as another user than the agent's.
    pub users: bool,
    /// Directories of the node below which a bind mount may point; none by default.
    pub bind_prefixes: Vec<PathBuf>,
    /// Devices of the node, or directories of them, that a service may use; none by default.
    pub device_prefixes: Vec<PathBuf>,
}

/// The resources whose use an orchestrator can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitKinds {
    /// The share of the processors.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
    /// Processes and threads.
    pub pids: bool,
}

impl LimitKinds {
    /// All of them.
    pub const ALL: Self = Self { cpu: true, memory: true, pids: true };
    /// None of them.
    pub const NONE: Self = Self { cpu: false, memory: false, pids: false };
}

/// Why an orchestrator refuses an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service {service} cannot run on the {kind} orchestrator of this node: {reason}")]
pub struct Unsupported {
    /// The service that it cannot run.
    pub service: ServiceName,
    /// The orchestrator.
    pub kind: Kind,
    /// What it cannot do.
    pub reason: UnsupportedReason,
}

/// What an orchestrator cannot do for a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedReason {
    /// It runs images and the service has none.
    #[error("it needs an `image`")]
    NeedsImage,
    /// It runs commands and the service has none.
    #[error("it runs no images; give a command for the host under `x-gnomon-process`")]
    NeedsCommand,
    /// Kubernetes objects, and no Kubernetes.
    #[error("it consists of Kubernetes manifests, which only the k3s orchestrator can apply")]
    Manifests,
    /// A mount of type tmpfs.
    #[error("it has no tmpfs for {target}; use a named volume")]
    Tmpfs {
        /// Where the mount appears.
        target: String,
    },
    /// A mount inside a mount.
    #[error("it cannot put {inner} inside the volume at {outer}; mount them side by side")]
    NestedMount {
        /// Where the inner one appears.
        inner: String,
        /// Where the outer one appears.
        outer: String,
    },
    /// A bind mount outside what the node permits.
    #[error("the bind mount of {path} is not below a directory that this node permits{}", list(.permitted))]
    Bind {
        /// The path on the node.
        path: String,
        /// What the node permits.
        permitted: Vec<PathBuf>,
    },
    /// A limit of resources.
    #[error("it cannot enforce `resources.limits.{0}` here; leave it out")]
    Limit(&'static str),
    /// What it may do, as far as that differs from the usual.
    #[error("it has no `{0}`; leave it out")]
    Confinement(&'static str),
    /// A device outside what the node permits.
    #[error("the device {path} is not among those that this node permits{}", list(.permitted))]
    Device {
        /// The path on the node.
        path: String,
        /// What the node permits.
        permitted: Vec<PathBuf>,
    },
    /// A device that should appear elsewhere.
    #[error("a host process sees {path} where it is and not at {target}; give both the same path")]
    DeviceElsewhere {
        /// The path on the node.
        path: String,
        /// Where it should appear.
        target: String,
    },
    /// What only Kubernetes cannot do.
    #[error("{0}")]
    Unfit(String),
    /// Another user.
    #[error("it cannot become user {user}; run gnomon-edge as root, or leave `user` out")]
    User {
        /// The wanted user.
        user: String,
    },
}

fn list(prefixes: &[PathBuf]) -> String {
    let list: Vec<_> = prefixes.iter().map(|path| path.display().to_string()).collect();
    if list.is_empty() { " (it permits none)".into() } else { format!(" ({})", list.join(", ")) }
}

impl Capabilities {
    /// Checks whether every service of an app can run.
    pub fn check(&self, app: &AppSpec) -> Result<(), Unsupported> {
        app.services.iter().try_for_each(|(name, service)| {
            self.check_service(service).map_err(|reason| Unsupported {
                service: name.clone(),
                kind: self.kind,
                reason,
            })
        })
    }

    fn check_service(&self, service: &ServiceSpec) -> Result<(), UnsupportedReason> {
        use UnsupportedReason as Reason;
        if service.has_manifests() {
            return self.check_manifests(service);
        }
        if self.images && service.image.is_none() {
            return Err(Reason::NeedsImage);
        }
        if !self.images && service.host_argv().is_empty() {
            return Err(Reason::NeedsCommand);
        }
        self.check_limits(service)?;
        self.check_confinement(&service.confinement)?;
        self.check_devices(service)?;
        if let Some(user) = service.user.as_ref().filter(|_| !self.users) {
            return Err(Reason::User { user: user.clone() });
        }
        if self.kind == Kind::K3s
            && let Some(what) = super::k3s::unfit(service)
        {
            return Err(Reason::Unfit(what));
        }
        if let Some((inner, outer)) = nested(service).filter(|_| !self.nested_mounts) {
            return Err(Reason::NestedMount { inner: inner.to_owned(), outer: outer.to_owned() });
        }
        service.volumes.iter().try_for_each(|(target, mount)| self.check_mount(target, mount))
    }

    /// What its fields mean the API server says; but not which directories of the node are open.
    fn check_manifests(&self, service: &ServiceSpec) -> Result<(), UnsupportedReason> {
        if self.kind != Kind::K3s {
            return Err(UnsupportedReason::Manifests);
        }
        let mut paths = service.manifests.values().flat_map(|it| host_paths(it.as_value()));
        let outside = paths.find(|path| !self.permits_bind(Path::new(path)));
        outside.map_or(Ok(()), |path| {
            let permitted = self.bind_prefixes.clone();
            Err(UnsupportedReason::Bind { path: path.to_owned(), permitted })
        })
    }

    fn check_limits(&self, service: &ServiceSpec) -> Result<(), UnsupportedReason> {
        let (wanted, can) = (service.resources.limits, self.limits);
        let limits = [
            ("cpus", wanted.cpu_millis.is_some() && !can.cpu),
            ("memory", wanted.memory_bytes.is_some() && !can.memory),
            ("pids", wanted.pids.is_some() && !can.pids),
        ];
        let missing = limits.iter().find(|(_, is_missing)| *is_missing);
        missing.map_or(Ok(()), |(name, _)| Err(UnsupportedReason::Limit(name)))
    }

    fn check_confinement(&self, wanted: &Confinement) -> Result<(), UnsupportedReason> {
        let members = [
            ("cap_add", !wanted.cap_add.is_empty() && !self.confines),
            ("cap_drop", !wanted.cap_drop.is_empty() && !self.confines),
            ("read_only", wanted.read_only && !self.confines),
            ("security_opt: no-new-privileges", wanted.no_new_privileges && !self.hardens),
            ("ulimits", !wanted.ulimits.is_empty() && !self.hardens),
        ];
        let missing = members.iter().find(|(_, is_missing)| *is_missing);
        missing.map_or(Ok(()), |(name, _)| Err(UnsupportedReason::Confinement(name)))
    }

    fn check_devices(&self, service: &ServiceSpec) -> Result<(), UnsupportedReason> {
        for (target, device) in &service.devices {
            let path = || device.path.clone();
            if self.kind == Kind::K3s {
                return Err(UnsupportedReason::Confinement("devices"));
            }
            if !self.device_prefixes.iter().any(|it| Path::new(&device.path).starts_with(it)) {
                let permitted = self.device_prefixes.clone();
                return Err(UnsupportedReason::Device { path: path(), permitted });
            }
            if !self.images && *target != device.path {
                let target = target.clone();
                return Err(UnsupportedReason::DeviceElsewhere { path: path(), target });
            }
        }
        Ok(())
    }

    fn check_mount(&self, target: &str, mount: &Mount) -> Result<(), UnsupportedReason> {
        match mount {
            Mount::Volume { .. } => Ok(()),
            Mount::Tmpfs { .. } if self.tmpfs => Ok(()),
            Mount::Tmpfs { .. } => Err(UnsupportedReason::Tmpfs { target: target.to_owned() }),
            Mount::Bind { path, .. } if self.permits_bind(Path::new(path)) => Ok(()),
            Mount::Bind { path, .. } => Err(UnsupportedReason::Bind {
                path: path.clone(),
                permitted: self.bind_prefixes.clone(),
            }),
        }
    }

    /// Whether a path is written below a permitted directory, and without `..`. The orchestrators look at it again
    /// with symbolic links followed.
    pub fn permits_bind(&self, path: &Path) -> bool {
        let climbs = path.components().any(|part| part == Component::ParentDir);
        !climbs && self.bind_prefixes.iter().any(|prefix| path.starts_with(prefix))
    }
}

/// The directories of the node that an object mounts, at whatever depth it says so.
fn host_paths(object: &Value) -> Vec<&str> {
    match object {
        Value::Object(members) => {
            let own = members.get("hostPath").and_then(|it| it.get("path")).and_then(Value::as_str);
            own.into_iter().chain(members.values().flat_map(host_paths)).collect()
        }
        Value::Array(items) => items.iter().flat_map(host_paths).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn nested(service: &ServiceSpec) -> Option<(&str, &str)> {
    let files = service.configs.keys().chain(service.secrets.keys());
    let targets = || service.volumes.keys().chain(files.clone()).map(String::as_str);
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
    };
    let outer_of = |inner| service.volumes.keys().find(move |outer| inside(inner, outer));
    targets().find_map(|inner| outer_of(inner).map(|outer| (inner, outer.as_str())))
}

#[cfg(test)]
mod tests;
