//! Limits of host processes: which of them the kernel lets the agent set by control groups
//! (version 1 or 2, below `gnomon`, as container engines have a directory of their own), and what
//! has to be written where for one instance. They are gone after a reboot and made at each start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use gnomon_schemas::app::{ServiceSpec, Ulimit, UlimitName};
use gnomon_schemas::id::NodeName;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use crate::orchestrator::LimitKinds;
use crate::reconcile::model::InstanceId;

const OURS: &str = "gnomon";
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const ENABLED: &str = "cgroup.subtree_control";
/// The period over which a share of processors is counted, in microseconds.
const PERIOD: u64 = 100_000;
/// How often, and how far apart, to try to remove a group whose processes are just dying.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// The control groups that the agent may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups {
    node: NodeName,
    /// By controller, the directory that holds ours.
    roots: BTreeMap<&'static str, PathBuf>,
    /// Whether all controllers share one directory.
    unified: bool,
}

/// What is set up for the service of an instance before it runs.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Bounds {
    pub(super) groups: Vec<Group>,
    pub(super) ulimits: BTreeMap<UlimitName, Ulimit>,
    /// Bytes of address space of each process, where there is no group for memory.
    pub(super) address_space: Option<u64>,
    pub(super) no_new_privileges: bool,
}

/// One group of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    parent: PathBuf,
    name: String,
    /// What has to be written to the directories above, in version 2.
    enable: Option<String>,
    settings: BTreeMap<String, String>,
}

impl Cgroups {
    /// Looks for what may be used below the place where control groups are mounted.
    pub(super) fn find(mounted: &Path, node: &NodeName) -> Self {
        let unified = mounted.join("cgroup.controllers").exists();
        let usable = |dir: &Path| access(dir, AccessFlags::W_OK).is_ok();
        let roots = CONTROLLERS.into_iter().filter_map(|controller| {
            let root = if unified { mounted.to_owned() } else { mounted.join(controller) };
            let is_there = root.join("cgroup.procs").exists() && usable(&root);
            let is_on = || !unified || is_enabled(&root, controller);
            (is_there && is_on()).then_some((controller, root))
        });
        Self { node: node.clone(), roots: roots.collect(), unified }
    }

    /// The limits that can be kept. Memory can be kept in any case, more coarsely without a group.
    pub(super) fn limits(&self) -> LimitKinds {
        let has = |controller| self.roots.contains_key(controller);
        LimitKinds { cpu: has("cpu"), memory: true, pids: has("pids") }
    }

    /// What a service asks for.
    pub(super) fn bounds(&self, id: &InstanceId, service: &ServiceSpec) -> Bounds {
        let limits = service.resources.limits;
        let mut groups: BTreeMap<&Path, Group> = BTreeMap::new();
        let amounts = [
            ("cpu", limits.cpu_millis),
            ("memory", limits.memory_bytes),
            ("pids", limits.pids.map(u64::from)),
        ];
        for (controller, amount) in amounts {
            let (Some(amount), Some(root)) = (amount, self.roots.get(controller)) else { continue };
            let group = groups.entry(root).or_insert_with(|| Group {
                parent: root.join(OURS),
                name: format!("{}.{id}", self.node),
                enable: None,
                settings: BTreeMap::new(),
            });
            if self.unified {
                let before = group.enable.take().map_or_else(String::new, |it| it + " ");
                group.enable = Some(format!("{before}+{controller}"));
            }
            group.settings.extend(settings(controller, amount, self.unified));
        }
        let confinement = &service.confinement;
        Bounds {
            groups: groups.into_values().collect(),
            ulimits: confinement.ulimits.clone(),
            address_space: limits.memory_bytes.filter(|_| !self.roots.contains_key("memory")),
            no_new_privileges: confinement.no_new_privileges,
        }
    }
}

/// In version 2 a controller counts in the groups below only once it is switched on.
fn is_enabled(root: &Path, controller: &str) -> bool {
    let file = root.join(ENABLED);
    let lists = |file: &Path| {
        fs::read_to_string(file)
            .is_ok_and(|text| text.split_whitespace().any(|it| it == controller))
    };
    if lists(&file) {
        return true;
    }
    let exists = lists(&root.join("cgroup.controllers"));
    exists && fs::write(&file, format!("+{controller}")).is_ok() && lists(&file)
}

fn settings(controller: &str, amount: u64, unified: bool) -> Vec<(String, String)> {
    let quota = (amount.saturating_mul(PERIOD) / 1000).max(1000);
    let plain: &[(&str, String)] = &match (controller, unified) {
        ("cpu", true) => vec![("cpu.max", format!("{quota} {PERIOD}"))],
        ("cpu", false) => {
            vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
        }
        ("memory", true) => vec![("memory.max", amount.to_string())],
        ("memory", false) => vec![("memory.limit_in_bytes", amount.to_string())],
        (_, _) => vec![("pids.max", amount.to_string())],
    };
    plain.iter().map(|(file, value)| ((*file).to_owned(), value.clone())).collect()
}

impl Bounds {
    /// Whether there is anything to set up.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes the groups, with what they limit.
    pub(super) fn make_groups(&self) -> io::Result<()> {
        self.groups.iter().try_for_each(Group::make)
    }

    /// Puts this process into the groups.
    pub(super) fn join_groups(&self) -> io::Result<()> {
        let join = |group: &Group| fs::write(group.dir().join("cgroup.procs"), "0");
        self.groups.iter().try_for_each(join)
    }

    /// Removes the groups; one in which something still runs stays.
    pub(super) fn remove_groups(&self) {
        for group in &self.groups {
            for _ in 0..TRIES {
                match fs::remove_dir(group.dir()) {
                    Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                        thread::sleep(PAUSE);
                    }
                    Ok(()) | Err(_) => break,
                }
            }
        }
    }
}

impl Group {
    fn dir(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.parent)?;
        if let (Some(enable), Some(root)) = (&self.enable, self.parent.parent()) {
            fs::write(root.join(ENABLED), enable)?;
            fs::write(self.parent.join(ENABLED), enable)?;
        }
        match fs::create_dir(self.dir()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let write = |(file, value): (&String, &String)| fs::write(self.dir().join(file), value);
        self.settings.iter().try_for_each(write)
    }
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::app::{ResourceLimits, Resources};

    use super::*;

    fn limited() -> ServiceSpec {
        let limits =
            ResourceLimits { cpu_millis: Some(500), memory_bytes: Some(8 << 20), pids: Some(9) };
        ServiceSpec {
            resources: Resources { limits, ..Resources::default() },
            ..ServiceSpec::default()
        }
    }

    fn node() -> NodeName {
        "site-1".parse().unwrap()
    }

    fn id() -> InstanceId {
        InstanceId("shop.web.0.ab".into())
    }

    #[test]
    fn version_two_has_one_group_with_everything() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        fs::write(at("cgroup.procs"), "").unwrap();
        fs::write(at(ENABLED), "cpu memory pids").unwrap();
        let found = Cgroups::find(dir.path(), &node());
        assert_eq!(found.limits(), LimitKinds::ALL);
        let bounds = found.bounds(&id(), &limited());
        assert_eq!((bounds.groups.len(), bounds.address_space), (1, None));
        bounds.make_groups().unwrap();
        bounds.join_groups().unwrap();
        let read =
            |file: &str| fs::read_to_string(at("gnomon/site-1.shop.web.0.ab").join(file)).unwrap();
        assert_eq!(read("cpu.max"), "50000 100000");
        assert_eq!((read("memory.max"), read("pids.max")), ("8388608".into(), "9".into()));
        assert_eq!(read("cgroup.procs"), "0");
        assert_eq!(fs::read_to_string(at("gnomon").join(ENABLED)).unwrap(), "+cpu +memory +pids");
    }

    #[test]
    fn version_one_has_a_group_for_each() {
        let dir = tempfile::tempdir().unwrap();
        for controller in ["cpu", "memory"] {
            fs::create_dir(dir.path().join(controller)).unwrap();
            fs::write(dir.path().join(controller).join("cgroup.procs"), "").unwrap();
        }
        let found = Cgroups::find(dir.path(), &node());
        assert_eq!(found.limits(), LimitKinds { pids: false, ..LimitKinds::ALL });
        let bounds = found.bounds(&id(), &limited());
        bounds.make_groups().unwrap();
        bounds.make_groups().unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("cpu/gnomon/site-1.shop.web.0.ab/cpu.cfs_quota_us"), "50000");
        let memory = read("memory/gnomon/site-1.shop.web.0.ab/memory.limit_in_bytes");
        assert_eq!(memory, "8388608");
    }

    #[test]
    fn without_groups_memory_is_kept_by_the_address_space_and_the_rest_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let found = Cgroups::find(dir.path(), &node());
        assert_eq!(found.limits(), LimitKinds { memory: true, ..LimitKinds::NONE });
        let bounds = found.bounds(&id(), &limited());
        assert_eq!((bounds.groups, bounds.address_space), (Vec::new(), Some(8 << 20)));
        assert!(found.bounds(&id(), &ServiceSpec::default()).is_empty());
    }

    #[test]
    fn a_controller_that_cannot_be_switched_on_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "memory").unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        fs::write(dir.path().join(ENABLED), "").unwrap();
        let found = Cgroups::find(dir.path(), &node());
        assert_eq!(found.limits(), LimitKinds { memory: true, ..LimitKinds::NONE });
    }
}
