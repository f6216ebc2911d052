//! Makes the directory of an instance: its record, its files and the links to its volumes. It
//! appears whole, by one rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use gnomon_schemas::app::{AppSpec, FileMount, Mount, Revision, ServiceSpec, StopSignal};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::error::Doing as _;
use super::layout::{Home, Layout};
use super::record::{Instance, Launch};
use super::user::Owner;
use super::{Process, ProcessError, state};
use crate::orchestrator::files;
use crate::reconcile::model::{InstanceId, Slot};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn create(this: &Process, slot: &Slot, app: &AppSpec) -> Result<(), ProcessError> {
    this.capabilities().check(app).map_err(Box::new)?;
    let service = app
        .services
        .get(&slot.service)
        .ok_or_else(|| ProcessError::NoSuchService(slot.service.clone()))?;
    let digest = service.digest(app);
    let id = Layout::id(slot, digest);
    let home = this.layout.home(&id);
    if exists(this, &id, &home, slot, digest)? {
        return Ok(());
    }
    let owner = service.user.as_deref().map(Owner::find).transpose()?;
    let making = Home(this.layout.aside(&id, "making"));
    files::remove_tree(&making.0).doing("remove", &making.0)?;
    make_home(&making, owner)?;
    fill(this, &making, slot, app, service, owner)?;
    let record = Instance {
        node: this.layout.node.clone(),
        app: slot.app.clone(),
        service: slot.service.clone(),
        replica: slot.replica,
        digest,
        revision: app.revision(),
        launch: launch(this, (&id, &home), service, owner),
    };
    File::create(making.lock()).doing("make", &making.lock())?;
    mkfifo(&making.control(), Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(std::io::Error::from)
        .doing("make", &making.control())?;
    record.write(&making.0).doing("write the record in", &making.0)?;
    files::sync_dirs(&making.0).doing("store", &making.0)?;
    fs::rename(&making.0, &home.0).doing("make", &home.0)?;
    this.layout.sync().doing("store", &home.0)
}

/// Only the agent and the user of the service get at what is in it.
fn make_home(home: &Home, owner: Option<Owner>) -> Result<(), ProcessError> {
    let root = home.root();
    files::make_dir(&home.0, 0o710).doing("make", &home.0)?;
    files::make_dir(&root, 0o750).doing("make", &root)?;
    let Some(owner) = owner else { return Ok(()) };
    lchown(&home.0, None, Some(owner.gid)).doing("change the owner of", &home.0)?;
    give(&root, owner)
}

/// Whether the instance is there. What a power cut left unreadable is cleared away.
fn exists(
    this: &Process,
    id: &InstanceId,
    home: &Home,
    slot: &Slot,
    digest: Revision,
) -> Result<bool, ProcessError> {
    if !home.0.exists() {
        return Ok(false);
    }
    match Instance::read(&home.0) {
        Ok(Some(record)) if record.slot() == *slot && record.digest == digest => Ok(true),
        Ok(Some(_)) => Err(ProcessError::DigestTaken(digest)),
        Ok(None) | Err(_) if state::runs(home).doing("look at", &home.0)? => {
            Err(ProcessError::StillRuns(id.clone()))
        }
        Ok(None) | Err(_) => {
            tracing::warn!(%id, "an instance without a readable record is cleared away");
            let gone = this.layout.aside(id, "gone");
            files::remove_tree(&gone).doing("remove", &gone)?;
            fs::rename(&home.0, &gone).doing("remove", &home.0)?;
            files::remove_tree(&gone).doing("remove", &gone)?;
            Ok(false)
        }
    }
}

/// The paths in it are those that the instance has once it is in its place.
fn launch(
    this: &Process,
    (id, home): (&InstanceId, &Home),
    service: &ServiceSpec,
    owner: Option<Owner>,
) -> Launch {
    let root = home.root();
    let text = root.display().to_string();
    let base = [("PATH", PATH), ("HOME", &text), ("GNOMON_ROOT", &text)];
    let mut env: BTreeMap<_, _> =
        base.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    env.extend(service.environment.clone());
    Launch {
        argv: service.host_argv().into_iter().map(ToOwned::to_owned).collect(),
        env,
        dir: service.host_working_dir().map_or(root, PathBuf::from),
        owner,
        stop_signal: service.stop_signal.unwrap_or(StopSignal::Term),
        health: service.host_healthcheck(),
        log_bytes: this.log_bytes,
        bounds: this.cgroups.bounds(id, service),
    }
}

fn fill(
    this: &Process,
    making: &Home,
    slot: &Slot,
    app: &AppSpec,
    service: &ServiceSpec,
    owner: Option<Owner>,
) -> Result<(), ProcessError> {
    let root = making.root();
    for (target, mount) in &service.volumes {
        let place = place(&root, target, owner)?;
        let source = source(this, slot, mount, owner)?;
        symlink(source, &place).doing("make", &place)?;
    }
    let configs = service.configs.iter().map(|(target, mount)| {
        (target, mount, app.configs.get(&mount.source).map(|config| config.content.as_str()))
    });
    let secrets = service.secrets.iter().map(|(target, mount)| {
        (target, mount, app.secrets.get(&mount.source).map(|secret| secret.content.expose()))
    });
    for (target, FileMount { source, mode }, content) in configs.chain(secrets) {
        let content = content.ok_or_else(|| ProcessError::NoSuchFile(source.clone()))?;
        let place = place(&root, target, owner)?;
        files::write_new(&place, content.as_bytes(), *mode).doing("write", &place)?;
        if let Some(owner) = owner {
            give(&place, owner)?;
        }
    }
    Ok(())
}

/// What a link to a volume points at.
fn source(
    this: &Process,
    slot: &Slot,
    mount: &Mount,
    owner: Option<Owner>,
) -> Result<PathBuf, ProcessError> {
    match mount {
        Mount::Volume { name, .. } => {
            let path = this.layout.volume(&slot.app, name);
            let is_new = !path.exists();
            let path = this.layout.make_volume(&slot.app, name).doing("make", &path)?;
            if let Some(owner) = owner.filter(|_| is_new) {
                give(&path, owner)?;
            }
            Ok(path)
        }
        Mount::Bind { path, .. } => {
            let found = files::permitted(Path::new(path), &this.bind_prefixes)
                .doing("find the bind mount", Path::new(path))?;
            found.ok_or_else(|| ProcessError::BindOutside(path.clone()))
        }
        Mount::Tmpfs { .. } => Err(ProcessError::BadTarget("a tmpfs".to_owned())),
    }
}

/// The path below the root for a target, with the directories above it made.
fn place(root: &Path, target: &str, owner: Option<Owner>) -> Result<PathBuf, ProcessError> {
    let place =
        files::below(root, target).ok_or_else(|| ProcessError::BadTarget(target.to_owned()))?;
    let above: Vec<_> =
        place.ancestors().skip(1).take_while(|path| *path != root && !path.exists()).collect();
    for dir in above.into_iter().rev() {
        files::make_dir(dir, 0o755).doing("make", dir)?;
        if let Some(owner) = owner {
            give(dir, owner)?;
        }
    }
    Ok(place)
}

fn give(path: &Path, owner: Owner) -> Result<(), ProcessError> {
    lchown(path, Some(owner.uid), Some(owner.gid)).doing("change the owner of", path)
}
