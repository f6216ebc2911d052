//! The files of configs and secrets, which containers see through bind mounts. Each container has
//! a directory of its own, so that it goes with the container.

use std::fs;
use std::path::{Path, PathBuf};

use gnomon_schemas::app::{AppSpec, FileMount, ServiceSpec};
use gnomon_schemas::id::AppName;

use super::error::Doing as _;
use super::{DockerError, Settings};
use crate::orchestrator::files;

/// Closed to everyone else; a bind mount does not need the directories above its source.
const MODE: u32 = 0o700;

/// A file on the node and where it appears in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountedFile {
    pub(super) source: PathBuf,
    pub(super) target: String,
}

/// Writes the files of a container, durably; those that are there already are left.
pub(super) fn write(
    settings: &Settings,
    app_name: &AppName,
    container: &str,
    app: &AppSpec,
    service: &ServiceSpec,
) -> Result<Vec<MountedFile>, DockerError> {
    let mut written = Vec::new();
    let configs = service.configs.iter().map(|(target, mount)| {
        let content = app.configs.get(&mount.source).map(|config| config.content.as_str());
        (&settings.files_dir, target, mount, content)
    });
    let secrets = service.secrets.iter().map(|(target, mount)| {
        let content = app.secrets.get(&mount.source).map(|secret| secret.content.expose());
        (&settings.secrets_dir, target, mount, content)
    });
    for (number, (base, target, mount, content)) in configs.chain(secrets).enumerate() {
        let FileMount { source, mode } = mount;
        let content = content.ok_or_else(|| DockerError::NoSuchFile(source.clone()))?;
        let dir = home(base, app_name, container);
        files::make_dir(&dir, MODE).doing("make", &dir)?;
        let source = dir.join(number.to_string());
        if fs::read(&source).ok().as_deref() != Some(content.as_bytes()) {
            files::replace(&source, content.as_bytes(), *mode).doing("write", &source)?;
        }
        written.push(MountedFile { source, target: target.clone() });
    }
    Ok(written)
}

/// Whether a path is a file of ours.
pub(super) fn is_ours(settings: &Settings, path: &Path) -> bool {
    [&settings.files_dir, &settings.secrets_dir].into_iter().any(|base| path.starts_with(base))
}

/// Removes the files of a container.
pub(super) fn remove(
    settings: &Settings,
    app: &AppName,
    container: &str,
) -> Result<(), DockerError> {
    for base in [&settings.files_dir, &settings.secrets_dir] {
        let dir = home(base, app, container);
        files::remove_tree(&dir).doing("remove", &dir)?;
    }
    Ok(())
}

/// Removes the files of all containers of an app.
pub(super) fn remove_app(settings: &Settings, app: &AppName) -> Result<(), DockerError> {
    for base in [&settings.files_dir, &settings.secrets_dir] {
        let dir = base.join(app.as_str());
        files::remove_tree(&dir).doing("remove", &dir)?;
    }
    Ok(())
}

/// The apps that have files.
pub(super) fn apps(settings: &Settings) -> Vec<AppName> {
    let names = [&settings.files_dir, &settings.secrets_dir]
        .into_iter()
        .filter_map(|base| fs::read_dir(base).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    names.collect()
}

fn home(base: &Path, app: &AppName, container: &str) -> PathBuf {
    base.join(app.as_str()).join(container)
}
