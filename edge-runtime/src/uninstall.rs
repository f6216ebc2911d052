//! Takes off the node what this agent brought there: what it runs, networks, volumes, the images
//! that it fetched, and its data. What is not its own, or not known to be, stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use crate::core::owned_images;
use crate::orchestrator::images::Cleared;
use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::reconcile::model::Step;
use crate::store::Contents;

/// What runs gets this long to end.
const GRACE: Duration = Duration::from_secs(10);

/// The names in the data directory that are the agent's, but for the lock, which goes last.
const OWN: [&str; 14] = [
    "identity.json",
    "key.pem",
    "cert.pem",
    "ca.pem",
    "identity.new",
    "key.new",
    "cert.new",
    "ca.new",
    "link.json",
    "link.new",
    "orchestrator",
    "agent.sock",
    "uninstall",
    "uninstall.toml",
];
const OWN_FOLDERS: [&str; 4] = ["store", "docker", "process", "update"];
const LOCK: &str = "agent.lock";

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Containers or processes.
    pub instances: usize,
    /// Apps with something of their own, such as a network.
    pub apps: usize,
    /// Named volumes.
    pub volumes: usize,
    /// Images that the agent fetched.
    pub images: usize,
}

/// Why the agent's data is not gone.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be removed", at.display())]
pub struct ClearDataError {
    at: PathBuf,
    #[source]
    source: io::Error,
}

/// Removes what runs, and what it needed; `contents` is what the agent's store says.
pub async fn clear_node(
    orchestrator: &Orchestrator,
    contents: &Contents,
    keep_volumes: bool,
) -> Result<Removed, OrchestratorError> {
    let observed = orchestrator.observe().await?;
    let stops = observed.instances.values().map(|it| {
        let step = Step::Stop { id: it.id.clone(), slot: it.slot.clone(), grace: GRACE };
        async move { orchestrator.apply(&step).await }
    });
    for stopped in join_all(stops).await {
        stopped?;
    }
    for it in observed.instances.values() {
        let step = Step::Remove { id: it.id.clone(), slot: it.slot.clone() };
        orchestrator.apply(&step).await?;
    }
    for app in &observed.app_resources {
        orchestrator.apply(&Step::RemoveApp { app: app.clone() }).await?;
    }
    let volumes = if keep_volumes { 0 } else { orchestrator.remove_volumes(None).await? };
    let mut images = 0;
    for (image, id) in owned_images(&contents.entries) {
        let cleared = orchestrator.clear_image(&image, &id).await?;
        images += usize::from(cleared == Cleared::Gone);
    }
    Ok(Removed {
        instances: observed.instances.len(),
        apps: observed.app_resources.len(),
        volumes,
        images,
    })
}

/// Removes the agent's data. Files in its directory that are not its own stay, and so does the
/// directory then.
pub fn clear_data(data: &Path, keep_volumes: bool) -> Result<(), ClearDataError> {
    for name in OWN {
        let at = data.join(name);
        gone(&at, fs::remove_file(&at))?;
    }
    for name in OWN_FOLDERS {
        let at = data.join(name);
        let has_volumes = keep_volumes && at.join("volumes").exists();
        let at = if has_volumes { at.join("instances") } else { at };
        gone(&at, fs::remove_dir_all(&at))?;
    }
    let lock = data.join(LOCK);
    gone(&lock, fs::remove_file(&lock))?;
    match fs::remove_dir(data) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => gone(data, Err(error)),
        _ => Ok(()),
    }
}

fn gone(at: &Path, result: io::Result<()>) -> Result<(), ClearDataError> {
    match result {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ClearDataError { at: at.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_agents_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for folder in OWN_FOLDERS {
            fs::create_dir_all(data.join(folder).join("volumes/shop")).unwrap();
        }
        for name in OWN.iter().chain([&LOCK]) {
            fs::write(data.join(name), "x").unwrap();
        }
        fs::write(data.join("mine"), "x").unwrap();
        clear_data(&data, false).unwrap();
        let left: Vec<_> = fs::read_dir(&data).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["mine"]);
        fs::remove_file(data.join("mine")).unwrap();
        clear_data(&data, false).unwrap();
        assert!(!data.exists());
        clear_data(&data, false).unwrap();
    }

    #[test]
    fn volumes_that_are_to_stay_do() {
        let dir = tempfile::tempdir().unwrap();
        let film = dir.path().join("process/volumes/shop/films/film");
        fs::create_dir_all(film.parent().unwrap()).unwrap();
        fs::create_dir_all(dir.path().join("process/instances/shop.web.0.0")).unwrap();
        fs::write(&film, "x").unwrap();
        clear_data(dir.path(), true).unwrap();
        assert!(film.exists() && !dir.path().join("process/instances").exists());
    }
}
