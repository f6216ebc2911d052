//! The files of configs and secrets, which containers see through bind mounts. Each container has
//! a directory of its own, so that it goes with the container.

use std::collections::BTreeSet;
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

/// Removes the files of containers of an app that are not there: a crash between the two leaves
/// them. Nothing else of the app may be made at the same time.
pub(super) fn sweep(
    settings: &Settings,
    app: &AppName,
    containers: &BTreeSet<String>,
) -> Result<(), DockerError> {
    for base in [&settings.files_dir, &settings.secrets_dir] {
        let dir = base.join(app.as_str());
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let is_left = entry.file_name().to_str().is_none_or(|name| !containers.contains(name));
            if is_left {
                let path = entry.path();
                files::remove_tree(&path).doing("remove", &path)?;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_crash_left_behind_are_collected_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            secrets_dir: dir.path().join("secrets"),
            ..Settings::new("site-1".parse().unwrap(), dir.path().join("files"))
        };
        let apps = ["web", "other"].map(|name| name.parse::<AppName>().unwrap());
        for base in [&settings.files_dir, &settings.secrets_dir] {
            for (app, container) in apps.iter().flat_map(|app| [(app, "kept"), (app, "left")]) {
                let home = home(base, app, container);
                files::make_dir(&home, MODE).unwrap();
                fs::write(home.join("0"), "x").unwrap();
            }
        }
        sweep(&settings, &apps[0], &BTreeSet::from(["kept".to_owned()])).unwrap();
        for base in [&settings.files_dir, &settings.secrets_dir] {
            assert!(home(base, &apps[0], "kept").join("0").exists());
            assert!(!home(base, &apps[0], "left").exists());
            assert!(home(base, &apps[1], "left").exists());
        }
        sweep(&settings, &"none".parse().unwrap(), &BTreeSet::new()).unwrap();
    }
}
