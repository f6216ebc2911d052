//! Where the process orchestrator keeps what: one directory per instance, one per volume.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::{AppName, NodeName, ResourceName};

use super::ProcessError;
use super::error::Doing as _;
use super::record::Instance;
use crate::orchestrator::files;
use crate::reconcile::model::{InstanceId, Slot};

/// Searchable by the users that services run as, readable by the agent alone.
const MODE: u32 = 0o711;

/// The directories of a node.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) node: NodeName,
    instances: PathBuf,
    volumes: PathBuf,
}

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home(pub(super) PathBuf);

impl Layout {
    pub(super) fn open(node: NodeName, dir: &Path) -> Result<Self, ProcessError> {
        files::make_dir(dir, MODE).doing("make", dir)?;
        let dir = dir.canonicalize().doing("find", dir)?;
        let (instances, volumes) = (dir.join("instances"), dir.join("volumes"));
        for path in [&instances, &volumes] {
            files::make_dir(path, MODE).doing("make", path)?;
        }
        Ok(Self { node, instances, volumes })
    }

    /// The id of an instance, which is the name of its directory. App names hold no dots, and a
    /// replica and a digest none either, so no two instances share one.
    pub(super) fn id(slot: &Slot, digest: Revision) -> InstanceId {
        let Slot { app, service, replica } = slot;
        InstanceId(format!("{app}.{service}.{replica}.{}", digest.short()).into())
    }

    pub(super) fn home(&self, id: &InstanceId) -> Home {
        Home(self.instances.join(&*id.0))
    }

    /// A directory beside those of the instances, for one that is being made or removed.
    pub(super) fn aside(&self, id: &InstanceId, why: &str) -> PathBuf {
        self.instances.join(format!(".{why}.{id}"))
    }

    pub(super) fn volume(&self, app: &AppName, name: &ResourceName) -> PathBuf {
        self.volumes.join(app.as_str()).join(name.as_str())
    }

    pub(super) fn make_volume(&self, app: &AppName, name: &ResourceName) -> io::Result<PathBuf> {
        let path = self.volume(app, name);
        files::make_dir(&self.volumes.join(app.as_str()), MODE)?;
        files::make_dir(&path, 0o755)?;
        Ok(path)
    }

    /// Removes the volumes of an app, or of all; gives back how many there were.
    pub(super) fn remove_volumes(&self, app: Option<&AppName>) -> Result<usize, ProcessError> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.volumes).doing("list", &self.volumes)? {
            let entry = entry.doing("list", &self.volumes)?;
            if app.is_some_and(|app| entry.file_name() != app.as_str()) {
                continue;
            }
            let path = entry.path();
            removed += fs::read_dir(&path).doing("list", &path)?.count();
            fs::remove_dir_all(&path).doing("remove", &path)?;
        }
        Ok(removed)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        files::sync_dir(&self.instances)?;
        files::sync_dir(&self.volumes)
    }

    /// The instances of this node. A directory whose record cannot be read is none.
    pub(super) fn all(&self) -> Result<Vec<(InstanceId, Home, Instance)>, ProcessError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.instances).doing("list", &self.instances)? {
            let name = entry.doing("list", &self.instances)?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let id = InstanceId(name.into());
            let home = self.home(&id);
            match Instance::read(&home.0) {
                Ok(Some(record)) if record.node == self.node => found.push((id, home, record)),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%id, %error, "a record cannot be read; it is made again");
                }
            }
        }
        Ok(found)
    }

    /// The directory and record of an instance, if it is the one that a step means.
    pub(super) fn find(
        &self,
        id: &InstanceId,
        slot: &Slot,
    ) -> Result<Option<(Home, Instance)>, ProcessError> {
        if id.0.starts_with('.') || id.0.contains('/') {
            return Err(ProcessError::AnotherSlot(id.clone()));
        }
        let home = self.home(id);
        match Instance::read(&home.0).doing("read the record in", &home.0)? {
            None => Ok(None),
            Some(record) if record.node == self.node && record.slot() == *slot => {
                Ok(Some((home, record)))
            }
            Some(_) => Err(ProcessError::AnotherSlot(id.clone())),
        }
    }
}

impl Home {
    /// What `GNOMON_ROOT` names: the files and volumes of the service, and where it starts.
    pub(super) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Held locked by the supervisor as long as it lives.
    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The pipe on which the supervisor is asked to stop the service.
    pub(super) fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn rotated_log(&self) -> PathBuf {
        self.0.join("log.1")
    }
}
